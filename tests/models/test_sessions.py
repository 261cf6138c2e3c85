"""Sessions: rows that join late, leave early or pass through parts of a model on their own way.

Whatever happens beside a row, it gives the tokens that it gives alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models.small import KINDS, write_checkpoint
from tests.models.test_drawn_shapes import ASK, case_of, model_of, oracle_of
from understudy.errors import CheckpointError
from understudy.models.drawing import choose
from understudy.models.local_model import LocalModel, Session
from understudy.models.policy import Policy
from understudy.models.sampling import Drawing, Prompts, Stops
from understudy.models.transformers_model import TransformersModel

BACKENDS = ["builtin", "transformers"]


@dataclass
class Row:
    """A prompt on its way through a session."""

    prompt: Tensor
    uniforms: Tensor  # (longest completion,)
    joins: int  # the step at which it joins
    leaves: int  # after so many tokens, whatever they are
    tokens: list[int] = field(default_factory=list)

    def done(self, ends: set[int], longest: int) -> bool:
        return len(self.tokens) >= min(self.leaves, longest) or self.tokens[-1] in ends


def padded(prompts: list[Tensor]) -> Prompts:
    width = max(map(len, prompts))
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros(len(prompts), width, dtype=torch.bool)
    for i, prompt in enumerate(prompts):
        ids[i, width - len(prompt) :], mask[i, width - len(prompt) :] = prompt, True
    return Prompts(ids, mask)


class Chain:
    """Sessions over parts of a model, one after the other, as one."""

    def __init__(self, model: LocalModel, cuts: list[int]) -> None:
        bounds = [0, *cuts, model.blocks]
        self.sessions = [model.open(*pair) for pair in itertools.pairwise(bounds)]

    @property
    def lengths(self) -> Tensor:
        return self.sessions[0].lengths

    def admit(self, given: Tensor, mask: Tensor) -> Tensor:
        for session in self.sessions:
            given = session.admit(given, mask)
        return given

    def step(self, given: Tensor) -> Tensor:
        for session in self.sessions:
            given = session.step(given)
        return given

    def drop(self, rows: Tensor) -> None:
        for session in self.sessions:
            session.drop(rows)

    def logits(self, states: Tensor) -> Tensor:
        return self.sessions[-1].logits(states)


def decode(session: Session, rows: list[Row], stops: Stops, drawing: Drawing) -> None:
    """Let every row join at its step and decode until it is done."""
    going: list[Row] = []
    ends = {stops.end, stops.ask, *stops.ends}
    for step in range(1000):
        states = []
        if going:
            states.append(session.step(torch.tensor([row.tokens[-1] for row in going])))
        if late := [row for row in rows if row.joins == step]:
            prompts = padded([row.prompt for row in late])
            states.append(session.admit(prompts.ids, prompts.mask))
            going += late
        if states:
            draw(session, going, torch.cat(states), drawing)
            done = [row.done(ends, drawing.max_completion_length) for row in going]
            session.drop(torch.tensor(done).nonzero().squeeze(1))
            going = [row for row, ended in zip(going, done, strict=True) if not ended]
            read = [len(row.prompt) + len(row.tokens) - 1 for row in going]
            assert session.lengths.tolist() == read
        if not going and step > max(row.joins for row in rows):
            return
    raise AssertionError("rows never end")


def draw(session: Session, going: list[Row], states: Tensor, drawing: Drawing) -> None:
    uniforms = torch.stack([row.uniforms[len(row.tokens)] for row in going])
    given = uniforms if drawing.temperature else None
    logits = session.logits(states).float().clone()
    tokens, _ = choose(logits, ASK, drawing.temperature, drawing.ask_shift, given)
    for row, token in zip(going, tokens.tolist(), strict=True):
        row.tokens.append(token)


def rows_of(prompts: Prompts, drawing: Drawing, seed: int) -> list[Row]:
    random = np.random.default_rng(seed)
    uniforms = drawing.uniforms(2 * len(prompts.ids), seed)
    return [
        Row(ids[mask], luck, int(random.integers(0, 12)), int(random.integers(1, 20)))
        for ids, mask, luck in zip(
            prompts.ids.repeat(2, 1), prompts.mask.repeat(2, 1), uniforms, strict=True
        )
    ]


def assert_as_alone(
    model: LocalModel, rows: list[Row], stops: Stops, drawing: Drawing
) -> Iterator[int]:
    """The lengths of what was drawn."""
    for row in rows:
        alone = padded([row.prompt])
        given = row.uniforms[None] if drawing.temperature else None
        drawn = model.sample(alone, 1, stops, drawing, given)
        assert row.tokens == drawn.tokens[0][drawn.mask[0]].tolist()[: row.leaves]
        yield len(row.tokens)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_that_join_late_or_leave_early_change_nobody(backend: str) -> None:
    """Over drawn shapes, prompts, joins, ends and drops; whole models and models cut in parts."""
    lengths: list[int] = []
    for seed in range(0, 240, 3):
        case = case_of(seed)
        model = model_of(backend, oracle_of(case.shape, seed), case.shape)
        rows = rows_of(case.prompts, case.drawing, seed)
        count = case.shape.num_hidden_layers
        cuts: list[list[int]] = [[], [0], [count // 2], list(range(count))]
        session: Session = Chain(model, cuts[seed % 4])
        decode(session, rows, case.stops, case.drawing)
        lengths += assert_as_alone(model, rows, case.stops, case.drawing)
    assert lengths.count(1) > 20  # some end at once
    assert max(lengths) == 15


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cuts", [[], [1], [0, 1]], ids=str)
def test_any_kind_takes_late_rows_and_can_be_cut(
    kind: str, cuts: list[int], tmp_path: Path
) -> None:
    """Gemma's sliding windows of 8 positions are passed; GPT-2 adds what stands at a position."""
    folder = write_checkpoint(tmp_path, kind)
    policy = Policy.load(str(folder), backend="transformers")
    generator = torch.Generator().manual_seed(1)
    prompts = [torch.randint(3, 320, (n,), generator=generator) for n in (5, 13, 1, 20)]
    drawing = Drawing(14, 0.9)
    rows = rows_of(padded(prompts), drawing, 5)
    decode(Chain(policy.model, cuts), rows, policy.stops, drawing)
    assert max(assert_as_alone(policy.model, rows, policy.stops, drawing)) > 8


@torch.no_grad()
def test_parts_give_the_logits_of_the_whole(tmp_path: Path) -> None:
    """At every cut, hidden states in between being what transformers calls them."""
    write_checkpoint(tmp_path, "qwen2", num_hidden_layers=3)
    ids = torch.randint(3, 320, (2, 9), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids, dtype=torch.bool)
    theirs = Policy.load(str(tmp_path), backend="transformers")
    known = theirs.network(ids, output_hidden_states=True)
    base = theirs.network.base_model
    for policy in (Policy.load(str(tmp_path)), theirs):
        for cut in range(3):
            front, back = policy.model.open(0, cut), policy.model.open(cut)
            hidden = front.admit(ids, mask)
            torch.testing.assert_close(hidden, known.hidden_states[cut], atol=1e-4, rtol=1e-4)
            logits = back.logits(back.admit(hidden, mask))
            torch.testing.assert_close(logits, known.logits[:, -1], atol=1e-4, rtol=1e-4)
            head = policy.model.open(3, 3)  # as if the model ended here
            expected = theirs.network.lm_head(base.norm(hidden))[:, -1]
            early = head.logits(head.admit(hidden, mask))
            torch.testing.assert_close(early, expected, atol=1e-4, rtol=1e-4)


def test_a_model_whose_blocks_need_more_is_not_cut(tmp_path: Path) -> None:
    policy = Policy.load(str(write_checkpoint(tmp_path, "llama")), backend="transformers")
    network = policy.network
    network.base_model.layers[1].register_forward_pre_hook(
        lambda module, given: (given[0] + network.base_model.layers[0].seen, *given[1:])
    )
    network.base_model.layers[0].register_forward_hook(
        lambda module, given, found: setattr(module, "seen", 0.5 * given[0])
    )
    assert isinstance(policy.model, TransformersModel)
    policy.model.open()
    network.base_model.layers[0].seen = torch.zeros(1)
    with pytest.raises(CheckpointError, match="cannot be cut in parts"):
        policy.model.open(0, 1)
