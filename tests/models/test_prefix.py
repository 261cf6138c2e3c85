"""What prompts begin with: found, and computed once for all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tests.models.small import network
from understudy.models import prefix, prefix_attention
from understudy.models.built_in import BuiltInModel
from understudy.models.decoder import Decoder, Shape
from understudy.models.local_model import LocalModel
from understudy.models.prefix import Prefix, shared_prefix
from understudy.models.sampling import Drawing, Prompts, Written
from understudy.models.scoring import final_states, score
from understudy.models.transformers_model import TransformersModel


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
    """Prompts that begin alike, and completions of all lengths."""

    prompts: Prompts
    written: Written
    rows: torch.Tensor
    at_once: int


def shape_of(random: np.random.Generator) -> Shape:
    heads = int(random.choice([1, 2, 3, 4, 6]))
    kv = int(random.choice([count for count in range(1, heads + 1) if heads % count == 0]))
    return Shape(
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


def case_of(random: np.random.Generator, vocabulary: int, most: int = 200) -> Case:
    """A batch whose longest completions, of at most so many tokens, take several trees."""
    count, group = int(random.integers(1, 5)), int(random.integers(1, 5))
    common = random.integers(3, vocabulary, int(random.choice([0, 1, 5, 30]))).tolist()
    longest = int(random.choice([1, 20]))  # of what is a prompt's own
    rows = []
    for _ in range(count):
        own = int(random.integers(0 if common else 1, longest + 1))
        rows.append(common + random.integers(3, vocabulary, own).tolist())
    longest = int(random.choice([2, most, most]))  # of a completion
    lengths = torch.tensor(random.integers(1, longest + 1, count * group))
    tokens = torch.tensor(random.integers(3, vocabulary, (count * group, int(lengths.max()))))
    mask = torch.arange(tokens.shape[1]) < lengths[:, None]
    some = torch.tensor(random.permutation(count * group)[: random.integers(1, count * group + 1)])
    prompts, written = Prompts(*left_padded(rows)), Written(tokens.masked_fill(~mask, 0), mask)
    return Case(prompts, written, some, int(random.choice([30, 200, 4096])))


def scored(case: Case, model: LocalModel) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """Log-probabilities, and the gradient of a weighted sum of them and of the states."""
    how = Drawing(200, 1.3, 0.5)
    given = case.prompts, case.written, case.rows
    found = list(score(model, *given, 1, how, case.at_once))
    if getattr(model, "plain_head", True):
        found.append(final_states(model, *given))
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


def check_both_ways(case: Case, model: LocalModel, patch: pytest.MonkeyPatch, near: float) -> None:
    """With each prompt read anew, and with what prompts share computed once."""
    patch.setattr(prefix, "_SPARED", 1)
    patch.setattr(prefix, "_SHORTEST", 10**9)
    values, slopes = scored(case, model)
    patch.setattr(prefix, "_SHORTEST", 1)
    others, other_slopes = scored(case, model)
    for one, other in zip(values, others, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)
    assert slopes.keys() == other_slopes.keys()
    largest = max(float(slope.abs().max()) for slope in slopes.values())
    for name, slope in slopes.items():
        assert float((slope - other_slopes[name]).abs().max()) < near * largest, name


@pytest.mark.parametrize("recomputed", [False, True])
def test_a_prefix_that_is_computed_once_changes_neither_values_nor_gradients(
    recomputed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64, held against the same model that reads each prompt anew."""
    taken = set()
    for seed in range(20):
        random = np.random.default_rng(seed)
        torch.manual_seed(seed)
        shape = shape_of(random)
        case, model = case_of(random, shape.vocab_size), BuiltInModel(Decoder(shape).double())
        if recomputed:
            model.recompute()
        monkeypatch.setattr(prefix_attention, "WEIGHTS", {"cpu": 1 << (4 + 3 * (seed % 5))})
        check_both_ways(case, model, monkeypatch, 1e-10)
        parts = model.parts(case.prompts, case.written, case.rows, case.at_once)
        taken |= {chain(part.states.args[1]) for part in parts}  # type: ignore[attr-defined]
    assert taken == {0, 1, 2}  # none, what all share, and a prompt of many completions behind it


def chain(before: Prefix | None) -> int:
    return 0 if before is None else 1 + chain(before.before)


@pytest.mark.parametrize("kind", ["llama-tied", "qwen3", "gpt2", "gemma2", "phi"])
@pytest.mark.parametrize("recomputed", [False, True])
def test_models_of_transformers_give_the_same_with_a_prefix_that_is_computed_once(
    kind: str, recomputed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gemma2 attends to a window, and recomputed blocks fill no cache: prompts are read anew."""
    window = {"sliding_window": 128} if kind == "gemma2" else {}
    given = network(kind, **window).double()
    for module in given.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # as in a model that is loaded
    model, counts = TransformersModel(given), []
    if recomputed:
        model.recompute()
    for seed in range(6):
        case = case_of(np.random.default_rng(seed), 300, 40)
        # Their norms and rotations are in float32 whatever the weights are.
        check_both_ways(case, model, monkeypatch, 1e-5)
        owners = case.rows // (len(case.written.mask) // len(case.prompts.mask))
        counts.append(model._prefix(case.prompts, owners).count)
    assert any(counts) == (kind != "gemma2" and not recomputed)


def test_in_bfloat16_the_prefix_is_as_near_to_float32_as_prompts_read_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    errors: list[list[float]] = [[], []]
    monkeypatch.setattr(prefix, "_SPARED", 1)
    for seed in range(12):
        random = np.random.default_rng(seed)
        torch.manual_seed(seed)
        shape = shape_of(random)
        case, model = case_of(random, shape.vocab_size), BuiltInModel(Decoder(shape))
        _, exact = scored(case, model)
        for found, least in zip(errors, (10**9, 1), strict=True):
            monkeypatch.setattr(prefix, "_SHORTEST", least)
            with torch.autocast("cpu", torch.bfloat16):
                _, rough = scored(case, model)
            wanted = torch.cat([slope.flatten() for slope in exact.values()])
            got = torch.cat([rough[name].flatten() for name in exact])
            found.append(float((got - wanted).norm() / wanted.norm()))
    anew, once = (sum(found) / len(found) for found in errors)
    assert 1e-4 < anew < 0.1
    assert once < 1.3 * anew
