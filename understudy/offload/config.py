"""The settings that every recipe of the loop reads, each with its meaning.

The command line's help, the YAML files and docs/config.md all derive from these models.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from understudy.clouds import CLOUDS
from understudy.clouds.settings import CloudSettings
from understudy.given import anchored
from understudy.models.lora import Lora
from understudy.offload.rewards import RewardConfig
from understudy.retention import RETENTIONS
from understudy.routing import ROUTERS
from understudy.sandbox.settings import SandboxSettings
from understudy.settings import OPEN, Chosen, Kinds, KindSection, Section
from understudy.tasks.data import DataConfig
from understudy.tasks.stream import is_shipped
from understudy.trackers.settings import PROJECT, REPORT_TO, RUN_NAME, ReportTo

LossType = Literal["dagrpo", "grpo", "dapo", "dr_grpo"]
MOST_RESPONSES = 2**20  # of a step or an examination: more would hang long before it fails
# Recipes with other defaults for these describe them in the same words.
LOSS_TYPE = "how token losses are averaged; dagrpo: over prompts * (group - 1)"
RETENTION = "what holds old skill, with beta"
ROUTER = "who decides which question leaves when the model serves"
DISTILL = "weight of learning from verified cloud answers"


class WarmStart(Section):
    """How a model without the form of an answer is shown it, before each phase."""

    steps: int = Field(0, ge=0, description="most steps of learning the cloud's replies; 0: off")
    examples: int = Field(
        16, ge=1, description="questions asked for it, within half of the phase's budget"
    )
    share: float = Field(
        0.8, gt=0, le=1, description="shown while fewer responses have the form of an answer"
    )

    @model_validator(mode="after")
    def _has_effect(self) -> WarmStart:
        """Refuse what is set and is not read."""
        for name in ("examples", "share"):
            value = getattr(self, name)
            if self.steps == 0 and value != type(self).model_fields[name].default:
                raise ValueError(f"{name}={value} has an effect with steps above 0 only")
        return self


def _model_anchored(model: Any) -> Any:
    return model if model == "tiny" else anchored(model)


def _stream_anchored(stream: Any) -> Any:
    return anchored(stream) if isinstance(stream, str) and not is_shipped(stream) else stream


class Config(Section):
    """What every recipe reads. A recipe's own settings are a subclass, beside its code."""

    recipe: str = Field(
        "understudy", description="the method: a recipe, module:Name or path/to/file.py:Name"
    )
    model: Annotated[str, BeforeValidator(_model_anchored)] = Field(
        "tiny", description="'tiny', a checkpoint's folder, a GGUF file, or a name of the hub"
    )
    backend: Literal["auto", "builtin", "transformers"] = Field(
        "auto", description="what runs it; auto: the built-in decoder where it can"
    )
    dtype: Chosen[Literal["float32", "bfloat16"]] = Field(
        OPEN, description="how frozen weights are kept, where adapters are trained; null: by size"
    )
    request: str = Field(
        "<unknown> I need external assistance </unknown>",
        description="how a chat model asks in words; '': only by its token",
    )
    sampler: Literal["own", "vllm"] = Field("own", description="what draws the responses")
    sampler_options: dict[str, Any] = Field(
        {}, description="for vllm.LLM, such as max_model_len or gpu_memory_utilization"
    )
    lora: Lora = Field(Lora(), description="adapters instead of all weights")
    data: dict[str, DataConfig] = Field(
        {}, description="data sets by name, for the phases of a stream; docs/data-sets.md"
    )
    sandbox: SandboxSettings = Field(SandboxSettings(), description="where programs are run")
    cloud: Annotated[CloudSettings, Kinds(CLOUDS, "simulated")] = Field(
        "simulated", validate_default=True, description="who is asked for help"
    )
    router: Annotated[KindSection, Kinds(ROUTERS, "own")] = Field(
        "own", validate_default=True, description=ROUTER
    )
    retention: Annotated[KindSection, Kinds(RETENTIONS, "none")] = Field(
        "none", validate_default=True, description=RETENTION
    )
    stream: Annotated[str | list[Any], BeforeValidator(_stream_anchored)] = Field(
        "switching", description="a shipped stream, a YAML file, or a list of phases"
    )
    budget: float = Field(
        0.3, ge=0, le=1, description="share allowed to ask (tau) where a phase sets none"
    )
    reward: RewardConfig = Field(RewardConfig(), description="what a response is worth")
    steps: int | None = Field(None, ge=1, description="steps of every phase, instead of its own")
    batch_size: Chosen[int] = Field(
        OPEN, ge=1, description="prompts in a step, of each process; null: by the model's size"
    )
    num_generations: Chosen[int] = Field(
        OPEN, ge=2, description="responses drawn per prompt (the group); null: by the model's size"
    )
    max_completion_length: Chosen[int] = Field(
        OPEN, ge=1, description="longest response, in tokens; null: by the tasks of the stream"
    )
    temperature: float = Field(1.0, gt=0, description="of sampling in training; evaluation: greedy")
    learning_rate: Chosen[float] = Field(
        OPEN, gt=0, le=1, description="of Adam, constant; null: by the model's size"
    )
    gradient_accumulation_steps: Chosen[int] = Field(
        OPEN,
        ge=1,
        description="portions in which a step's gradient is computed: less memory; null: by size",
    )
    gradient_checkpointing: bool = Field(
        False, description="compute activations twice instead of keeping them: less memory"
    )
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    num_iterations: int = Field(1, ge=1, description="updates on each batch of responses")
    loss_type: LossType = Field("dagrpo", description=LOSS_TYPE)
    epsilon: float | None = Field(None, gt=0, description="clip of the ratio; null: no ratio")
    epsilon_high: float | None = Field(None, gt=0, description="upper clip, if another (DAPO)")
    beta: float = Field(0.0, ge=0, description="weight of the KL to the model before training")
    distill: float = Field(0.0, ge=0, description=DISTILL)
    warm_start: WarmStart = Field(WarmStart(), description="the form of an answer, shown first")
    eval_queries: Chosen[int] = Field(
        OPEN,
        ge=1,
        le=MOST_RESPONSES,
        description="test questions per task and evaluation; null: by the model's size",
    )
    calibration_queries: Chosen[int] = Field(
        OPEN,
        ge=1,
        le=MOST_RESPONSES,
        description="validation questions per threshold; null: by the model's size",
    )
    checkpoint_every: int = Field(
        50, ge=1, description="most steps between checkpoints; or 5 minutes"
    )
    threads: Chosen[int] = Field(
        OPEN,
        ge=1,
        le=4096,
        description="CPU threads; null: 1 for a small model, else every core; kept",
    )
    device: str = Field("cpu", description="cpu or cuda")
    bf16: Chosen[bool] = Field(
        OPEN, description="products in bfloat16; null: where the processor has them; kept"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of everything drawn")
    report_to: ReportTo = REPORT_TO
    run_name: str | None = RUN_NAME
    project: str = PROJECT

    @model_validator(mode="after")
    def _fits_in_memory(self) -> Config:
        responses = (self.batch_size or 1) * (self.num_generations or 1)
        if responses > MOST_RESPONSES:
            raise ValueError(
                f"batch_size={self.batch_size} times num_generations={self.num_generations} are "
                f"{responses} responses in a step; no more than {MOST_RESPONSES} can be held"
            )
        return self

    @model_validator(mode="after")
    def _compatible(self) -> Config:
        if self.retention.kind == "kl" and self.beta == 0:
            raise ValueError("retention=kl needs its weight; set beta above 0")
        if self.epsilon_high is not None and self.epsilon is None:
            raise ValueError(f"epsilon_high={self.epsilon_high} needs epsilon, which is null")
        if self.num_iterations > 1 and self.epsilon is None:
            raise ValueError(f"num_iterations={self.num_iterations} needs epsilon, which is null")
        return self
