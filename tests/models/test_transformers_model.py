"""Models of transformers behind our calls, held against the built-in decoder and themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models.small import KINDS, TEXTS, questions, write_checkpoint
from understudy.errors import CheckpointError
from understudy.models.built_in import BuiltInModel
from understudy.models.policy import Policy
from understudy.models.sampling import Completions, Drawing, Prompts, Written
from understudy.models.scoring import noted, score
from understudy.models.transformers_model import TransformersModel
from understudy.types import Question, Turn

GREEDY = Drawing(10, temperature=0.0)
DRAWN = Drawing(10, temperature=0.8, ask_shift=5.0)
BUILT_IN = ["llama", "llama-tied", "qwen2", "qwen2-tied"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kinds")
    for kind in KINDS:
        write_checkpoint(root / kind, kind)
    return root


def draw(policy: Policy, group: int = 3) -> tuple[Prompts, Completions]:
    prompts = policy.prompts(questions(*TEXTS))
    return prompts, policy.sample(prompts, group, DRAWN, DRAWN.uniforms(group * len(TEXTS), 3))


def every(drawn: Completions) -> Tensor:
    return torch.arange(len(drawn.tokens))


def gradients(policy: Policy, loss: Tensor) -> dict[str, Tensor]:
    policy.network.zero_grad()
    loss.backward()
    pairs = policy.network.named_parameters()
    return {name: p.grad.clone() for name, p in pairs if p.grad is not None}


def assert_close(a: Tensor, b: Tensor) -> None:
    scale = float(b.abs().max()) + 1e-6
    assert float((a - b).abs().max()) < 1e-3 * scale


@pytest.mark.parametrize("kind", BUILT_IN)
def test_both_backends_give_the_same_text_numbers_and_gradients(
    kind: str, checkpoints: Path
) -> None:
    ours = Policy.load(str(checkpoints / kind))
    theirs = Policy.load(str(checkpoints / kind), backend="transformers")
    assert isinstance(ours.model, BuiltInModel)
    assert isinstance(theirs.model, TransformersModel)
    assert theirs.model.plain_head
    assert ours.tokens.ask == theirs.tokens.ask == 320
    answers = [p.texts(p.sample(p.prompts(questions(*TEXTS)), 2, GREEDY)) for p in (ours, theirs)]
    assert answers[0] == answers[1]
    assert len(set(answers[0])) > 1
    prompts, drawn = draw(ours)
    _, again = draw(theirs)
    assert torch.equal(drawn.tokens, again.tokens)
    assert len(drawn.mask.sum(dim=1).unique()) > 1  # rows did leave the batch
    for name in ("logprobs", "ask_logprobs", "ask_margins", "entropy"):
        a, b = getattr(drawn, name), getattr(again, name)
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4, msg=name)
    scores = [p.score(prompts, drawn, every(drawn), DRAWN) for p in (ours, theirs)]
    for a, b in zip(*scores, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    mine, other = (
        gradients(policy, (taken * taken + asking)[drawn.mask].sum())
        for policy, (taken, asking) in zip((ours, theirs), scores, strict=True)
    )
    fused = [other[f"model.layers.1.self_attn.{part}_proj.weight"] for part in "qkv"]
    assert_close(mine["blocks.1.qkv.weight"], torch.cat(fused))
    assert_close(mine["embedding.weight"], other["model.embed_tokens.weight"])
    assert_close(mine["norm.weight"], other["model.norm.weight"])


TALK = (Turn("user", "Tom has 3 pens."), Turn("assistant", "7"), Turn("user", "Why?"))


@pytest.mark.parametrize("rows", [330, 50_000])
@pytest.mark.parametrize("kind", ["llama-tied", "qwen2"])
def test_chat_models_with_large_vocabularies_answer_alike(
    kind: str, rows: int, tmp_path: Path
) -> None:
    """Prompts of one turn and of several, of different lengths."""
    write_checkpoint(tmp_path, kind, chat=True, vocab_size=rows, num_key_value_heads=1)
    policies = [Policy.load(str(tmp_path), backend=b) for b in ("builtin", "transformers")]
    asked = [*questions(*TEXTS, instruction="Be short."), Question(TALK)]
    found = []
    for policy in policies:
        prompts = policy.prompts(asked)
        assert len(prompts.mask.sum(dim=1).unique()) > 3
        how = Drawing(12, 1.2, ask_shift=-1.0)
        drawn = policy.sample(prompts, 4, how, how.uniforms(4 * len(asked), 1))
        found.append((drawn, policy.score(prompts, drawn, every(drawn), how)))
    (a, scores), (b, others) = found
    assert torch.equal(a.tokens, b.tokens)
    for ours, theirs in zip(scores, others, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def naive(policy: Policy, prompts: Prompts, drawn: Completions, row: int) -> Tensor:
    """(tokens, vocabulary) log-probabilities of one row alone, unpadded, without a cache."""
    group = len(drawn.tokens) // len(prompts.ids)
    prompt = prompts.ids[row // group][prompts.mask[row // group]]
    text = torch.cat((prompt, drawn.tokens[row][drawn.mask[row]]))[None]
    model: Any = policy.network
    logits = model(text).logits[0, len(prompt) - 1 : -1] / DRAWN.temperature
    logits[:, policy.tokens.ask] += DRAWN.ask_shift
    return logits.log_softmax(dim=-1)


@pytest.mark.parametrize("kind", KINDS)
def test_any_kind_is_drawn_from_and_scored_as_it_is(kind: str, checkpoints: Path) -> None:
    policy = Policy.load(str(checkpoints / kind), backend="transformers")
    assert isinstance(policy.model, TransformersModel)
    # Gemma 2 caps its logits, Phi's head has a bias.
    assert policy.model.plain_head == (kind not in ("gemma2", "phi"))
    prompts, drawn = draw(policy)
    assert drawn.finished.any()
    taken, asking = policy.score(prompts, drawn, every(drawn), DRAWN)
    for row in range(len(drawn.tokens)):
        real, logs = drawn.mask[row], naive(policy, prompts, drawn, row)
        expected = logs.gather(1, drawn.tokens[row][real][:, None]).squeeze(1)
        for found in (drawn.logprobs, taken.detach()):
            torch.testing.assert_close(found[row][real], expected, atol=1e-4, rtol=1e-4)
        for found in (drawn.ask_logprobs, asking.detach()):
            asked = logs[:, policy.tokens.ask]
            torch.testing.assert_close(found[row][real], asked, atol=1e-4, rtol=1e-4)
    assert (taken[~drawn.mask] == 0).all()


@pytest.mark.parametrize("kind", ["gpt2", "gemma2"])
def test_few_tokens_at_once_and_recomputed_blocks_change_nothing(
    kind: str, checkpoints: Path
) -> None:
    """With a plain head and without; GPT-2 has dropout, which must be off in training too."""
    policy = Policy.load(str(checkpoints / kind))
    assert isinstance(policy.model, TransformersModel)
    prompts, drawn = draw(policy)
    ask = policy.tokens.ask
    found = []
    for tokens, again in ((4096, False), (7, False), (50, True)):
        if again:
            policy.model.recompute()
        rows = every(drawn)
        taken, asking = score(policy.model, prompts, drawn, rows, ask, DRAWN, tokens)
        found.append((taken, gradients(policy, (taken - asking)[drawn.mask].sum())))
    for taken, slopes in found[1:]:
        torch.testing.assert_close(taken, found[0][0], atol=1e-5, rtol=1e-5)
        for name, slope in slopes.items():
            assert_close(slope, found[0][1][name])


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2"])
def test_given_tokens_are_noted_as_if_they_had_been_drawn(kind: str, checkpoints: Path) -> None:
    policy = Policy.load(str(checkpoints / kind), request="")
    prompts = policy.prompts(questions(*TEXTS))
    for drawing in (DRAWN, GREEDY, Drawing(10, 1.0, float("-inf"))):
        drawn = policy.sample(prompts, 2, drawing, drawing.uniforms(2 * len(TEXTS), 3))
        given = Written(drawn.tokens, drawn.mask)
        found, raw = noted(policy.model, prompts, given, policy.stops, drawing)
        for name in Completions.__dataclass_fields__:
            a, b = getattr(found, name), getattr(drawn, name)
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4, msg=name)
        plain, _ = policy.score(prompts, drawn, every(drawn), Drawing(10))
        torch.testing.assert_close(raw, plain.detach(), atol=1e-4, rtol=1e-4)


def test_some_rows_are_scored_as_among_all(checkpoints: Path) -> None:
    policy = Policy.load(str(checkpoints / "gemma3"))
    prompts, drawn = draw(policy)
    rows = torch.tensor([7, 0, 11])
    full = policy.score(prompts, drawn, every(drawn), DRAWN)
    for few, whole in zip(policy.score(prompts, drawn, rows, DRAWN), full, strict=True):
        torch.testing.assert_close(few, whole[rows], atol=1e-5, rtol=1e-5)


def test_what_is_drawn_does_not_depend_on_the_rows_beside_it(checkpoints: Path) -> None:
    policy = Policy.load(str(checkpoints / "gemma2"))
    _, drawn = draw(policy)
    uniforms = DRAWN.uniforms(len(drawn.tokens), 3)
    for i in range(len(TEXTS)):
        alone = policy.prompts(questions(TEXTS[i]))
        apart = policy.sample(alone, 3, DRAWN, uniforms[3 * i : 3 * i + 3])
        for row in range(3):
            expected = apart.tokens[row][apart.mask[row]]
            assert torch.equal(drawn.tokens[3 * i + row][drawn.mask[3 * i + row]], expected)


def test_a_prompt_of_one_token_is_enough(checkpoints: Path) -> None:
    policy = Policy.load(str(checkpoints / "gpt2"))
    one = Prompts(torch.tensor([[9]]), torch.ones(1, 1, dtype=torch.bool))
    beside = Prompts(torch.tensor([[0, 0, 9], [5, 6, 7]]), torch.tensor([[0, 0, 1], [1, 1, 1]]) > 0)
    alone, padded = (policy.sample(prompts, 1, GREEDY) for prompts in (one, beside))
    count = int(alone.mask.sum())
    assert torch.equal(alone.tokens[0, :count], padded.tokens[0, :count])
    torch.testing.assert_close(
        alone.logprobs[0, :count], padded.logprobs[0, :count], atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("kind", ["gpt2", "gemma2", "qwen3"])
def test_what_is_saved_is_loaded_again(kind: str, checkpoints: Path, tmp_path: Path) -> None:
    """The request, which the checkpoint lacked, included."""
    policy = Policy.load(str(checkpoints / kind))
    with torch.no_grad():
        for weight in policy.trainable():
            weight.mul_(1.01)
    policy.save(tmp_path / "saved")
    again = Policy.load(str(tmp_path / "saved"))
    assert not again.tokens.added
    assert again.stops == policy.stops
    for a, b in zip(policy.trainable(), again.trainable(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(draw(policy)[1].logprobs, draw(again)[1].logprobs)


def test_the_builtin_decoder_is_not_forced_on_what_it_cannot_compute(checkpoints: Path) -> None:
    with pytest.raises(CheckpointError, match="model_type=gpt2"):
        Policy.load(str(checkpoints / "gpt2"), backend="builtin")


def test_what_transformers_cannot_load_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "of-no-kind"}')
    with pytest.raises(CheckpointError, match="of-no-kind") as caught:
        Policy.load(str(tmp_path))
    assert "\n" not in str(caught.value)
