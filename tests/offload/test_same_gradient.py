"""One update leaves the gradient of the textbook's loss, computed the long way round.

The loop drops samples without a signal, computes a prompt once for its group, and lets only
drawn tokens through the head. Here transformers' LlamaForCausalLM reads every prompt with every
completion in full; and so does TRL, where it is installed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from understudy.models.checkpoint import checkpoint_tensors, save_decoder
from understudy.models.decoder import Decoder, Shape
from understudy.models.tokens import Tokens, build_tokenizer
from understudy.offload.config import Config
from understudy.offload.experience import Batch
from understudy.offload.helpers import Helpers
from understudy.offload.loop import objective_of, source_of, update
from understudy.offload.method import Dual
from understudy.offload.settled import settled
from understudy.offload.start import start
from understudy.offload.state import State
from understudy.recipes import build_method, resolve_config
from understudy.recipes.pretrain_tiny import write_tokenizer_config
from understudy.tasks import FAMILIES
from understudy.tasks.stream import Phase

PROMPTS, GROUP, LONGEST = 6, 4, 14
REWARD = torch.tensor(
    [
        [1.0, 0.0, 0.0, 1.0],
        [0.0, 0.0, 0.0, 0.0],  # no signal
        [0.0, 0.3, 1.0, 1.0],
        [1.0, 1.0, 1.0, 1.0],  # nor here
        [0.0, 0.0, 0.0, 1.0],
        [0.5, 0.0, 1.0, 0.5],  # two of these are average: no signal, though the group has one
    ]
)
Gradients = dict[str, Tensor]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights, two problems to a key, that often ends or asks."""
    out = tmp_path_factory.mktemp("model")
    words = [word for family in FAMILIES.values() for word in family.words]
    build_tokenizer(words).save(str(out / "tokenizer.json"))
    write_tokenizer_config(out)
    shape = Shape(
        model_type="llama",
        vocab_size=Tokens(out).tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        tie_word_embeddings=True,
        max_position_embeddings=256,
    )
    torch.manual_seed(0)
    model = Decoder(shape)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.15)
        model.embedding.weight[1:3] *= 3.0
    save_decoder(model, out, out)
    return out


def started(folder: Path, shift: float, **settings: Any) -> tuple[State, Helpers, Config]:
    given = {"model": str(folder), "num_generations": GROUP, "max_completion_length": LONGEST}
    given |= {"scale_rewards": "group", "max_grad_norm": 1e9, "cloud.latency_seconds": 0.0}
    overrides = [f"{key}={'null' if v is None else v}" for key, v in (given | settings).items()]
    config = settled(resolve_config("grpo", None, overrides))
    state, helpers = start(config, build_method(config))
    state.dual = Dual(price=0.0, shift=shift)
    return state, helpers, config


def updated(state: State, helpers: Helpers, config: Config, noise: float) -> tuple[Batch, Tensor]:
    """One update on fresh completions, `noise` off the policy that is said to have drawn them."""
    phase = Phase(families=dict.fromkeys(FAMILIES, 1.0))
    problems = helpers.tasks.batch(phase, PROMPTS, "train", "0")
    experience = source_of(state, helpers, config, config.budget).draw(problems)
    batch, scores = experience.batch, experience.scores
    scores = replace(scores, reward=REWARD, valid=torch.ones_like(REWARD, dtype=torch.bool))
    far = noise * torch.randn(
        batch.drawn.logprobs.shape, generator=torch.Generator().manual_seed(1)
    )
    batch = replace(batch, drawn=replace(batch.drawn, logprobs=batch.drawn.logprobs + far))
    objective = objective_of(state, replace(experience, batch=batch, scores=scores), 1)
    advantage = objective.advantage
    assert (advantage == 0).sum() == 10
    assert len(batch.drawn.mask.sum(dim=1).unique()) > 3  # of different lengths
    update(state, helpers, objective, config)
    return batch, advantage


def our_gradients(state: State) -> Gradients:
    """What the update left, under transformers' names."""
    decoder = state.policy.network
    carrier = Decoder(decoder.shape)
    with torch.no_grad():
        for place, parameter in zip(carrier.parameters(), decoder.parameters(), strict=True):
            assert parameter.grad is not None
            place.copy_(parameter.grad)
    return checkpoint_tensors(carrier)


def naive_gradients(
    folder: Path, batch: Batch, advantage: Tensor, config: Config, ask: int
) -> Gradients:
    """Every sample alone, unpadded, read in full; the loss as its paper has it."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    # Random weights draw <pad> too, whose gradient as an input transformers would leave out.
    model.model.embed_tokens.padding_idx = None
    samples, drawn = PROMPTS * GROUP, batch.drawn
    total = torch.zeros(())
    for row, weight in enumerate(advantage.flatten().tolist()):
        prompt = batch.prompts.ids[row // GROUP][batch.prompts.mask[row // GROUP]]
        tokens = drawn.tokens[row][drawn.mask[row]]
        logits = model(torch.cat((prompt, tokens))[None]).logits[0, len(prompt) - 1 : -1]
        logits = logits / batch.drawing.temperature
        logits = logits + batch.drawing.ask_shift * (torch.arange(logits.shape[-1]) == ask)
        logprobs = logits.log_softmax(dim=-1)[torch.arange(len(tokens)), tokens]
        if config.epsilon is None:
            loss = -weight * logprobs
        else:
            ratio = torch.exp(logprobs - drawn.logprobs[row][drawn.mask[row]])
            clipped = ratio.clamp(1 - config.epsilon, 1 + config.epsilon)
            loss = -torch.minimum(ratio * weight, clipped * weight)
        share = {
            "grpo": 1 / (samples * len(tokens)),
            "dapo": 1 / int(drawn.mask.sum()),
            "dr_grpo": 1 / (samples * LONGEST),
            "dagrpo": 1 / (PROMPTS * (GROUP - 1)),
        }
        total = total + share[config.loss_type] * loss.sum()
    total.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_same(ours: Gradients, theirs: Gradients) -> None:
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert float(expected.norm()) > 0, name
        difference = float((ours[name] - expected).norm() / expected.norm())
        assert difference < 1e-4, f"{name}: {difference}"


@pytest.mark.parametrize("epsilon", [None, 0.2])
@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "dr_grpo", "dagrpo"])
def test_the_short_way_has_the_gradient_of_the_long_way(
    folder: Path, loss_type: str, epsilon: float | None
) -> None:
    state, helpers, config = started(
        folder, -1.0, loss_type=loss_type, epsilon=epsilon, temperature=1.3
    )
    batch, advantage = updated(state, helpers, config, noise=0.3)
    ask = state.policy.tokens.ask
    assert_same(our_gradients(state), naive_gradients(folder, batch, advantage, config, ask))


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "dr_grpo"])
def test_trl_has_the_same_gradient(folder: Path, tmp_path: Path, loss_type: str) -> None:
    pytest.importorskip("trl")
    from tests.offload.trl_gradient import gradients

    state, helpers, config = started(folder, 0.0, loss_type=loss_type, epsilon=0.2)
    batch, advantage = updated(state, helpers, config, noise=0.3)
    prompts, drawn = batch.prompts, batch.drawn
    inputs = {
        "prompt_ids": prompts.ids.repeat_interleave(GROUP, dim=0),
        "prompt_mask": prompts.mask.repeat_interleave(GROUP, dim=0).long(),
        "completion_ids": drawn.tokens,
        "completion_mask": drawn.mask.long(),
        "advantages": advantage.flatten(),
        "old_per_token_logps": drawn.logprobs,
    }
    options = {"loss_type": loss_type, "epsilon": 0.2, "max_completion_length": LONGEST}
    assert_same(our_gradients(state), gradients(folder, tmp_path, inputs, **options))
