"""Drawing by another engine: a small stand-in for vLLM that serves peft's view of an adapter."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import Tensor

from tests.models.small import TEXTS, questions, write_checkpoint
from understudy.errors import ConfigError, StaleSamplerError
from understudy.models.lora import Lora
from understudy.models.policy import Policy
from understudy.models.sampling import Drawing
from understudy.models.vllm import Vllm, VllmEngine

GROUP, LENGTH, ASKED = 2, 4, TEXTS[:2]


class StandIn:
    """`vllm.LLM` as far as it is used, without a cache or a batch."""

    def __init__(self, model: str, **options: Any) -> None:
        self.base, self.options, self.calls = Path(model), options, 0
        self.params: list[Any] = []
        self.model: Any = None
        self.stuck: str | None = None  # an adapter that it goes on serving
        self.forced: int | None = None  # a token that it draws whatever it is told

    @torch.no_grad()
    def generate(
        self, prompts: list[Any], params: list[Any], lora_request: Any, use_tqdm: bool
    ) -> list[Any]:
        assert not use_tqdm
        self.calls, self.params = self.calls + 1, params
        assert lora_request.lora_int_id == self.calls
        model = self.adapted(Path(self.stuck or lora_request.lora_path))
        return [
            SimpleNamespace(
                outputs=[
                    self.one(model, prompt["prompt_token_ids"], given, index)
                    for index in range(given.n)
                ]
            )
            for prompt, given in zip(prompts, params, strict=True)
        ]

    def adapted(self, folder: Path) -> Any:
        """The base, loaded once, with one more adapter."""
        if self.model is None:
            load = transformers.AutoModelForCausalLM.from_pretrained
            base = load(self.base, dtype=torch.float32)
            self.model = peft.PeftModel.from_pretrained(base, folder, adapter_name=folder.name)
        elif folder.name not in self.model.peft_config:
            self.model.load_adapter(folder, adapter_name=folder.name)
        self.model.set_adapter(folder.name)
        return self.model.eval()

    def one(self, model: Any, prompt: list[int], given: Any, index: int) -> Any:
        token_ids: list[int] = []
        logprobs: list[dict[int, Any]] = []
        luck = torch.Generator().manual_seed((given.seed or 0) + index)
        while len(token_ids) < given.max_tokens:
            raw = model(torch.tensor([prompt + token_ids])).logits[0, -1]
            biased = raw.clone()
            for token, bias in (given.logit_bias or {}).items():
                biased[token] += bias
            if given.temperature:
                weights = (biased / given.temperature).softmax(dim=0)
                token = int(torch.multinomial(weights, 1, generator=luck))
            else:
                assert given.n == 1  # as vLLM insists
                token = int(biased.argmax())
            token = token if self.forced is None else self.forced
            token_ids.append(token)
            logprobs.append({token: SimpleNamespace(logprob=float(raw.log_softmax(0)[token]))})
            if token in given.stop_token_ids:
                break
        return SimpleNamespace(token_ids=tuple(token_ids), logprobs=logprobs)


LIBRARY = Vllm(
    StandIn,
    SimpleNamespace,
    lambda name, number, path: SimpleNamespace(lora_name=name, lora_int_id=number, lora_path=path),
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("base") / "qwen2", "qwen2")


@pytest.fixture
def policy(base: Path) -> Policy:
    return served(Policy.load(str(base), lora=Lora(rank=4, alpha=8.0), train_row=False))


def served(policy: Policy, **options: Any) -> Policy:
    moved(policy)
    return replace(policy, engine=VllmEngine(policy, options, vllm=LIBRARY))


@torch.no_grad()
def moved(policy: Policy) -> None:
    for weight in policy.trainable():
        weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(7)) * 0.1)


def engine_of(policy: Policy) -> Any:
    return policy.engine


def luck(seed: int = 3) -> Tensor:
    return Drawing(LENGTH).uniforms(GROUP * len(ASKED), seed)


def test_its_tokens_come_with_our_numbers_at_every_version(policy: Policy) -> None:
    drawing = Drawing(LENGTH, 0.8, ask_shift=2.0)
    prompts, engine = policy.prompts(questions(*ASKED)), engine_of(policy)
    for version in (1, 2):
        drawn = policy.sample(prompts, GROUP, drawing, luck())
        assert engine.version == version
        assert [path.name for path in engine.folder.iterdir() if path.name.isdigit()] == [
            str(version)
        ]
        rows = torch.arange(GROUP * len(ASKED))
        taken, asking = policy.score(prompts, drawn, rows, drawing)
        torch.testing.assert_close(drawn.logprobs, taken.detach(), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(drawn.ask_logprobs, asking.detach(), atol=1e-4, rtol=1e-4)
        last = drawn.tokens.gather(1, drawn.mask.sum(dim=1, keepdim=True) - 1).squeeze(1)
        assert torch.equal(drawn.asked, last == policy.tokens.ask)
        assert (drawn.finished | (drawn.mask.sum(dim=1) == LENGTH)).all()
        moved(policy)


def test_what_it_goes_on_serving_is_noticed(policy: Policy) -> None:
    prompts, engine = policy.prompts(questions(*ASKED)), engine_of(policy)
    policy.save_adapter(engine.folder / "old")
    policy.sample(prompts, GROUP, Drawing(LENGTH), luck())
    engine.llm.stuck = str(engine.folder / "old")
    policy.sample(prompts, GROUP, Drawing(LENGTH), luck())  # it is still the same
    moved(policy)
    with pytest.raises(StaleSamplerError, match="version 3 of the adapter") as caught:
        policy.sample(prompts, GROUP, Drawing(LENGTH), luck())
    assert "\n" not in str(caught.value)


def test_the_shift_of_asking_is_a_bias_before_temperature(policy: Policy) -> None:
    prompts, engine, ask = policy.prompts(questions(*ASKED)), engine_of(policy), policy.tokens.ask
    for drawing, bias in (
        (Drawing(LENGTH, 0.5, ask_shift=3.0), {ask: 1.5}),
        (Drawing(LENGTH, 0.0, ask_shift=3.0), {ask: 3.0}),
        (Drawing(LENGTH), None),
    ):
        policy.sample(prompts, GROUP, drawing, luck())
        assert [given.logit_bias for given in engine.llm.params] == [bias] * len(ASKED)


def test_a_forbidden_request_is_never_drawn(policy: Policy) -> None:
    never = Drawing(LENGTH, 1.0, ask_shift=-math.inf)
    prompts, engine = policy.prompts(questions(*ASKED)), engine_of(policy)
    drawn = policy.sample(prompts, GROUP, never, luck())
    assert not drawn.asked.any()
    assert math.isfinite(engine.llm.params[0].logit_bias[policy.tokens.ask])
    engine.llm.forced = policy.tokens.ask
    with pytest.raises(StaleSamplerError, match="forbidden"):
        policy.sample(prompts, GROUP, never, luck())


def test_equal_uniforms_draw_equal_texts_and_greedy_needs_none(policy: Policy) -> None:
    prompts, hot = policy.prompts(questions(*ASKED)), Drawing(LENGTH, 2.0)
    first, again, other = (policy.sample(prompts, GROUP, hot, luck(i)) for i in (1, 1, 2))
    assert torch.equal(first.tokens, again.tokens)
    assert first.tokens.shape != other.tokens.shape or not torch.equal(first.tokens, other.tokens)
    greedy = policy.sample(prompts, GROUP, Drawing(LENGTH, 0.0))
    assert torch.equal(greedy.tokens[::2], greedy.tokens[1::2])
    own = replace(policy, engine=None).sample(prompts, GROUP, Drawing(LENGTH, 0.0))
    assert torch.equal(own.tokens, greedy.tokens)


@pytest.mark.parametrize("backend", ["builtin", "transformers"])
def test_what_is_served_is_the_base_with_the_request(
    base: Path, tmp_path: Path, backend: Any
) -> None:
    """A checkpoint that has it is served where it lies; else one is written, adapter left out."""
    lora = Lora(rank=12, alpha=8.0)
    bare = Policy.load(str(base), lora=lora, train_row=False, backend=backend)
    bare.merged(tmp_path / "whole")  # an adapter that was not trained changes nothing
    engines = [engine_of(served(bare))]  # one that is gone takes its folder along
    written = engines[0].llm
    assert written.options["max_lora_rank"] == 16
    assert written.options["dtype"] == "float32"
    whole = Policy.load(str(tmp_path / "whole"), lora=lora, train_row=False, backend=backend)
    in_place = engine_of(served(whole, dtype="bfloat16")).llm
    assert in_place.base == tmp_path / "whole"
    assert in_place.options["dtype"] == "bfloat16"
    load = transformers.AutoModelForCausalLM.from_pretrained
    a, b = (load(llm.base, dtype=torch.float32).state_dict() for llm in (written, in_place))
    for name in b:
        assert torch.equal(a[name], b[name]), name


def test_models_that_cannot_be_handed_over_are_refused(base: Path) -> None:
    with pytest.raises(ConfigError, match=r"lora\.rank"):
        VllmEngine(Policy.load(str(base)), vllm=LIBRARY)
    with pytest.raises(ConfigError, match="train_row=False"):
        VllmEngine(Policy.load(str(base), lora=Lora(rank=4, alpha=8.0)), vllm=LIBRARY)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_one_line_says_how_to_install_it(base: Path) -> None:
    policy = Policy.load(str(base), lora=Lora(rank=4, alpha=8.0), train_row=False)
    with pytest.raises(ConfigError, match="pip install vllm") as caught:
        VllmEngine(policy)
    assert "\n" not in str(caught.value)
