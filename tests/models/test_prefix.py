"""What prompts begin with: found, and computed once for all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from understudy.models import prefix, prefix_attention
from understudy.models.built_in import BuiltInModel
from understudy.models.decoder import Decoder, Shape
from understudy.models.local_model import LocalModel
from understudy.models.prefix import Prefix, shared_prefix
from understudy.models.sampling import Drawing, Prompts, Written
from understudy.models.scoring import final_states, score


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


@dataclass(frozen=True)
class Case:
    """A model's shape, prompts that begin alike, and completions of all lengths."""

    shape: Shape
    prompts: Prompts
    written: Written
    rows: torch.Tensor
    at_once: int


def case_of(seed: int) -> Case:
    random = np.random.default_rng(seed)
    heads = int(random.choice([1, 2, 3, 4, 6]))
    kv = int(random.choice([count for count in range(1, heads + 1) if heads % count == 0]))
    shape = Shape(
        model_type=str(random.choice(["llama", "qwen2"])),
        vocab_size=int(random.integers(20, 90)),
        hidden_size=int(random.integers(4, 20)),
        intermediate_size=int(random.integers(3, 20)),
        num_hidden_layers=int(random.integers(1, 4)),
        num_attention_heads=heads,
        num_key_value_heads=kv,
        head_dim=int(random.choice([2, 4, 6, 8])),
        rms_norm_eps=1e-6,
        rope_theta=10_000.0,
        tie_word_embeddings=bool(random.integers(2)),
        max_position_embeddings=512,
    )
    count, group = int(random.integers(1, 5)), int(random.integers(1, 5))
    common = random.integers(3, shape.vocab_size, int(random.choice([0, 1, 5, 30]))).tolist()
    longest = int(random.choice([1, 3, 20]))  # of what is a prompt's own
    rows = []
    for _ in range(count):
        own = int(random.integers(0 if common else 1, longest + 1))
        rows.append(common + random.integers(3, shape.vocab_size, own).tolist())
    longest = int(random.choice([2, 10, 200]))  # of a completion; the longest take several trees
    lengths = torch.tensor(random.integers(1, longest + 1, count * group))
    tokens = torch.tensor(random.integers(3, shape.vocab_size, (count * group, int(lengths.max()))))
    mask = torch.arange(tokens.shape[1]) < lengths[:, None]
    some = torch.tensor(random.permutation(count * group)[: random.integers(1, count * group + 1)])
    prompts, written = Prompts(*left_padded(rows)), Written(tokens.masked_fill(~mask, 0), mask)
    return Case(shape, prompts, written, some, int(random.choice([30, 200, 4096])))


def scored(case: Case, model: LocalModel) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """Log-probabilities, and the gradient of a weighted sum of them and of the states."""
    how = Drawing(200, 1.3, 0.5)
    given = case.prompts, case.written, case.rows
    found = [*score(model, *given, 1, how, case.at_once), final_states(model, *given)]
    loss = sum(
        (each.double() * torch.linspace(-1, 2, each.numel()).view(each.shape)).sum()
        for each in found
    )
    model.network.zero_grad()
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    named = model.network.named_parameters()
    slopes = {name: weight.grad for name, weight in named if weight.grad is not None}
    return [each.detach() for each in found], {name: s.clone() for name, s in slopes.items()}


@pytest.mark.parametrize("recomputed", [False, True])
def test_a_prefix_that_is_computed_once_changes_neither_values_nor_gradients(
    recomputed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64, held against the same model that reads each prompt anew."""
    taken = set()
    for seed in range(60):
        case = case_of(seed)
        torch.manual_seed(seed)
        model = BuiltInModel(Decoder(case.shape).double())
        if recomputed:
            model.recompute()
        monkeypatch.setattr(prefix_attention, "WEIGHTS", {"cpu": 1 << (4 + 3 * (seed % 5))})
        results = []
        for least in (10**9, 1):
            monkeypatch.setattr(prefix, "_SHORTEST", least)
            monkeypatch.setattr(prefix, "_SPARED", 1)
            results.append(scored(case, model))
        (values, slopes), (others, other_slopes) = results
        for one, other in zip(values, others, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
        assert slopes.keys() == other_slopes.keys()
        for name, slope in slopes.items():
            scale = float(slope.abs().max()) + 1e-9
            assert float((slope - other_slopes[name]).abs().max()) < 1e-9 * scale, (seed, name)
        parts = model.parts(case.prompts, case.written, case.rows, case.at_once)
        taken |= {chain(part.states.args[1]) for part in parts}  # type: ignore[attr-defined]
    assert taken == {0, 1, 2}


def chain(before: Prefix | None) -> int:
    return 0 if before is None else 1 + chain(before.before)
