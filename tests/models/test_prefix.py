import pytest
import torch

from understudy.models.prefix import shared_prefix


def left_padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(row) for row in rows)
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[False] * (width - len(row)) + [True] * len(row) for row in rows])
    return ids, mask


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        ([[5, 6, 7, 1], [5, 6, 7, 2, 3], [5, 6, 7, 4]], 3),
        ([[5, 6], [5, 6, 7, 8]], 2),  # a whole prompt
        ([[5, 6, 7]], 3),  # a single prompt
        ([[5, 6], [6, 5]], 0),
        ([[5, 1, 7], [5, 2, 7]], 1),  # equal again behind the difference
        ([[0, 0, 5], [0, 5]], 1),  # the padding's number is also a token
    ],
)
def test_the_shared_prefix_is_counted_from_each_prompts_first_token(
    rows: list[list[int]], count: int
) -> None:
    assert shared_prefix(*left_padded(rows)) == count
