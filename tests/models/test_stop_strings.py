"""Stop strings held against drawing without them and looking at the texts afterwards."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from tests.models.small import TEXTS, write_checkpoint
from understudy.models.groups import GroupDecoding
from understudy.models.policy import Policy
from understudy.models.sampling import Completions, Drawing, cut, draw
from understudy.models.stop_strings import stop_strings, text_before
from understudy.types import Options, Question

DRAWING = Drawing(32, temperature=1.2)
# Strings of one character, of several that span tokens, and of half a character's bytes.
STOPS = [("e", "q"), ("en", "o", "a"), (), ("\n", "s a", "\u00e9", "i")]


@pytest.mark.parametrize(
    ("text", "strings", "before"),
    [
        ("spam\nbecause", ["\n"], "spam"),
        ("spam", ["\n"], None),
        ("\n\n spam\n", ["\n"], "\n\n spam"),
        ("\n", ["\n"], None),
        ("a##b#c", ["#c", "##"], "a"),
        ("###", ["###"], ""),
        ("anything", [], None),
    ],
)
def test_the_text_before_a_stop_string(text: str, strings: list[str], before: str | None) -> None:
    assert text_before(text, strings) == before


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stops")
    return write_checkpoint(out, "qwen2-tied", vocab_size=400)  # more rows than it has tokens


@pytest.fixture(params=["builtin", "transformers"])
def policy(folder: Path, request: pytest.FixtureRequest) -> Policy:
    return Policy.load(str(folder), backend=request.param, request="")


def asked(stopping: bool = True) -> list[Question]:
    return [
        replace(Question.of(text), options=Options(stop=stop if stopping else ()))
        for text, stop in zip(TEXTS, STOPS, strict=True)
    ]


def drawn_by(policy: Policy, group: int, stopping: bool = True) -> Completions:
    uniforms = DRAWING.uniforms(len(TEXTS) * group, 3)
    return policy.sample(policy.prompts(asked(stopping)), group, DRAWING, uniforms)


def ended(policy: Policy, free: Completions, group: int) -> list[int]:
    """The lengths at which rows that were drawn without stop strings should have ended."""
    lengths = free.mask.sum(dim=1).tolist()
    for row, tokens in enumerate(free.tokens.tolist()):
        for length in range(1, lengths[row] + 1):
            text = policy.tokens.decode(tokens[:length])
            if any(stop in text.lstrip() for stop in STOPS[row // group]):
                lengths[row] = length
                break
    return lengths


def test_rows_end_where_their_texts_hold_a_string(policy: Policy) -> None:
    group = 8
    free, drawn = drawn_by(policy, group, stopping=False), drawn_by(policy, group)
    lengths = ended(policy, free, group)
    assert drawn.mask.sum(dim=1).tolist() == lengths
    shorter = [row for row, length in enumerate(lengths) if length < int(free.mask[row].sum())]
    assert len(shorter) > group
    assert drawn.finished[shorter].all()
    mask = drawn.mask
    assert torch.equal(drawn.tokens[mask], free.tokens[:, : mask.shape[1]][mask])
    for field in ("logprobs", "entropy"):
        mine, other = (getattr(each, field)[:, : mask.shape[1]][mask] for each in (drawn, free))
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)
    texts = policy.texts(drawn, policy.prompts(asked()))
    for row, text in enumerate(texts):
        assert not any(stop in text.lstrip() for stop in STOPS[row // group])
    assert policy.texts(drawn) != texts


def test_no_completion_depends_on_how_often_rows_are_looked_at(folder: Path) -> None:
    policy = Policy.load(str(folder), request="")
    network, group = policy.network, 8
    prompts, stops = policy.prompts(asked()), policy.stops
    rows = prompts.ids[:, -1].repeat_interleave(group)
    strings = stop_strings(policy.tokens, prompts.stop, group, policy.model.vocabulary)
    uniforms = DRAWING.uniforms(len(rows), 3)
    found = []
    for glances in (1, 5, 32, 100):
        with torch.no_grad():
            decoding = GroupDecoding(network, prompts, group, 32)  # type: ignore[arg-type]
            stopping = replace(stops, strings=strings)
            found.append(draw(decoding, rows, stopping, DRAWING, uniforms, glances))
    for drawn in found[1:]:
        for field in fields(Completions):
            mine, other = getattr(drawn, field.name), getattr(found[0], field.name)
            assert (mine is None and other is None) or torch.equal(mine, other), field.name


def test_what_something_else_drew_is_cut_at_the_same_places(policy: Policy) -> None:
    group = 8
    free, drawn = drawn_by(policy, group, stopping=False), drawn_by(policy, group)
    prompts = policy.prompts(asked())
    strings = stop_strings(policy.tokens, prompts.stop, group, policy.model.vocabulary)
    end, width = policy.stops.end, drawn.mask.shape[1]
    found = cut(free, strings, end)
    assert torch.equal(found.mask[:, :width], drawn.mask)
    assert not found.mask[:, width:].any()
    assert torch.equal(found.finished, drawn.finished)
    assert torch.equal(found.asked, drawn.asked)
    assert torch.equal(found.tokens[:, :width], drawn.tokens)
    assert (found.tokens[~found.mask] == end).all()
    for field in ("logprobs", "ask_logprobs", "ask_margins", "entropy"):
        assert not getattr(found, field)[~found.mask].any(), field
    assert cut(free, None, end) is free


@pytest.mark.parametrize(
    ("stop", "before"),
    [("\n", "7 pens"), ("s\nand", "7 pen"), ("zz", None), (" a dog", "7 pens\nand")],
)
def test_an_answer_on_record_ends_where_one_drawn_here_would(
    policy: Policy, stop: str, before: str | None
) -> None:
    question = replace(Question.of("Tom?"), options=Options(stop=(stop,)))
    answer = "7 pens\nand a dog, a fox"
    prompts, written = policy.prompts([question]), policy.written([answer])
    noted = policy.noted(prompts, written, DRAWING)
    assert policy.texts(noted, prompts) == [before or answer]
    assert bool(noted.finished[0])
    if before is None:
        assert torch.equal(noted.mask, written.mask)
    else:  # the token that completes the string is the last
        ids = noted.tokens[0][noted.mask[0]].tolist()
        assert stop in policy.tokens.decode(ids)
        assert stop not in policy.tokens.decode(ids[:-1])


def test_without_strings_prompts_carry_none(policy: Policy) -> None:
    assert policy.prompts(asked(stopping=False)).stop == ()
    assert stop_strings(policy.tokens, (), 3, 400) is None
