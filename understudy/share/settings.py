"""What a run of agents may be told."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from understudy.link.graph import Topology
from understudy.settings import Section
from understudy.types import QueryScore

BUILT_IN = ("mlp", "cnn")  # nets


INITIAL_TASKS = 4  # learnt jointly; also a modular learner's first modules


class GraphSettings(Section):
    """The graph, and what each of its edges carries."""

    topology: Topology = Field("full", description="who has a link with whom")
    drop: float = Field(0.0, ge=0, le=1, description="share of links missing, of topology random")
    bandwidth: int | None = Field(
        None, ge=1, description="floats that an edge carries in one exchange; null: any number"
    )
    every: int = Field(1, ge=1, description="exchanges from one use of an edge to the next")
    latency: int = Field(0, ge=0, description="exchanges by which a message comes later")
    loss: float = Field(0.0, ge=0, le=1, description="share of messages that never arrive")
    bandwidth_spread: float = Field(
        0.0,
        ge=0,
        le=10,
        description="deviation of an edge's log bandwidth, drawn once for each direction",
    )
    latency_spread: int = Field(
        0, ge=0, description="most further latency of an edge, drawn once for each direction"
    )

    @model_validator(mode="after")
    def _compatible(self) -> GraphSettings:
        if self.bandwidth_spread and self.bandwidth is None:
            raise ValueError(
                f"bandwidth_spread={self.bandwidth_spread} spreads around a bandwidth, but "
                "bandwidth is null; set it"
            )
        return self


class DataSharing(Section):
    """Instances cross the edges."""

    mode: Literal["none", "receiver", "simple"] = Field(
        "none", description="receiver: neighbours answer with what is nearest; simple: by worth"
    )
    every: int = Field(20, ge=1, description="epochs from one exchange to the next")
    queries: int = Field(20, ge=1, description="instances asked about, or sent for each neighbour")
    neighbours: int = Field(5, ge=1, description="instances that answer a query")
    score: QueryScore | Literal["random"] = Field(
        "cross_entropy", description="which instances are asked about"
    )
    among: Literal["class", "task"] = Field(
        "class", description="what may answer: instances of its class, or of a task that has it"
    )
    labels: Literal["owner", "query"] = Field(
        "owner", description="whose label an answer comes with"
    )
    room: int = Field(32, ge=1, description="received instances kept for each task")

    @model_validator(mode="after")
    def _compatible(self) -> DataSharing:
        told = {"among": self.among != "class", "labels": self.labels != "owner"}
        for name in (name for name, is_told in told.items() if is_told):
            if self.mode != "receiver":
                raise ValueError(
                    f"{name}={getattr(self, name)} is of the answers to queries of instances; "
                    f"set mode=receiver, not {self.mode}"
                )
        return self


class ParameterSharing(Section):
    """Weights cross the edges."""

    mode: Literal["none", "fedavg", "fedprox", "fedcurv", "fedfish"] = Field(
        "none", description="what is done with the weights of neighbours"
    )
    every: int = Field(5, ge=1, description="epochs from one exchange to the next")
    mu: float = Field(0.01, ge=0, description="weight of the penalty of fedprox or fedcurv")
    squared: bool = Field(False, description="fedprox with the squared norm of its paper")
    temperature: float = Field(1.0, gt=0, description="of fedfish's softmax")
    max_age: int | None = Field(
        None, ge=0, description="rounds after which weights are refused; null: never"
    )


class ModuleSharing(Section):
    """Modules cross the edges, once at the beginning of each task."""

    mode: Literal["none", "iou", "leep"] = Field(
        "none", description="what finds the most similar task: shared classes, or LEEP"
    )
    candidates: int = Field(1, ge=1, description="modules that a neighbour sends")
    points: int = Field(40, ge=1, description="validation points per class in a query by leep")
    tryout: int = Field(0, ge=0, description="epochs that each is tried; 0: the most similar wins")
    patience: int = Field(0, ge=0, description="further exchanges that an agent waits for offers")


class Compression(Section):
    """How what crosses is made smaller."""

    precision: Literal["float32", "float16", "int8"] = Field(
        "float32", description="of weights, modules and instances as they cross"
    )
    top: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of the weights sent: those that changed most since a neighbour last "
        "heard; null: all",
    )


class Privacy(Section):
    """What is done to what leaves an agent, so that it tells less."""

    clip: float | None = Field(
        None, gt=0, description="most L2 norm of a change of weights, or of a module; null: any"
    )
    clip_instances: float | None = Field(
        None, gt=0, description="most L2 norm of an instance; null: any"
    )
    noise: float = Field(
        0.0, ge=0, description="deviation of the noise on each number, as a multiple of that norm"
    )

    @model_validator(mode="after")
    def _compatible(self) -> Privacy:
        if self.noise and self.clip is None and self.clip_instances is None:
            raise ValueError(
                f"noise={self.noise} is a multiple of a norm; set clip or clip_instances"
            )
        return self


class ShareConfig(Section):
    """A run of agents, complete: the same settings and seed give the same numbers."""

    data: str = Field(
        "generated",
        description="'generated', an .npz file, a folder of idx files, or module:function",
    )
    data_options: dict[str, Any] = Field({}, description="given to what makes the data")
    agents: int = Field(8, ge=1, description="how many")
    tasks: int = Field(10, ge=1, description="each agent's, one after the other")
    classes_per_task: int = Field(2, ge=2, description="that a task tells apart")
    train_per_class: int = Field(64, ge=1, description="training instances of each")
    validation_per_class: int = Field(50, ge=1, description="instances of each to examine with")
    disjoint: bool = Field(False, description="no two tasks of an agent share a class")
    learner: Literal["modular", "monolithic"] = Field("modular", description="how it keeps tasks")
    net: str = Field("mlp", description="'mlp', 'cnn', module:function or file.py:function")
    net_options: dict[str, Any] = Field({}, description="given to the function of net")
    width: int = Field(64, ge=1, description="hidden units, or channels")
    dropout: float = Field(
        0.5, ge=0, le=0.99, description="share of units left out in training, to 1/256"
    )
    epochs: int = Field(100, ge=2, description="per task")
    jointly: bool = Field(
        True,
        description="learn the first 4 tasks at once, when all are there; modular: always so",
    )
    common_start: Literal["sharing", "always", "never"] = Field(
        "sharing",
        description="one agent learns the first 4 tasks for all: where weights or modules are "
        "shared, also where nothing is, or never (weights are shared as soon as they are trained)",
    )
    replay: int = Field(32, ge=0, description="instances kept of each past task")
    keep_above: float = Field(0.05, description="relative gain for which a new module is kept")
    accommodate: bool = Field(True, description="train all modules in a task's last epoch")
    evaluate_every: int = Field(5, ge=1, description="epochs between points of a learning curve")
    graph: GraphSettings = Field(GraphSettings(), description="who is linked")
    share_data: DataSharing = Field(DataSharing(), description="instances")
    share_parameters: ParameterSharing = Field(ParameterSharing(), description="weights")
    share_modules: ModuleSharing = Field(ModuleSharing(), description="modules")
    messages: Compression = Field(Compression(), description="how large what crosses is")
    privacy: Privacy = Field(Privacy(), description="how much what crosses tells")
    slowest: float = Field(
        1.0, ge=1, description="agents' rounds last up to this many times as long; 1: in step"
    )
    seeds: list[int] = Field([0], min_length=1, description="one population each, side by side")

    @property
    def tasks_jointly(self) -> int:
        """How many tasks are learnt at once, in the beginning."""
        return min(INITIAL_TASKS, self.tasks) if self.jointly else 1

    @property
    def tasks_in_common(self) -> int:
        """How many tasks one agent learns for all, in the beginning."""
        shared = self.share_parameters.mode, self.share_modules.mode
        common = {"always": True, "sharing": shared != ("none", "none"), "never": False}
        return INITIAL_TASKS if common[self.common_start] else 0

    @property
    def tasks_sharing(self) -> int:
        """How many tasks there are in which agents may share."""
        return self.tasks - max(self.tasks_in_common, self.tasks_jointly - 1)

    @model_validator(mode="after")
    def _compatible(self) -> ShareConfig:
        if self.learner == "modular" and not self.jointly:
            raise ValueError("jointly=false needs learner=monolithic, not modular")
        if self.tasks <= self.tasks_in_common:
            raise ValueError(
                f"tasks={self.tasks} leaves none after the first {INITIAL_TASKS}, which one agent "
                f"learns for all where common_start={self.common_start}; give at least "
                f"{INITIAL_TASKS + 1}, or common_start=never"
            )
        if min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds={self.seeds}: give different whole numbers of at least 0")
        if self.share_modules.mode != "none" and self.tasks < INITIAL_TASKS + 2:
            raise ValueError(
                f"share_modules.mode={self.share_modules.mode} needs tasks of at least "
                f"{INITIAL_TASKS + 2}, not {self.tasks}: the first {INITIAL_TASKS} are learnt "
                "jointly, and the next is the first to add a module that others can be sent"
            )
        if self.share_data.mode != "none" and self.share_data.every >= self.epochs:
            raise ValueError(
                f"share_data.every={self.share_data.every} is never reached in epochs={self.epochs}"
                "; set it lower"
            )
        if self.share_modules.mode != "none" and self.learner != "modular":
            raise ValueError(
                f"share_modules.mode={self.share_modules.mode} needs learner=modular, "
                f"not {self.learner}"
            )
        weights = self.share_parameters.mode
        if self.messages.top is not None and weights == "none":
            raise ValueError(
                f"messages.top={self.messages.top} is a share of weights sent again and again; "
                "set share_parameters.mode"
            )
        if self.privacy.clip is not None and weights == "fedcurv":
            raise ValueError(
                f"privacy.clip={self.privacy.clip} with share_parameters.mode=fedcurv: noise "
                "of the size of weights drowns a Fisher diagonal; use fedavg, fedprox or fedfish"
            )
        if self.net in BUILT_IN and self.net_options:
            raise ValueError(
                f"net_options are for a net of your own, but net={self.net}; leave them out"
            )
        if self.net not in BUILT_IN and ":" not in self.net:
            raise ValueError(
                f"net={self.net} is unknown; write mlp, cnn, module:function or file.py:function"
            )
        return self
