"""Every setting of a run, with its meaning where it stands.

The command line's help, the YAML files and docs/config.md all derive from these models.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from understudy.settings import Section, check_settings, resolve_settings
from understudy.tasks.data import DataConfig


class Faults(Section):
    """What goes wrong on the way to the simulated cloud."""

    failure_rate: float = Field(0.0, ge=0, le=1, description="share of calls that time out")
    truncation_rate: float = Field(0.0, ge=0, le=1, description="share of replies cut short")

    @model_validator(mode="after")
    def _compatible(self) -> Faults:
        if self.failure_rate + self.truncation_rate > 1:
            raise ValueError(
                f"failure_rate={self.failure_rate} and truncation_rate={self.truncation_rate} "
                "add up to more than 1; a call either fails or is cut short"
            )
        return self


class HttpConfig(Section):
    """An OpenAI-compatible endpoint, for cloud.kind=openai."""

    base_url: str = Field("", description="its address up to /v1, as http://localhost:8000/v1")
    model: str = Field("", description="the model's name there")
    api_key_env: str | None = Field(
        None, description="name of the environment variable that holds the key"
    )
    api_key_file: str | None = Field(
        None, description="file that holds the key; neither: no key is sent"
    )
    prices: str = Field("", description="your price table, YAML or JSON; the model must be in it")
    max_tokens: int | None = Field(1024, ge=1, description="longest answer; null: not sent")
    temperature: float | None = Field(None, ge=0, description="of the answer; null: not sent")
    stream: bool = Field(False, description="receive answers as server-sent events")
    extra_body: dict[str, Any] = Field({}, description="more of the request, sent as it is")
    max_concurrency: int = Field(8, ge=1, description="calls in flight at most")
    timeout_seconds: float = Field(120.0, gt=0, description="of a call, its retries included")
    connect_timeout_seconds: float = Field(10.0, gt=0, description="of one connection")
    max_retries: int = Field(4, ge=0, description="of a call, where no answer can be on its way")
    circuit_failures: int = Field(
        10, ge=1, description="calls failed in a row after which none is made for a while"
    )
    circuit_pause_seconds: float = Field(30.0, ge=0, description="that while")


class CloudConfig(Section):
    """Who is asked for help."""

    kind: Literal["simulated", "openai"] = Field(
        "simulated", description="openai: any endpoint of that form, described by cloud.http"
    )
    accuracy: float | list[float] | dict[str, float | list[float]] = Field(
        [0.99, 0.98, 0.97, 0.95, 0.92],
        description="share of right answers: one figure, one per level, or either per family",
    )
    latency_seconds: float = Field(0.8, ge=0, description="median time of one reply")
    dollars_per_million_prompt_tokens: float = Field(0.5, ge=0, description="price of input")
    dollars_per_million_completion_tokens: float = Field(2.0, ge=0, description="price of output")
    seed: int = Field(0, description="which questions it gets wrong")
    faults: Faults = Field(Faults(), description="injected faults")
    http: HttpConfig = Field(HttpConfig(), description="an OpenAI-compatible endpoint")


class RewardConfig(Section):
    """What a response is worth."""

    local: float = Field(1.0, description="right by itself")
    cloud: float = Field(1.0, description="right because the cloud was asked")
    format: float = Field(0.0, description="wrong, but with an answer in the right form")
    functions: list[str] = Field(
        [], description="your own reward functions, TRL's signature: module:name or file.py:name"
    )
    weights: list[float] = Field([], description="their weights; none given: 1 each")

    @model_validator(mode="after")
    def _compatible(self) -> RewardConfig:
        if self.weights and len(self.weights) != len(self.functions):
            raise ValueError(
                f"weights={self.weights}: give one for each of functions={self.functions}, or none"
            )
        return self


class LoraSection(Section):
    """Low-rank adapters beside frozen weights, in place of training all of them."""

    rank: int = Field(0, ge=0, description="rank of the adapters; 0: all weights are trained")
    alpha: float = Field(32.0, gt=0, description="their scale is alpha / rank")
    targets: list[str] = Field([], description="names of linear layers; none given: all of a block")


class SandboxConfig(Section):
    """Where programs that a model wrote are run."""

    allow_unsafe_code: bool = Field(
        False, description="run them without bubblewrap, on your own responsibility"
    )


class PriceConfig(Section):
    """The price of asking (lambda) and what holds the rate of asking to the budget."""

    initial: float = Field(0.5, ge=0, description="the price before the first step (lambda_0)")
    rate: float = Field(0.01, ge=0, description="step of the dual ascent (eta; Ki of a PI price)")
    gain: float = Field(0.0, ge=0, description="proportional gain of a PI price (Kp)")
    maximum: float = Field(1.2, gt=0, description="largest price of a PI or clearing price")
    smoothing: float = Field(0.9, ge=0, lt=1, description="memory of the smoothed estimates")
    rule: Literal["clearing", "proportional-integral"] = Field(
        "clearing", description="how recipe understudy sets its price"
    )
    shift: bool = Field(True, description="hold the rate by a shift of the request's logit")
    anchor: float = Field(0.0, ge=0, description="weight of the rate anchor (kappa)")
    guide: float = Field(1.0, ge=0, description="weight of the guide, question by question")
    guide_temperature: float = Field(
        0.2, gt=0, description="softness of the guide: the gain of asking that doubles as noise"
    )
    spare: bool = Field(True, description="ask less than the budget where asking stops paying")
    filter_ratio: float = Field(3 / 7, ge=0, description="rho of GAPG's prompt filter")


class Config(Section):
    """One run, complete: the same settings and seed give the same numbers."""

    recipe: str = Field("understudy", description="the method")
    model: str = Field(
        "tiny", description="'tiny', a transformers checkpoint's folder, or a hub id"
    )
    backend: Literal["auto", "builtin", "transformers"] = Field(
        "auto", description="what runs it; auto: the built-in decoder where it can"
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="how frozen weights are kept, where adapters are trained"
    )
    request: str = Field(
        "<unknown> I need external assistance </unknown>",
        description="how a chat model asks in words; '': only by its token",
    )
    sampler: Literal["own", "vllm"] = Field("own", description="what draws the responses")
    sampler_options: dict[str, Any] = Field(
        {}, description="for vllm.LLM, such as max_model_len or gpu_memory_utilization"
    )
    lora: LoraSection = Field(LoraSection(), description="adapters instead of all weights")
    data: dict[str, DataConfig] = Field(
        {}, description="data sets by name, for the phases of a stream; docs/tasks.md"
    )
    sandbox: SandboxConfig = Field(SandboxConfig(), description="where programs are run")
    cloud: CloudConfig = Field(CloudConfig(), description="who is asked for help")
    stream: str | list[Any] = Field(
        "switching", description="a shipped stream, a YAML file, or a list of phases"
    )
    budget: float = Field(
        0.3, ge=0, le=1, description="share allowed to ask (tau) where a phase sets none"
    )
    price: PriceConfig = Field(PriceConfig(), description="the price of asking")
    reward: RewardConfig = Field(RewardConfig(), description="what a response is worth")
    steps: int | None = Field(None, ge=1, description="steps of every phase, instead of its own")
    batch_size: int = Field(32, ge=1, description="prompts in a step, of each process")
    num_generations: int = Field(8, ge=2, description="responses drawn per prompt (the group)")
    max_completion_length: int = Field(24, ge=1, description="longest response, in tokens")
    temperature: float = Field(1.0, gt=0, description="of sampling in training; evaluation: greedy")
    learning_rate: float = Field(2e-4, gt=0, le=1, description="of Adam, constant")
    gradient_accumulation_steps: int = Field(
        1, ge=1, description="portions in which a step's gradient is computed: less memory"
    )
    gradient_checkpointing: bool = Field(
        False, description="compute activations twice instead of keeping them: less memory"
    )
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    num_iterations: int = Field(1, ge=1, description="updates on each batch of responses")
    loss_type: Literal["dagrpo", "grpo", "dapo", "dr_grpo"] = Field(
        "dagrpo", description="how token losses are averaged; dagrpo: over prompts * (group - 1)"
    )
    scale_rewards: Literal["none", "group", "batch"] = Field(
        "none", description="what the centred advantage is divided by, in recipes grpo and shaped"
    )
    epsilon: float | None = Field(None, gt=0, description="clip of the ratio; null: no ratio")
    epsilon_high: float | None = Field(None, gt=0, description="upper clip, if another (DAPO)")
    beta: float = Field(0.0, ge=0, description="weight of the KL to the model before training")
    distill: float = Field(0.0, ge=0, description="weight of learning from verified cloud answers")
    eval_queries: int = Field(512, ge=1, description="test questions per task and evaluation")
    calibration_queries: int = Field(1024, ge=1, description="validation questions per threshold")
    checkpoint_every: int = Field(50, ge=1, description="steps between checkpoints")
    threads: int = Field(
        1, ge=1, description="CPU threads; the numbers depend on it, so it is kept"
    )
    device: str = Field("cpu", description="cpu or cuda")
    bf16: bool = Field(False, description="matrix products in bfloat16")
    seed: int = Field(0, ge=0, lt=2**32, description="of everything drawn")

    @model_validator(mode="after")
    def _compatible(self) -> Config:
        if self.epsilon_high is not None and self.epsilon is None:
            raise ValueError(f"epsilon_high={self.epsilon_high} needs epsilon, which is null")
        if self.num_iterations > 1 and self.epsilon is None:
            raise ValueError(f"num_iterations={self.num_iterations} needs epsilon, which is null")
        return self


def resolve_config(defaults: Mapping[str, Any], file: Path | None, overrides: list[str]) -> Config:
    return resolve_settings(Config, defaults, file, overrides)


def check_config(settings: Mapping[str, Any]) -> Config:
    return check_settings(Config, settings)
