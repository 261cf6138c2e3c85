"""Scoring: the numbers noted while sampling, with a gradient, whatever rows and chunks."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor

from understudy.models import ask_head, decoder
from understudy.models.branches import batch_of, trees_of
from understudy.models.built_in import BuiltInModel
from understudy.models.decoder import Decoder
from understudy.models.groups import sample
from understudy.models.logprobs import pair_logprobs
from understudy.models.sampling import (
    Completions,
    Drawing,
    Prompts,
    Stops,
    Written,
    shifted_logprobs,
)
from understudy.models.scoring import score
from understudy.models.tokens import END, Tokens

DRAWINGS = [Drawing(10), Drawing(10, 0.6), Drawing(10, 1.4, 2.0), Drawing(10, 1.0, float("-inf"))]
EACH_DRAWING = pytest.mark.parametrize("drawing", DRAWINGS, ids=str)
Gradients = dict[str, Tensor]


def draw(model: Decoder, prompts: Prompts, stops: Stops, drawing: Drawing) -> Completions:
    uniforms = drawing.uniforms(3 * len(prompts.ids), 1)
    return sample(model, prompts, 3, stops, drawing, uniforms)


def every(completions: Completions | Written) -> Tensor:
    return torch.arange(len(completions.tokens))


def gradients(model: Decoder, loss: Tensor) -> Gradients:
    model.zero_grad()
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_same_gradients(a: Gradients, b: Gradients) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.isfinite(a[name]).all(), name
        scale = float(b[name].abs().max()) + 1e-6
        assert float((a[name] - b[name]).abs().max()) < 1e-3 * scale, name


def naive_score(
    model: Decoder, prompts: Prompts, done: Completions, row: int, ask: int, drawing: Drawing
) -> tuple[Tensor, Tensor]:
    """One row alone, unpadded, by the full forward pass."""
    group = len(done.tokens) // len(prompts.ids)
    prompt = prompts.ids[row // group][prompts.mask[row // group]]
    tokens = done.tokens[row][done.mask[row]]
    logits = model(torch.cat((prompt, tokens))[None])[0, len(prompt) - 1 : -1]
    logs = shifted_logprobs(logits, ask, drawing)
    return logs.gather(1, tokens[:, None]).squeeze(1), logs[:, ask]


@EACH_DRAWING
def test_scores_equal_what_was_noted_while_sampling(
    model: Decoder, prompts: Prompts, stops: Stops, drawing: Drawing
) -> None:
    done = draw(model, prompts, stops, drawing)
    taken, asking = score(BuiltInModel(model), prompts, done, every(done), stops.ask, drawing)
    assert taken.requires_grad
    assert asking.requires_grad
    torch.testing.assert_close(taken.detach(), done.logprobs, atol=2e-4, rtol=2e-4)
    torch.testing.assert_close(asking.detach(), done.ask_logprobs, atol=2e-4, rtol=2e-4)
    assert (taken[~done.mask] == 0).all()
    assert (asking[~done.mask] == 0).all()


@EACH_DRAWING
def test_scores_and_gradients_equal_a_naive_computation(
    model: Decoder, prompts: Prompts, stops: Stops, drawing: Drawing
) -> None:
    done = draw(model, prompts, stops, drawing)
    weights = torch.randn(done.tokens.shape, generator=torch.Generator().manual_seed(2))
    taken, asking = score(BuiltInModel(model), prompts, done, every(done), stops.ask, drawing)
    naive_loss = torch.zeros(())
    for row in range(len(done.tokens)):
        real = done.mask[row]
        expected = naive_score(model, prompts, done, row, stops.ask, drawing)
        torch.testing.assert_close(taken[row][real], expected[0], atol=2e-4, rtol=2e-4)
        torch.testing.assert_close(asking[row][real], expected[1], atol=2e-4, rtol=2e-4)
        naive_loss = naive_loss + (weights[row][real] * expected[0]).sum()
    found = gradients(model, (weights * taken)[done.mask].sum())
    assert_same_gradients(found, gradients(model, naive_loss))


@pytest.mark.parametrize("tokens_at_once", [1, 40, 75, 150, 10_000])
def test_the_bound_on_tokens_changes_neither_values_nor_gradients(
    model: Decoder, prompts: Prompts, stops: Stops, tokens_at_once: int
) -> None:
    drawing = Drawing(10, 1.2, 0.5)
    done = draw(model, prompts, stops, drawing)
    rows = every(done)
    assert len(done.mask.sum(1).unique()) > 2  # of different lengths, so they do get sorted
    whole = score(BuiltInModel(model), prompts, done, rows, stops.ask, drawing)
    apart = score(BuiltInModel(model), prompts, done, rows, stops.ask, drawing, tokens_at_once)
    for a, b in zip(apart, whole, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    a, b = (gradients(model, taken.sum() - asking.sum()) for taken, asking in (apart, whole))
    assert_same_gradients(a, b)


@pytest.mark.parametrize(
    "rows",
    [[0], [14], [3, 4, 5], [14, 0, 7], [1, 2, 9, 10, 13], [6, 6]],
    ids=str,
)
def test_some_rows_score_as_they_do_among_all(
    model: Decoder, prompts: Prompts, stops: Stops, rows: list[int]
) -> None:
    """In the order asked for, prompts left out or not; gradients are those of these rows."""
    drawing = Drawing(10, 0.9, 1.0)
    done = draw(model, prompts, stops, drawing)
    chosen = torch.tensor(rows)
    few = score(BuiltInModel(model), prompts, done, chosen, stops.ask, drawing)
    full = score(BuiltInModel(model), prompts, done, every(done), stops.ask, drawing)
    for some, whole in zip(few, full, strict=True):
        assert some.shape == (len(rows), done.tokens.shape[1])
        torch.testing.assert_close(some, whole[chosen], atol=1e-4, rtol=1e-4)
    a, b = (gradients(model, x.sum()) for x in (few[0] * few[1], (full[0] * full[1])[chosen]))
    assert_same_gradients(a, b)


@pytest.mark.parametrize("share", [2, 5])
def test_parts_scored_one_after_the_other_add_up_to_the_whole(
    model: Decoder, prompts: Prompts, stops: Stops, share: int
) -> None:
    """What accumulates gradients: prompts that fall on both sides of a border are read twice."""
    drawing = Drawing(10, 1.1, 0.4)
    done = draw(model, prompts, stops, drawing)
    weights = torch.randn(done.tokens.shape, generator=torch.Generator().manual_seed(2))
    taken, _ = score(BuiltInModel(model), prompts, done, every(done), stops.ask, drawing)
    whole = gradients(model, (weights * taken).sum())
    model.zero_grad()
    for rows in every(done).split(share):
        some, _ = score(BuiltInModel(model), prompts, done, rows, stops.ask, drawing)
        torch.testing.assert_close(some, taken[rows], atol=1e-4, rtol=1e-4)
        (weights[rows] * some).sum().backward()
    parts = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    assert_same_gradients(parts, whole)


@pytest.mark.parametrize("written_out", [0, 10_000])
def test_a_large_vocabulary_long_text_and_checkpoints_change_nothing(
    model: Decoder,
    prompts: Prompts,
    stops: Stops,
    written_out: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Logits in tiles, blocks computed again, either attention: one result, one gradient."""
    drawing = Drawing(10, 1.1, 0.4)
    done = draw(model, prompts, stops, drawing)
    whole = score(BuiltInModel(model), prompts, done, every(done), stops.ask, drawing)
    expected = gradients(model, (whole[0] - 0.3 * whole[1]).sum())
    monkeypatch.setattr(decoder, "WRITTEN_OUT", written_out)
    tiles = functools.partial(pair_logprobs, tile=500)
    monkeypatch.setattr(ask_head, "pair_logprobs", tiles)
    monkeypatch.setattr(model, "checkpointing", True)
    apart = score(BuiltInModel(model), prompts, done, every(done), stops.ask, drawing)
    for a, b in zip(apart, whole, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert_same_gradients(gradients(model, (apart[0] - 0.3 * apart[1]).sum()), expected)


def test_checkpoints_keep_less(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pass keeps for the backward pass, in numbers."""
    trees = batch_of(trees_of([[5, 9, 7]], [list(range(10, 40))] * 2, [0, 0]), torch.device("cpu"))
    kept = {}
    for checkpointing in (False, True):
        monkeypatch.setattr(model, "checkpointing", checkpointing)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, sizes=sizes: sizes.append(tensor.numel()) or tensor,
            lambda tensor: tensor,
        ):
            model.branch(trees.tokens, trees.positions, trees.visible)
        kept[checkpointing] = sum(sizes)
    assert kept[True] < kept[False] / 4


def test_a_row_without_tokens_has_nothing_to_score(
    model: Decoder, prompts: Prompts, stops: Stops
) -> None:
    done = draw(model, prompts, stops, Drawing(6))
    rows = torch.tensor([3, 4])
    empty = Written(done.tokens, done.mask.clone())
    empty.mask[3] = False
    taken, _ = score(BuiltInModel(model), prompts, empty, rows, stops.ask, Drawing(6))
    alone, _ = score(BuiltInModel(model), prompts, done, rows[1:], stops.ask, Drawing(6))
    assert (taken[0] == 0).all()
    torch.testing.assert_close(taken[1:], alone, atol=1e-4, rtol=1e-4)
    nothing, _ = score(BuiltInModel(model), prompts, empty, rows[:1], stops.ask, Drawing(6))
    assert (nothing == 0).all()


def test_a_forbidden_request_leaves_the_gradient_finite(
    model: Decoder, prompts: Prompts, stops: Stops
) -> None:
    drawing = Drawing(6, ask_shift=float("-inf"))
    done = draw(model, prompts, stops, drawing)
    taken, asking = score(BuiltInModel(model), prompts, done, every(done), stops.ask, drawing)
    assert (asking[done.mask] == float("-inf")).all()
    assert all(torch.isfinite(g).all() for g in gradients(model, taken.sum()).values())


def test_written_completions_score_like_drawn_ones(
    model: Decoder, prompts: Prompts, stops: Stops, tokens: Tokens
) -> None:
    texts = ["#7", "1,2#3", "#10", "sum", "#dcb"]
    written = Written(*tokens.encode_completions([text + END for text in texts]))
    drawing = Drawing(10)
    taken, _ = score(BuiltInModel(model), prompts, written, every(written), stops.ask, drawing)
    for row, text in enumerate(texts):
        prompt = prompts.ids[row][prompts.mask[row]].tolist()
        completion = tokens.encode(text + END)
        logs = model(torch.tensor([prompt + completion]))[0].log_softmax(-1)
        expected = [logs[len(prompt) - 1 + i, token] for i, token in enumerate(completion)]
        real = written.mask[row]
        torch.testing.assert_close(taken[row][real], torch.stack(expected), atol=2e-4, rtol=2e-4)


def test_probabilities_of_all_single_tokens_sum_to_one(
    model: Decoder, prompts: Prompts, stops: Stops
) -> None:
    vocabulary = model.shape.vocab_size
    one = Prompts(prompts.ids[:1], prompts.mask[:1])
    all_tokens = torch.arange(vocabulary)[:, None]
    written = Written(all_tokens, torch.ones(vocabulary, 1, dtype=torch.bool))
    for drawing in DRAWINGS:
        taken, asking = score(BuiltInModel(model), one, written, every(written), stops.ask, drawing)
        assert taken.exp().sum().item() == pytest.approx(1.0, abs=1e-5)
        assert torch.allclose(asking, taken[stops.ask].expand_as(asking))
