"""A prompt and its completions as one branching sequence, held against one text at a time."""

from __future__ import annotations

import pytest
import torch

from understudy.models.branches import LONGEST, batch_of, packed, trees_of
from understudy.models.decoder import Decoder

PROMPTS = [[5, 9, 7], [8], [20, 21, 22, 23, 24, 25]]
COMPLETIONS = [[11, 12, 1], [2], [30, 31, 32, 33, 1], [40, 1], [41, 42, 43], [44, 45, 2]]
OWNERS = [0, 0, 2, 1, 2, 0]


@pytest.mark.parametrize("longest", [1, 8, LONGEST])
def test_every_token_is_predicted_as_in_a_text_of_its_own(model: Decoder, longest: int) -> None:
    trees = trees_of(PROMPTS, COMPLETIONS, OWNERS, longest)
    batch = batch_of(trees, torch.device("cpu"))
    hidden = model.branch(batch.tokens, batch.positions, batch.visible)
    logits = model.head(hidden.flatten(0, 1)[batch.reads])
    seen = set()
    scored = zip(batch.rows.tolist(), batch.columns.tolist(), batch.taken.tolist(), strict=True)
    for found, (row, column, taken) in zip(logits, scored, strict=True):
        text = PROMPTS[OWNERS[row]] + COMPLETIONS[row]
        assert taken == COMPLETIONS[row][column]
        expected = model(torch.tensor([text]))[0, len(PROMPTS[OWNERS[row]]) + column - 1]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        seen.add((row, column))
    assert len(seen) == len(logits) == sum(map(len, COMPLETIONS))


def test_a_prompt_is_read_once_unless_its_completions_are_too_many() -> None:
    trees = trees_of(PROMPTS, COMPLETIONS, OWNERS)
    assert [len(tree.tokens) for tree in trees] == [2, 7, 12]
    many = trees_of(PROMPTS[:1], [[7] * 100] * 8, [0] * 8)
    assert [len(tree.tokens) for tree in many] == [3 + 2 * 99] * 4
    alone = trees_of(PROMPTS[:1], [[7] * 1000] * 2, [0] * 2)
    assert [len(tree.tokens) for tree in alone] == [1002] * 2


def test_parts_hold_at_most_so_many_tokens_padding_included() -> None:
    lengths = [1, 2, 2, 5, 5, 6, 20, 21]
    assert list(packed(lengths, 10)) == [(0, 3), (3, 5), (5, 6), (6, 7), (7, 8)]
    assert list(packed(lengths, 10_000)) == [(0, 8)]
    assert list(packed(lengths, 1)) == [(i, i + 1) for i in range(8)]
    assert list(packed([], 10)) == []
