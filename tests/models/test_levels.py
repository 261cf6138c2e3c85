"""What prompts begin with, computed once in drawing, against the same prompts drawn one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.models.small import KINDS, write_checkpoint
from understudy.models import groups, levels
from understudy.models.policy import Policy
from understudy.models.sampling import Completions, Drawing, Prompts

KIND = pytest.mark.parametrize("kind", ["llama", "llama-tied", "qwen2", "qwen2-tied"])
LENGTHS = (41, 36, 60, 47, 34, 52)  # of prompts that have 32 tokens in common


def prompts_of(lengths: tuple[int, ...], shared: int, vocabulary: int) -> Prompts:
    generator = torch.Generator().manual_seed(0)
    width = max(lengths)
    ids = torch.randint(3, vocabulary, (len(lengths), width), generator=generator)
    mask = torch.arange(width) >= width - torch.tensor(lengths)[:, None]
    stem = ids[0, :shared].clone()
    for row, length in zip(ids, lengths, strict=True):
        row[width - length : width - length + shared] = stem
    return Prompts(ids * mask, mask)


def drawn_alone(
    policy: Policy, prompts: Prompts, group: int, drawing: Drawing
) -> list[Completions]:
    uniforms = drawing.uniforms(group * len(prompts.ids), 0).split(group)
    found = []
    for row, own in enumerate(uniforms):
        bare = prompts.ids[row][prompts.mask[row]][None]
        alone = Prompts(bare, torch.ones_like(bare, dtype=torch.bool))
        found.append(policy.sample(alone, group, drawing, own))
    return found


def assert_as_alone(together: Completions, alone: list[Completions], group: int) -> None:
    for place, expected in enumerate(alone):
        rows = slice(place * group, (place + 1) * group)
        width = expected.tokens.shape[1]
        assert torch.equal(together.mask[rows, :width], expected.mask)
        assert torch.equal(
            together.tokens[rows, :width][expected.mask], expected.tokens[expected.mask]
        )
        assert torch.equal(together.asked[rows], expected.asked)
        for name in ("logprobs", "ask_logprobs", "ask_margins", "entropy"):
            mine, other = getattr(together, name)[rows, :width], getattr(expected, name)
            torch.testing.assert_close(
                mine[expected.mask], other[expected.mask], atol=2e-4, rtol=1e-4
            )


@KIND
@pytest.mark.parametrize("backend", ["builtin", "transformers"])
@pytest.mark.parametrize("tokens_at_once", [4096, 3])
def test_rows_draw_what_they_draw_alone(
    kind: str, backend: str, tokens_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels.sampling, "TOKENS_AT_ONCE", tokens_at_once)
    monkeypatch.setattr(groups, "_FIRST_CAPACITY", 3)
    policy = Policy.load(str(write_checkpoint(tmp_path, kind)), backend=backend)  # type: ignore[arg-type]
    prompts = prompts_of(LENGTHS, 32, policy.model.vocabulary)
    assert levels.worthwhile_prefix(prompts.ids[:, :-1], prompts.mask[:, :-1]) == 32
    drawing = Drawing(12, 1.3)
    uniforms = drawing.uniforms(3 * len(LENGTHS), 0)
    together = policy.sample(prompts, 3, drawing, uniforms)
    assert_as_alone(together, drawn_alone(policy, prompts, 3, drawing), 3)


@KIND
@pytest.mark.parametrize("backend", ["builtin", "transformers"])
def test_long_prompts_of_several_lengths_that_share_nothing(
    kind: str, backend: str, tmp_path: Path
) -> None:
    """Some in parts that are attended to in written-out products, some in longer ones."""
    lengths = (300, 280, 150, 60)
    sizes = {"max_position_embeddings": 512}
    policy = Policy.load(str(write_checkpoint(tmp_path, kind, **sizes)), backend=backend)  # type: ignore[arg-type]
    prompts = prompts_of(lengths, 0, policy.model.vocabulary)
    drawing = Drawing(3, 1.3)
    together = policy.sample(prompts, 2, drawing, drawing.uniforms(2 * len(lengths), 0))
    assert_as_alone(together, drawn_alone(policy, prompts, 2, drawing), 2)


@pytest.mark.parametrize("backend", ["builtin", "transformers"])
def test_prompts_that_are_all_the_same_or_begin_with_another(backend: str, tmp_path: Path) -> None:
    """At least the last token, from which rows draw, and one before it are each prompt's own."""
    policy = Policy.load(str(write_checkpoint(tmp_path, "qwen2")), backend=backend)  # type: ignore[arg-type]
    drawing = Drawing(6, 0.0)
    for lengths in ((50,) * 4, (50, 70, 60, 50)):
        prompts = prompts_of(lengths, 50, policy.model.vocabulary)
        together = policy.sample(prompts, 1, drawing)
        assert_as_alone(together, drawn_alone(policy, prompts, 1, drawing), 1)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_any_model_of_transformers_draws_alike(kind: str, tmp_path: Path) -> None:
    """Those whose attention slides, too, whose rows must not be padded in their middle."""
    path = str(write_checkpoint(tmp_path, kind))
    policy = Policy.load(path, backend="transformers")
    prompts = prompts_of(LENGTHS, 32, policy.model.vocabulary)
    drawing = Drawing(8, 0.0, float("-inf"))
    together = policy.sample(prompts, 1, drawing)
    assert_as_alone(together, drawn_alone(policy, prompts, 1, drawing), 1)


class Reads:
    """Counts the tokens that a network's first norm sees."""

    def __init__(self, policy: Policy) -> None:
        self.tokens = 0
        policy.model.embedding.register_forward_hook(self.add)

    def add(self, _module: object, given: tuple[torch.Tensor], _found: torch.Tensor) -> None:
        self.tokens += given[0].numel()


@pytest.mark.parametrize("backend", ["builtin", "transformers"])
def test_what_prompts_begin_with_is_read_once(backend: str, tmp_path: Path) -> None:
    policy = Policy.load(str(write_checkpoint(tmp_path, "llama")), backend=backend)  # type: ignore[arg-type]
    reads = Reads(policy)
    prompts = prompts_of((66,) * 10, 60, policy.model.vocabulary)
    policy.sample(prompts, 4, Drawing(1, 0.0))
    assert reads.tokens == 60 + 10 * 5 + 10 * 4  # once, the rests, and the last of each row


def test_prompts_that_leave_change_nothing_of_what_was_read(tmp_path: Path) -> None:
    policy = Policy.load(str(write_checkpoint(tmp_path, "llama")))
    prompts = prompts_of(LENGTHS, 32, policy.model.vocabulary)
    with torch.no_grad():
        decoding = groups.GroupDecoding(policy.network, prompts, 2, 4)  # type: ignore[arg-type]
        before = decoding.levels[-1]
        assert decoding.keep(torch.tensor([True] * 4 + [False] * 8)) is not None
    assert [len(keys) for keys, _ in decoding.levels[-1].kept] == [2, 2]
    assert [len(keys) for keys, _ in before.kept] == [6, 6]


def test_nothing_is_kept_between_draws(tmp_path: Path) -> None:
    """New weights, an adapter or a new head: the next draw reads the prompts with them."""
    policy = Policy.load(str(write_checkpoint(tmp_path, "llama")))
    prompts = prompts_of(LENGTHS, 32, policy.model.vocabulary)
    drawing = Drawing(6, 0.0)
    before = policy.sample(prompts, 1, drawing)
    with torch.no_grad():
        for weight in policy.network.parameters():
            weight.add_(0.05)
    after = policy.sample(prompts, 1, drawing)
    assert_as_alone(after, drawn_alone(policy, prompts, 1, drawing), 1)
    assert not torch.equal(before.logprobs[:, 0], after.logprobs[:, 0])


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_in_bfloat16_rows_drawn_together_are_no_further_from_exact_ones_than_alone(
    kind: str, tmp_path: Path
) -> None:
    """Positions that are off by one put them ten times as far."""
    exact = Policy.load(str(write_checkpoint(tmp_path, kind)))
    policy, drawing = replace(exact, bf16=True), Drawing(1, 0.0)
    prompts = prompts_of(LENGTHS, 32, policy.model.vocabulary)

    def noted(drawn: list[Completions]) -> torch.Tensor:
        names = ("entropy", "ask_logprobs", "ask_margins")
        return torch.stack([torch.cat([getattr(each, name) for each in drawn]) for name in names])

    expected = noted(drawn_alone(exact, prompts, 1, drawing))
    together = noted([policy.sample(prompts, 1, drawing)]) - expected
    alone = noted(drawn_alone(policy, prompts, 1, drawing)) - expected
    assert 0 < float(together.norm()) < 2 * float(alone.norm())
