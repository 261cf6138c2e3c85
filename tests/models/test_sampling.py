"""Drawing held against a naive loop over the full forward pass."""

from __future__ import annotations

import copy
import math
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.models.small import questions
from understudy.models import groups, sampling
from understudy.models.decoder import Decoder
from understudy.models.groups import GroupDecoding, sample
from understudy.models.sampling import (
    Completions,
    Drawing,
    Prompts,
    Stops,
    draw,
    shifted_logprobs,
)
from understudy.models.tokens import Tokens

GREEDY = Drawing(max_completion_length=12, temperature=0.0)
DRAWINGS = [
    Drawing(12),
    Drawing(12, temperature=0.7),
    Drawing(12, temperature=1.6, ask_shift=2.0),
    Drawing(12, temperature=0.5, ask_shift=-1.5),
    Drawing(12, ask_shift=float("-inf")),
]
EACH_DRAWING = pytest.mark.parametrize("drawing", DRAWINGS, ids=str)

# What drawing itself fills in; who asked in words is found later, in the text.
DRAWN = [field for field in fields(Completions) if field.name != "in_words"]


def drawn_by(
    model: Decoder, prompts: Prompts, group: int, stops: Stops, drawing: Drawing, seed: int = 0
) -> Completions:
    uniforms = drawing.uniforms(group * len(prompts.ids), seed)
    return sample(model, prompts, group, stops, drawing, uniforms)


def bare(prompts: Prompts, row: int) -> Tensor:
    return prompts.ids[row][prompts.mask[row]]


@torch.no_grad()
def naive_greedy(model: Decoder, prompt: Tensor, stops: Stops, drawing: Drawing) -> list[int]:
    """One text at a time, everything computed anew for each token."""
    text = prompt.tolist()
    drawn: list[int] = []
    while len(drawn) < drawing.max_completion_length:
        logits = model(torch.tensor([text + drawn]))[0, -1]
        logits[stops.ask] += drawing.ask_shift
        drawn.append(int(logits.argmax()))
        if drawn[-1] in (stops.end, stops.ask):
            break
    return drawn


@torch.no_grad()
def naive_logits(model: Decoder, prompts: Prompts, drawn: Completions, row: int) -> Tensor:
    """(drawn tokens, vocabulary): what each token of a sample was drawn from, unscaled."""
    group = len(drawn.tokens) // len(prompts.ids)
    prompt = bare(prompts, row // group)
    tokens = drawn.tokens[row][drawn.mask[row]]
    return model(torch.cat((prompt, tokens))[None])[0, len(prompt) - 1 : -1]


@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0, float("-inf")])
def test_greedy_equals_a_loop_without_a_cache(
    model: Decoder, prompts: Prompts, stops: Stops, shift: float
) -> None:
    drawing = replace(GREEDY, ask_shift=shift)
    drawn = sample(model, prompts, 1, stops, drawing)
    found = [drawn.tokens[i][drawn.mask[i]].tolist() for i in range(len(prompts.ids))]
    naive = [naive_greedy(model, bare(prompts, i), stops, drawing) for i in range(len(found))]
    assert found == naive
    assert len({tuple(row) for row in found}) > 1  # the model does answer to its prompts


def test_greedy_completions_do_not_depend_on_the_rest_of_the_batch(
    model: Decoder, prompts: Prompts, stops: Stops, tokens: Tokens
) -> None:
    together = sample(model, prompts, 2, stops, GREEDY)
    for i in range(len(prompts.ids)):
        alone = Prompts(bare(prompts, i)[None], torch.ones(1, len(bare(prompts, i))).bool())
        for other in (alone, Prompts(prompts.ids[[i, 2]], prompts.mask[[i, 2]])):
            apart = sample(model, other, 1, stops, GREEDY)
            expected = apart.tokens[0][apart.mask[0]]
            for row in (2 * i, 2 * i + 1):
                assert torch.equal(together.tokens[row][together.mask[row]], expected)
                torch.testing.assert_close(
                    together.logprobs[row][together.mask[row]],
                    apart.logprobs[0][apart.mask[0]],
                    atol=1e-4,
                    rtol=1e-4,
                )


@EACH_DRAWING
def test_what_is_noted_equals_a_naive_computation(
    model: Decoder, prompts: Prompts, stops: Stops, drawing: Drawing
) -> None:
    """Log-probabilities, those of asking, margins and entropy, at every drawn position."""
    drawn = drawn_by(model, prompts, 4, stops, drawing)
    for row in range(len(drawn.tokens)):
        real = drawn.mask[row]
        raw = naive_logits(model, prompts, drawn, row)
        scaled = raw / drawing.temperature
        scaled[:, stops.ask] += drawing.ask_shift
        probabilities = scaled.softmax(-1)
        logs = probabilities.log()
        others = torch.cat((raw[:, : stops.ask], raw[:, stops.ask + 1 :]), dim=1)
        expected = {
            "logprobs": logs[torch.arange(len(raw)), drawn.tokens[row][real]],
            "ask_logprobs": logs[:, stops.ask],
            "ask_margins": raw[:, stops.ask] - others.max(-1).values,
            "entropy": -(probabilities * logs).nan_to_num(0.0).sum(-1),
        }
        for name, values in expected.items():
            noted = getattr(drawn, name)[row][real]
            torch.testing.assert_close(noted, values, atol=2e-4, rtol=2e-4, msg=name)


@EACH_DRAWING
def test_masks_and_ends_mean_what_they_say(
    model: Decoder, prompts: Prompts, stops: Stops, drawing: Drawing
) -> None:
    """A row is drawn up to its first end or request, that token included, and no further."""
    drawn = drawn_by(model, prompts, 8, stops, replace(drawing, max_completion_length=6))
    assert drawn.tokens.shape[1] <= 6
    for row, real in zip(drawn.tokens, drawn.mask, strict=True):
        assert torch.equal(real, real.sort(descending=True).values)
        before, last = row[real][:-1].tolist(), int(row[real][-1])
        assert not {stops.end, stops.ask} & set(before)
        assert last in (stops.end, stops.ask) or real.sum() == 6
    last = drawn.tokens.gather(1, drawn.mask.sum(1, keepdim=True) - 1).squeeze(1)
    assert torch.equal(drawn.asked, last == stops.ask)
    assert torch.equal(drawn.finished, (last == stops.ask) | (last == stops.end))
    for name in ("logprobs", "ask_logprobs", "ask_margins", "entropy"):
        assert (getattr(drawn, name)[~drawn.mask] == 0).all()
    assert (drawn.tokens[~drawn.mask] == stops.end).all()


def test_the_longest_row_sets_the_width(model: Decoder, prompts: Prompts, stops: Stops) -> None:
    always = drawn_by(model, prompts, 2, stops, Drawing(9, ask_shift=1e4))
    assert {getattr(always, f.name).shape[1:] for f in DRAWN} == {(), (1,)}


@pytest.mark.parametrize("temperature", [0.0, 1.0, 3.0])
def test_a_shift_decides_about_asking(
    model: Decoder, prompts: Prompts, stops: Stops, temperature: float
) -> None:
    never = drawn_by(model, prompts, 60, stops, Drawing(8, temperature, float("-inf")))
    assert not never.asked.any()
    assert not (never.tokens == stops.ask).any()
    assert torch.isfinite(never.logprobs).all()
    assert torch.isfinite(never.entropy).all()
    always = drawn_by(model, prompts, 60, stops, Drawing(8, temperature, 1e4))
    assert always.asked.all()
    assert always.finished.all()
    assert always.mask.sum() == len(always.asked)
    free = drawn_by(model, prompts, 60, stops, Drawing(8, 3.0))
    assert free.asked.any()
    assert not free.asked.all()


def test_a_greedy_reader_asks_where_the_margin_passes_the_shift(
    model: Decoder, prompts: Prompts, stops: Stops
) -> None:
    """Margins are what a threshold on asking is held against: the two decisions agree."""
    quiet = sample(model, prompts, 1, stops, replace(GREEDY, ask_shift=float("-inf")))
    margins = quiet.ask_margins.masked_fill(~quiet.mask, float("-inf")).amax(dim=1)
    for shift in (-margins).tolist():
        for nudge, own in ((1e-3, True), (-1e-3, False)):
            drawn = sample(model, prompts, 1, stops, replace(GREEDY, ask_shift=shift + nudge))
            row = (-margins).tolist().index(shift)
            assert bool(drawn.asked[row]) == own
            assert torch.equal(drawn.asked, margins > -(shift + nudge))


def test_equal_seeds_draw_equal_completions(model: Decoder, prompts: Prompts, stops: Stops) -> None:
    first, again, other = (
        drawn_by(model, prompts, 4, stops, Drawing(8), seed) for seed in (1, 1, 2)
    )
    for field in DRAWN:
        assert torch.equal(getattr(first, field.name), getattr(again, field.name))
    assert first.tokens.shape != other.tokens.shape or not torch.equal(first.tokens, other.tokens)


def assert_same(a: Completions, b: Completions) -> None:
    """The same tokens; what is noted of them within rounding."""
    for field in DRAWN:
        found, expected = getattr(a, field.name), getattr(b, field.name)
        if found.is_floating_point():
            torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-4)
        else:
            assert torch.equal(found, expected), field.name


def test_what_is_drawn_does_not_depend_on_the_rest_of_the_batch(
    model: Decoder, prompts: Prompts, stops: Stops
) -> None:
    """Two halves of a batch, as on two machines, draw what the whole batch draws."""
    drawing = Drawing(12, 1.1, -1.0)
    uniforms = drawing.uniforms(4 * len(prompts.ids), 0)
    together = sample(model, prompts, 4, stops, drawing, uniforms)
    widths = []
    for start, stop in ((0, 2), (2, len(prompts.ids))):
        some, rows = (
            Prompts(prompts.ids[start:stop], prompts.mask[start:stop]),
            slice(4 * start, 4 * stop),
        )
        apart = sample(model, some, 4, stops, drawing, uniforms[rows])
        width = apart.tokens.shape[1]
        widths.append(width)
        assert_same(
            apart,
            Completions(*(getattr(together, field.name)[rows][..., :width] for field in DRAWN)),
        )
        assert not together.mask[rows, width:].any()
    assert max(widths) == together.tokens.shape[1]


@pytest.mark.parametrize("glances", [2, 3, 50])
def test_looking_less_often_for_finished_rows_changes_nothing(
    model: Decoder, prompts: Prompts, stops: Stops, glances: int
) -> None:
    drawing, group = Drawing(12), 4
    uniforms = drawing.uniforms(group * len(prompts.ids), 0)
    expected = sample(model, prompts, group, stops, drawing, uniforms)
    assert int(expected.mask.sum(dim=1).min()) == 1  # so there is somebody to look for
    with torch.no_grad():
        decoding = GroupDecoding(model, prompts, group, drawing.max_completion_length)
        last = prompts.ids[:, -1].repeat_interleave(group)
        assert_same(draw(decoding, last, stops, drawing, uniforms, glances), expected)


def test_bounds_on_memory_change_nothing(
    model: Decoder, prompts: Prompts, stops: Stops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that grows, prompts encoded one by one, and one row's logits at a time."""
    drawing = Drawing(20, 1.3, float("-inf"))
    expected = drawn_by(model, prompts, 4, stops, drawing)
    assert expected.tokens.shape[1] > 12
    bounds = [(groups, "_FIRST_CAPACITY")]
    bounds += [(sampling, name) for name in ("TOKENS_AT_ONCE", "_LOGITS", "_CHOSEN")]
    for module, name in bounds:
        with monkeypatch.context() as patched:
            patched.setattr(module, name, 3)
            assert_same(drawn_by(model, prompts, 4, stops, drawing), expected)


class Casts(TorchDispatchMode):
    """Counts how often a matrix of these shapes is cast to another type."""

    def __init__(self, shapes: set[torch.Size]) -> None:
        super().__init__()
        self.shapes, self.count = shapes, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        found = func(*args, **(kwargs or {}))
        # The latter in inference mode, where it is not taken apart.
        casts = func in (torch.ops.aten._to_copy.default, torch.ops.aten.to.dtype)
        if casts and args[0].shape in self.shapes and found.dtype != args[0].dtype:
            self.count += 1
        return found


@pytest.mark.parametrize("trained", [True, False])
def test_autocast_casts_a_weight_once_however_long_the_completions(
    model: Decoder, prompts: Prompts, stops: Stops, trained: bool
) -> None:
    model = copy.deepcopy(model).requires_grad_(trained)
    weights = [weight for weight in model.parameters() if weight.dim() == 2]
    shapes = {weight.shape for weight in weights}
    with Casts(shapes) as casts, torch.autocast("cpu", torch.bfloat16):
        drawn = drawn_by(model, prompts, 4, stops, Drawing(9, ask_shift=float("-inf")))
    assert drawn.tokens.shape[1] == 9
    assert 0 < casts.count <= len(weights)
    assert all(weight.requires_grad == trained for weight in model.parameters())


def test_sampling_leaves_the_model_and_the_prompts_alone(
    model: Decoder, prompts: Prompts, stops: Stops
) -> None:
    before = [parameter.clone() for parameter in model.parameters()]
    ids = prompts.ids.clone()
    drawn_by(model, prompts, 2, stops, Drawing(4))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert torch.equal(prompts.ids, ids)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_prompt_of_one_token_needs_no_prefix(
    model: Decoder, tokens: Tokens, stops: Stops
) -> None:
    short = Prompts(*tokens.encode_questions(questions("")))
    drawn = sample(model, short, 2, stops, GREEDY)
    naive = naive_greedy(model, bare(short, 0), stops, GREEDY)
    assert drawn.tokens[1][drawn.mask[1]].tolist() == naive


@pytest.mark.parametrize("drawing", [Drawing(2, 0.5), Drawing(2, 0.4, 1.5)], ids=str)
def test_frequencies_match_probabilities(
    model: Decoder, prompts: Prompts, stops: Stops, drawing: Drawing
) -> None:
    """Pearson's chi-square on first tokens and, given the commonest first one, on second ones."""
    one = Prompts(prompts.ids[1:2], prompts.mask[1:2])
    count = 12_000
    drawn = drawn_by(model, one, count, stops, drawing, 3)
    with torch.no_grad():
        logits = model(bare(one, 0)[None])[:, -1]
        first = shifted_logprobs(logits, stops.ask, drawing).exp()[0]
        assert_frequencies(drawn.tokens[:, 0], first)
        token = next(t for t in first.argsort(descending=True).tolist() if t > stops.ask)
        text = torch.cat((bare(one, 0), torch.tensor([token])))
        second = shifted_logprobs(model(text[None])[:, -1], stops.ask, drawing).exp()[0]
    assert_frequencies(drawn.tokens[drawn.tokens[:, 0] == token, 1], second)


def assert_frequencies(found: Tensor, probabilities: Tensor) -> None:
    """Chi-square within four standard deviations of its mean; rare tokens are pooled."""
    expected = probabilities.double() * len(found)
    observed = torch.bincount(found, minlength=len(expected)).double()
    common = expected >= 5
    assert int(common.sum()) >= 10
    expected = torch.cat((expected[common], expected[~common].sum()[None]))
    observed = torch.cat((observed[common], observed[~common].sum()[None]))
    chi_square = float(((observed - expected) ** 2 / expected.clamp(min=1e-9)).sum())
    freedom = len(expected) - 1
    assert abs(chi_square - freedom) < 4 * math.sqrt(2 * freedom)


def test_shifted_logprobs_worked_by_hand() -> None:
    logits = torch.tensor([0.0, math.log(2.0), math.log(4.0)])

    def probabilities(**drawing: float) -> list[float]:
        found = shifted_logprobs(logits, 1, Drawing(1, **drawing)).exp()
        return [round(float(p), 5) for p in found]

    assert probabilities() == [round(p / 7, 5) for p in (1, 2, 4)]
    assert probabilities(temperature=0.5) == [round(p / 21, 5) for p in (1, 4, 16)]
    assert probabilities(temperature=0.0) == probabilities()  # greedy: noted as drawn at 1
    assert probabilities(ask_shift=float("-inf")) == [0.2, 0.0, 0.8]
    assert probabilities(temperature=0.5, ask_shift=math.log(0.25)) == [
        round(p / 18, 5) for p in (1, 1, 16)
    ]
