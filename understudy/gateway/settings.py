"""The settings of `understudy serve`, each with its meaning. They load nothing but pydantic.

local: {path: runs/real}
clouds:
  main: {base_url: "https://api.example.com/v1", model: big, prices: prices.yaml}
store: {caps: [{dollars: 5, per: day}]}
"""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from understudy.gateway.door.settings import DoorSettings
from understudy.gateway.requests import AUTO, CLOUD, LOCAL
from understudy.gateway.upstreams import UPSTREAMS, UpstreamSettings
from understudy.gateway.upstreams.embedding import EmbeddingSettings
from understudy.routing import ROUTERS
from understudy.settings import Kinds, KindSection, Section
from understudy.store.settings import StoreSettings

Signal = Literal["margin", "mean_entropy", "mean_logprob"]
DEMO, NONE = "demo", "none"  # names in place of a local model's path
RESERVED = {AUTO, LOCAL, CLOUD}  # what a request may give as its model, whatever is here


class LocalSettings(Section):
    """Who answers first."""

    path: str = Field(
        DEMO,
        description="a run, a checkpoint's folder, a GGUF file, a name of the hub, the URL of an "
        "engine as http://localhost:8000/v1; demo: the tiny model that ships; none: no local model",
    )
    model: str = Field("", description="its name at a URL; '': the only one that is there")
    name: str = Field("", description="how its versions are called here; '': by its path")
    api_key_env: str | None = Field(
        None, description="name of the environment variable that holds the key of a URL"
    )
    form: Literal["task", "plain"] = Field(
        "task", description="a run's questions get its task's instruction and examples, or nothing"
    )
    task: str = Field("", description="which of a run's tasks, where a request names none")
    max_tokens: int = Field(
        256,
        ge=1,
        description="longest answer where a request bounds none; a run has its own, and so has an "
        "engine at a URL",
    )
    temperature: float | None = Field(
        None,
        ge=0,
        description="where a request gives none; null: greedy, or at a URL as that engine has it",
    )
    max_running: int = Field(32, ge=1, description="answers written at once")
    max_waiting: int = Field(256, ge=0, description="requests that wait; more are refused with 429")
    threads: int | None = Field(None, ge=1, description="CPU threads; null: as the run, or all")

    @model_validator(mode="after")
    def _holds_no_secret(self) -> Self:
        """Of all settings together: whoever gave a wrong one is shown it."""
        parts = urlsplit(self.path)
        if parts.username is not None or parts.password is not None:
            raise ValueError("path holds a user or a password; give the key by local.api_key_env")
        return self


class PolicySettings(Section):
    """Who answers which question."""

    router: Annotated[KindSection, Kinds(ROUTERS, "own")] | None = Field(
        None, description="who decides what is asked, as router of a recipe; null: the run's own"
    )
    cascade: dict[Signal, float] = Field(
        {},
        description="asks where a signal of the local answer is worse than this, such as "
        "{mean_logprob: -0.8}; in place of a router",
    )
    threshold: float | None = Field(
        None, description="asks above this score; null: as the router was fitted to its budget"
    )
    dial: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of the calibration questions that would be asked, where a key has no "
        "dial of its own; null: threshold",
    )
    draft: Literal["held", "reasoning"] = Field(
        "held",
        description="what becomes of a local answer while nobody knows whether it stands: held "
        "back, or streamed as reasoning_content",
    )
    sticky: bool = Field(
        False, description="a conversation (x-conversation-id) that asked once stays with the cloud"
    )
    sticky_seconds: float = Field(3600, gt=0, description="for so long after its last question")
    race: bool = Field(
        False,
        description="under a deadline that the cloud may miss both are asked, and both are paid; "
        "the cloud's answer is taken where it comes in time",
    )
    usual: float = Field(
        0.9, gt=0, lt=1, description="the cloud's usual latency is this quantile of its last calls"
    )
    when_busy: Literal["refuse", "cloud"] = Field(
        "refuse", description="what a question does for which the local engine has no place"
    )
    models: dict[str, str] = Field(
        {},
        description="other names that a request may give as its model, and what they stand for: "
        "auto, local, cloud, a version or a cloud's model, whose name they may be; '*' stands for "
        "every name that is none",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.cascade and (self.router is not None or self.threshold is not None):
            other = "router" if self.router is not None else "threshold"
            raise ValueError(f"cascade and {other} both say what is asked; give one of them")
        if taken := sorted({*self.models} & RESERVED):
            raise ValueError(f"models: {taken[0]} is a name of the gateway's own; leave it out")
        if self.threshold is not None and self.dial is not None:
            raise ValueError("threshold and dial both say how much is asked; give one of them")
        return self


class SpendingSettings(Section):
    """How a call to the cloud is paid."""

    wait_seconds: float = Field(
        2.0, ge=0, description="for room that other calls hold and may give back"
    )
    least_tokens: int = Field(
        16, ge=1, description="an answer that the headroom does not pay so many for is not asked"
    )
    hang_up_seconds: float = Field(
        60.0,
        ge=0,
        description="an answer is read so much longer when its client hangs up, to know what it "
        "cost; then the connection is closed and what came is counted",
    )
    ledger_seconds: float = Field(
        5.0, gt=0, description="the ledger is taken for unreachable after this; the cloud is closed"
    )


class ServeSettings(Section):
    """Everything that `understudy serve` reads."""

    door: DoorSettings = Field(DoorSettings(), description="where it listens, whom it lets in")
    local: LocalSettings = Field(LocalSettings(), description="who answers first")
    clouds: dict[str, Annotated[UpstreamSettings, Kinds(UPSTREAMS, "openai")]] = Field(
        {}, description="who helps, by name; the first is asked first"
    )
    embeddings: dict[str, EmbeddingSettings] = Field(
        {}, description="models that embed texts, by the name that a request gives"
    )
    prices: str = Field(
        "", description="your price table, YAML or JSON, for clouds that name no price of theirs"
    )
    litellm: str = Field("", description="LiteLLM's config.yaml, whose model_list is read too")
    order: Literal["listed", "cheapest"] = Field(
        "listed", description="in which order clouds are asked for a question"
    )
    check_clouds: bool = Field(
        True,
        description="whether each cloud is asked for its models at the start, which costs nothing: "
        "one that is away, refuses the key or has no such model is a warning",
    )
    policy: PolicySettings = Field(PolicySettings(), description="who answers which question")
    spending: SpendingSettings = Field(SpendingSettings(), description="how calls are paid")
    store: StoreSettings = Field(
        StoreSettings(), description="the ledger with its caps, keys, events and versions"
    )

    opentelemetry: bool = Field(
        False, description="whether OpenTelemetry's metrics are recorded too, beside /metrics"
    )

    @model_validator(mode="after")
    def _somebody_answers(self) -> Self:
        if self.local.path == NONE and not (self.clouds or self.litellm):
            raise ValueError("local.path=none and no clouds: nobody answers; give one of them")
        if taken := sorted({*self.clouds} & RESERVED):
            raise ValueError(
                f"clouds.{taken[0]}: a request that gives this as its model means something else; "
                "call the cloud by another name"
            )
        return self
