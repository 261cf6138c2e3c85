"""Hundreds of drawn shapes, batches and ways to wind down, each held against transformers.

Shapes differ wherever models in the field do: grouped heads and one key-value head, tied and
untied embeddings, biases, heads of any size, vocabularies of 50,000 and more. Rows end at
positions of their own, until one prompt and then one row is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from understudy.models import sampling
from understudy.models.built_in import BuiltInModel
from understudy.models.checkpoint import named_parts
from understudy.models.decoder import Decoder, Shape
from understudy.models.groups import GroupDecoding
from understudy.models.local_model import LocalModel
from understudy.models.sampling import (
    Completions,
    Decoding,
    Drawing,
    Prompts,
    Stops,
    draw,
    shifted_logprobs,
)
from understudy.models.scoring import score
from understudy.models.transformers_model import CachedDecoding, TransformersModel

CLASSES = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
}
ASK, END = 1, 2
CASES, LARGE = 240, 6  # how many shapes are drawn; so many of them have a large vocabulary


@dataclass(frozen=True)
class Case:
    """A model, a batch and how it is drawn from."""

    shape: Shape
    prompts: Prompts
    group: int
    stops: Stops
    drawing: Drawing
    uniforms: Tensor
    compact_below: float  # 2: at every step that some row ends; 0: never
    glances: int


def case_of(seed: int) -> Case:
    random = np.random.default_rng(seed)

    def one_of(*values: Any) -> Any:
        return values[random.integers(len(values))]

    heads = one_of(1, 2, 3, 4, 6, 8)
    groups = [count for count in range(1, heads + 1) if heads % count == 0]
    large = seed >= CASES - LARGE
    shape = Shape(
        model_type=one_of("llama", "qwen2"),
        vocab_size=int(random.integers(50_000, 160_000) if large else random.integers(12, 200)),
        hidden_size=heads * int(random.integers(-(-4 // heads), 1 + 32 // heads)),
        intermediate_size=int(random.integers(3, 40)),
        num_hidden_layers=int(random.integers(1, 4)),
        num_attention_heads=heads,
        num_key_value_heads=one_of(*groups),
        head_dim=one_of(2, 4, 6, 8, 16),
        rms_norm_eps=one_of(1e-6, 1e-5, 1e-2),
        rope_theta=one_of(500.0, 10_000.0, 1e6),
        tie_word_embeddings=bool(random.integers(2)),
        max_position_embeddings=64,
    )
    lengths = random.integers(1, 10, int(random.integers(1, 6)))
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, shape.vocab_size, (len(lengths), max(lengths)), generator=generator)
    mask = torch.arange(max(lengths)) >= max(lengths) - torch.tensor(lengths)[:, None]
    group = int(random.integers(1, 7))
    drawing = Drawing(
        int(random.integers(1, 16)), one_of(0.0, 0.7, 1.0, 1.5), one_of(0.0, 1.0, float("-inf"))
    )
    share = one_of(0.03, 0.1, 0.3)  # of all tokens end a completion
    others = (torch.rand(shape.vocab_size, generator=generator) < share).nonzero().squeeze(1)
    return Case(
        shape,
        Prompts(ids.masked_fill(~mask, 0), mask),
        group,
        Stops(END, ASK, tuple(token for token in others.tolist()[:2000] if token > END)),
        drawing,
        drawing.uniforms(len(lengths) * group, seed),
        one_of(0.0, 0.8, 2.0),
        one_of(1, 1, 2, 3),
    )


def oracle_of(shape: Shape, seed: int) -> Any:
    """transformers' model, its weights, biases and norms far from their initial values."""
    config, model = CLASSES[shape.model_type]
    fields = {name: getattr(shape, name) for name in Shape.__dataclass_fields__}
    theta = fields.pop("rope_theta")
    fields["rope_parameters"] = {"rope_type": "default", "rope_theta": theta}
    fields["pad_token_id"] = None
    del fields["model_type"]
    made = model(config(**fields)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            centre = 1.0 if parameter.dim() == 1 else 0.0
            width = 0.2 if parameter.dim() == 1 else 1.5 * parameter.shape[1] ** -0.5
            parameter.normal_(centre, width, generator=generator)
    return made


def model_of(backend: str, theirs: Any, shape: Shape) -> LocalModel:
    """A local model with the weights of one of transformers."""
    if backend == "transformers":
        return TransformersModel(theirs)
    ours, state = Decoder(shape), theirs.state_dict()
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            for part, tensor in named_parts(shape, name, parameter):
                tensor.copy_(state[part])
    return BuiltInModel(ours)


def texts_of(case: Case, drawn: Completions) -> list[list[int]]:
    return [
        [
            *case.prompts.ids[row // case.group][case.prompts.mask[row // case.group]].tolist(),
            *tokens[mask].tolist(),
        ]
        for row, (tokens, mask) in enumerate(zip(drawn.tokens, drawn.mask, strict=True))
    ]


@torch.no_grad()
def expected_logits(theirs: Any, case: Case, drawn: Completions) -> list[Tensor]:
    """For each row, (drawn tokens, vocabulary): what its tokens are drawn from."""
    texts = texts_of(case, drawn)
    width = max(map(len, texts))
    padded = torch.tensor([text + [0] * (width - len(text)) for text in texts])
    counts = drawn.mask.sum(dim=1).tolist()
    logits = theirs(padded, use_cache=False).logits
    return [
        row[len(text) - count - 1 : len(text) - 1]
        for row, text, count in zip(logits, texts, counts, strict=True)
    ]


def check_drawn(case: Case, drawn: Completions, raw: list[Tensor]) -> None:
    """Each token is the one that its uniform number leads to, and its numbers are right."""
    drawing = case.drawing
    for row, logits in enumerate(raw):
        real = drawn.mask[row]
        tokens = drawn.tokens[row][real]
        scaled = logits.double() / (drawing.temperature or 1.0)
        scaled[:, ASK] += drawing.ask_shift
        logs = scaled.log_softmax(dim=1)
        taken = logs.gather(1, tokens[:, None]).squeeze(1)
        if drawing.temperature == 0:
            assert (scaled.amax(dim=1) - scaled.gather(1, tokens[:, None])[:, 0] < 1e-3).all()
        else:
            above = logs.exp().cumsum(dim=1).gather(1, tokens[:, None]).squeeze(1)
            uniform = case.uniforms[row, : len(tokens)]
            assert (uniform <= above + 1e-4).all()
            assert (uniform >= above - taken.exp() - 1e-4).all()
        others = logits.clone()
        others[:, ASK] = float("-inf")
        found = {
            "logprobs": taken,
            "ask_logprobs": logs[:, ASK],
            "ask_margins": logits[:, ASK] - others.amax(dim=1),
            "entropy": -(logs.exp() * logs).nan_to_num(0.0).sum(dim=1),
        }
        for name, values in found.items():
            noted = getattr(drawn, name)[row][real]
            torch.testing.assert_close(
                noted, values.to(noted.dtype), atol=1e-3, rtol=1e-3, msg=name
            )


def check_ends(case: Case, drawn: Completions) -> None:
    """No row goes on after its end, and none stops before it but at the limit."""
    ends = {END, ASK, *case.stops.ends}
    for tokens, mask in zip(drawn.tokens, drawn.mask, strict=True):
        row = tokens[mask].tolist()
        assert not ends & set(row[:-1])
        assert row[-1] in ends or len(row) == case.drawing.max_completion_length


def check_scored(case: Case, model: LocalModel, drawn: Completions) -> None:
    """Scoring some of the rows gives the numbers that drawing noted, with a gradient."""
    rows = torch.arange(len(drawn.tokens)).flip(0)[:: 1 + len(drawn.tokens) % 2]
    taken, asking = score(model, case.prompts, drawn, rows, ASK, case.drawing, tokens_at_once=40)
    for found, noted in ((taken, drawn.logprobs), (asking, drawn.ask_logprobs)):
        torch.testing.assert_close(found, noted[rows], atol=1e-3, rtol=1e-3)
    taken.sum().backward()
    assert all(
        weight.grad is not None and weight.grad.isfinite().all()
        for weight in model.network.parameters()
    )


def winds_down(case: Case, drawn: Completions) -> set[str]:
    """Which of the narrow endings a batch went through."""
    lengths = drawn.mask.sum(dim=1).view(-1, case.group)
    found = set()
    for position in range(drawn.tokens.shape[1]):
        alive = (lengths > position).sum(dim=1)
        if len(alive) > 1 and int((alive > 0).sum()) == 1:
            found.add("one row" if int(alive.max()) == 1 else "one prompt")
    return found


def draw_as(case: Case, model: LocalModel) -> Completions:
    given = (case.prompts, case.group)
    tokens = case.prompts.ids[:, -1].repeat_interleave(case.group)
    with torch.no_grad():
        if isinstance(model, BuiltInModel):
            length = case.drawing.max_completion_length
            decoding: Decoding = GroupDecoding(model.network, *given, length)
        else:
            assert isinstance(model, TransformersModel)
            decoding = CachedDecoding(model, *given)
        uniforms = case.uniforms if case.drawing.temperature else None
        return draw(decoding, tokens, case.stops, case.drawing, uniforms, case.glances)


@pytest.mark.parametrize("backend", ["builtin", "transformers"])
def test_drawn_shapes_give_the_tokens_and_numbers_of_transformers(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    for seed in range(CASES):
        case = case_of(seed)
        monkeypatch.setattr(sampling, "COMPACT_BELOW", case.compact_below)
        theirs = oracle_of(case.shape, seed)
        model = model_of(backend, theirs, case.shape)
        drawn = draw_as(case, model)
        check_drawn(case, drawn, expected_logits(theirs, case, drawn))
        check_ends(case, drawn)
        check_scored(case, model, drawn)
        grouped = case.shape.num_key_value_heads < case.shape.num_attention_heads
        compacted = case.compact_below == 2.0
        seen += [f"{end} {grouped} {compacted}" for end in winds_down(case, drawn)]
    counts = {kind: seen.count(kind) for kind in set(seen)}
    assert len(counts) == 8, counts
    assert min(counts.values()) > 1, counts


@torch.no_grad()
@pytest.mark.parametrize("backend", ["builtin", "transformers"])
@pytest.mark.parametrize("kept", ["float32", "bfloat16"])
def test_bfloat16_is_as_near_to_float32_as_that_of_transformers(backend: str, kept: str) -> None:
    """Products alone (autocast), or the weights too; drawing and scoring."""
    ours, theirs = [], []
    for seed in range(0, 60, 2):
        case = case_of(seed)
        exact = oracle_of(case.shape, seed)
        rough = oracle_of(case.shape, seed).to(getattr(torch, kept))
        model = model_of(backend, rough, case.shape)
        model.network.to(getattr(torch, kept))
        with torch.autocast("cpu", torch.bfloat16, enabled=kept == "float32"):
            drawn = draw_as(case, model)
            rows = torch.arange(len(drawn.tokens))
            scored, _ = score(model, case.prompts, drawn, rows, ASK, case.drawing)
            of_rough = expected_logits(rough, case, drawn)
        check_ends(case, drawn)
        for row, logits in enumerate(expected_logits(exact, case, drawn)):
            real = drawn.mask[row]
            taken = drawn.tokens[row][real][:, None]
            wanted, found = (
                shifted_logprobs(given.float(), ASK, case.drawing).gather(1, taken).squeeze(1)
                for given in (logits, of_rough[row])
            )
            theirs.append((found - wanted).abs())
            ours += [(drawn.logprobs[row][real] - wanted).abs()]
            ours += [(scored[row][real].float() - wanted).abs()]
    error, allowed = torch.cat(ours).mean(), torch.cat(theirs).mean()
    assert 1e-4 < allowed < 0.1
    assert error < 1.2 * allowed
