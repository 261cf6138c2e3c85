"""The settings of a run of agents. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import Field, model_validator

from understudy.link.graph import Topology
from understudy.settings import Kinds, KindSection, Section
from understudy.share.modes import MODES, Schedule
from understudy.share.modes.data.settings import Settings as DataSharing
from understudy.share.modes.modules.settings import Settings as ModuleSharing
from understudy.share.modes.parameters.settings import Settings as ParameterSharing
from understudy.share.tick import INITIAL_TASKS

BUILT_IN = ("mlp", "cnn")  # nets


class GraphSettings(Section):
    """The graph, and what each of its edges carries."""

    topology: Topology = Field("full", description="which agents have a link")
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
        "got them; null: all",
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
        description="'generated', an .npz file, a folder of idx files, or module:function; {agent} "
        "in it, or in data_options, stands for the agent's number: then each has its own",
    )
    data_options: dict[str, Any] = Field({}, description="given to what makes the data")
    agents: int = Field(8, ge=1, description="how many")
    tasks: int = Field(10, ge=1, description="each agent's, one after the other")
    classes_per_task: int = Field(2, ge=2, description="that a task tells apart")
    train_per_class: int = Field(64, ge=1, description="training instances of each")
    validation_per_class: int = Field(50, ge=1, description="instances of each to examine with")
    disjoint: bool = Field(False, description="no two tasks of an agent share a class")
    learner: Literal["modular", "monolithic"] = Field("modular", description="how it keeps tasks")
    net: str | list[str] = Field(
        "mlp",
        description="'mlp', 'cnn', module:function or file.py:function; a list: one for each "
        "agent, from the first again where it ends",
    )
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
    graph: GraphSettings = Field(GraphSettings(), description="which agents are linked, and how")
    share_data: DataSharing = Field(DataSharing(), description="instances")
    share_parameters: ParameterSharing = Field(ParameterSharing(), description="weights")
    share_modules: ModuleSharing = Field(ModuleSharing(), description="modules")
    modes: list[Annotated[KindSection, Kinds(MODES, "")]] = Field(
        [], description="modes of your own: kind (module:Name or file.py:Name) and its settings"
    )
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
        shared = any(section.shares_weights for section in self.sections().values())
        common = {"always": True, "sharing": shared, "never": False}
        return INITIAL_TASKS if common[self.common_start] else 0

    @property
    def own_data(self) -> bool:
        """Whether every agent has a set of its own: {agent} is replaced by its number."""
        return "{agent}" in f"{self.data} {self.data_options}"

    @property
    def nets(self) -> list[str]:
        """The nets that agents have, by turns."""
        return [self.net] if isinstance(self.net, str) else self.net

    def sections(self) -> dict[str, Schedule]:
        """The settings of every mode in use, by the name of the kind in MODES."""
        data, parameters, modules = self.share_data, self.share_parameters, self.share_modules
        found: dict[str, Schedule] = {}
        if data.mode != "none":
            found["data"] = data
        if parameters.mode != "none":
            found["parameters"] = parameters
        if modules.mode != "none":
            found["modules"] = modules
        return found | {each.kind: cast(Schedule, each) for each in self.modes}

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
        if self.own_data and self.tasks_in_common:
            raise ValueError(
                f"data={self.data} gives every agent data of its own, but with common_start="
                f"{self.common_start} all learn their first tasks from one set; set never"
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
        own = [section.kind for section in self.modes]
        if len(set(own)) < len(own):
            raise ValueError(f"modes={own}: they must differ")
        self._check_nets()
        return self

    def _check_nets(self) -> None:
        own = [net for net in self.nets if net not in BUILT_IN]
        if not self.nets:
            raise ValueError("net=[] names none; write one, or one for each agent")
        if self.net_options and not own:
            raise ValueError(
                f"net_options are for a net of your own, but net={self.net}; leave them out"
            )
        for net in own:
            if ":" not in net:
                raise ValueError(
                    f"net={net} is unknown; write mlp, cnn, module:function or file.py:function"
                )
        if len(self.nets) > self.agents:
            raise ValueError(f"net={self.net} names more nets than there are agents={self.agents}")
