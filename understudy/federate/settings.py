"""The settings of a federation. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from understudy.federate.foundations.settings import FoundationSettings
from understudy.federate.methods import METHODS
from understudy.federate.methods.settings import Guard, MethodSettings
from understudy.federate.servers import SERVERS
from understudy.settings import Kinds, KindSection, Section

Mask = Literal["task", "seen", "all"]


class PartitionSettings(Section):
    """Which client has which classes, and how many samples of each; where samples are somebody's, a
    user is a client, and only `test` is read."""

    private: int = Field(15, ge=0, description="classes that one client alone has")
    shared: int = Field(25, ge=0, description="classes that several clients have")
    held_shared: int | None = Field(
        None, ge=0, description="shared classes that a client has; null: all of them"
    )
    concentration: float = Field(
        0.5,
        gt=0,
        description="Dirichlet's, by which a shared class is divided; small: most goes to few",
    )
    at_least: int = Field(
        2, ge=1, description="training samples of a shared class that each of its clients gets"
    )
    test: float = Field(
        0.2, gt=0, lt=1, description="share to test with, where the data do not say it"
    )
    train_per_class: int | None = Field(
        None, ge=1, description="training samples of a class in a task at most; null: all"
    )
    test_per_class: int | None = Field(
        None, ge=1, description="test samples of a class in a task at most; null: all"
    )
    same_order: bool = Field(
        False, description="all clients meet their shared classes in one order"
    )


class LocalTraining(Section):
    """What a client does in a round."""

    epochs: int = Field(1, ge=1, description="over the task's samples, in one round")
    steps: int | None = Field(
        None, ge=1, description="optimiser steps of a round at most; null: whole epochs"
    )
    batch: int = Field(32, ge=1, description="samples of a step")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam, which begins anew each round")
    together: int = Field(
        1,
        ge=1,
        le=32,
        description="clients that are alike computed as one, at most; above 1 the last digits "
        "depend on who is computed together, and so on workers",
    )


class Masks(Section):
    """Among which classes an answer is looked for."""

    train: Mask = Field(
        "task", description="task: the current task's; seen: of all tasks so far; all: any"
    )
    test: Mask = Field(
        "task", description="task: those of the task asked about; seen: of all so far; all: any"
    )


class LinkSettings(Section):
    """Each client's link to the server, both ways."""

    latency: int = Field(0, ge=0, description="moments by which a message comes later")
    latency_spread: int = Field(
        0, ge=0, description="up to so many moments more, drawn once for each client and direction"
    )
    loss: float = Field(0.0, ge=0, le=1, description="share of messages that never arrive")


class Trust(Section):
    """What the server takes from a client; all else is refused with a reason."""

    largest: float = Field(1e3, gt=0, description="root mean square of an array's numbers, at most")
    max_age: int | None = Field(
        None, ge=0, description="rounds by which an upload may be old; null: any, in order"
    )


class FederateConfig(Section):
    """A federation, complete: the same settings and seed give the same numbers."""

    data: str = Field(
        "generated",
        description="'generated', 'digits', a folder of pictures by class, a table, LEAF's JSON, a "
        "set's name, or module:function; {client} in it, or in data_options, stands for the "
        "client's number: each has its own",
    )
    data_options: dict[str, Any] = Field({}, description="given to what makes the data")
    partition: PartitionSettings = Field(PartitionSettings(), description="who has which classes")
    clients: int = Field(5, ge=1, description="how many")
    tasks: int = Field(5, ge=1, description="each client's, one after the other")
    classes: int | list[str] | None = Field(
        None,
        description="of the whole set: how many, or their names in one order for all clients; "
        "null: counted, where all clients' data come from one",
    )
    classes_per_task: int = Field(8, ge=2, description="that a task tells apart")
    foundation: FoundationSettings = Field(FoundationSettings(), description="the frozen network")
    small: str | list[str] = Field(
        "residual",
        description="the clients' small network: a kind, or file.py:function; a list: one for each "
        "client, from the first again where it ends",
    )
    small_options: dict[str, Any] = Field({}, description="given to what makes it")
    feature_width: int = Field(
        128, ge=1, description="to which every small network's features are projected"
    )
    method: Annotated[MethodSettings, Kinds(METHODS, "fed_lscl")] = Field(
        "fed_lscl", validate_default=True, description="what a client learns and sends"
    )
    server: Annotated[KindSection, Kinds(SERVERS, "average")] | None = Field(
        None, description="what the server makes of it; null: what belongs to the method"
    )
    rounds: int = Field(2, ge=1, description="of each task")
    participation: float = Field(
        1.0, gt=0, le=1, description="share of the clients that take part in a round, drawn anew"
    )
    local: LocalTraining = Field(LocalTraining(), description="a client's part of a round")
    joint: bool = Field(
        False,
        description="client 1 has the training samples of everybody and of all tasks, from the "
        "first task on, and the others take what it learnt: the bound",
    )
    head: Literal["linear", "cosine"] = Field(
        "linear",
        description="what turns features into answers; cosine: of the features and each class's "
        "row, so that no class is louder than another, whenever it was learnt",
    )
    masks: Masks = Field(Masks(), description="among which classes is answered")
    cache: bool = Field(
        False,
        description="compute what stands before the first tuned block once, and keep it",
    )
    link: LinkSettings = Field(LinkSettings(), description="what a link does to messages")
    trust: Trust = Field(Trust(), description="what the server takes")
    privacy: Guard = Field(
        Guard(),
        description="the change of a client's weights since what the server knows of them, as it "
        "is sent",
    )
    examine_rounds: bool = Field(
        False, description="test every client after every round, not after every task alone"
    )
    seeds: list[int] = Field([0], min_length=1, description="one federation each, side by side")

    @property
    def own_data(self) -> bool:
        """Whether every client has a set of its own: {client} is replaced by its number."""
        return "{client}" in f"{self.data} {self.data_options}"

    @property
    def smalls(self) -> list[str]:
        """The kinds of small networks that clients have, by turns."""
        return [self.small] if isinstance(self.small, str) else self.small

    @property
    def serving(self) -> KindSection:
        """The settings of what the server does."""
        return self.server or SERVER_KINDS.parse(self.method.served_by)

    @model_validator(mode="after")
    def _compatible(self) -> FederateConfig:
        if min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds={self.seeds}: give different whole numbers of at least 0")
        _check_classes(self.classes)
        if not self.smalls:
            raise ValueError("small=[] names none; write one, or one for each client")
        if len(self.smalls) > self.clients:
            raise ValueError(
                f"small={self.smalls} names more networks than there are clients={self.clients}"
            )
        kind = None if self.server is None else self.server.kind
        if kind in SERVERS.known and kind not in self.method.servers:
            raise ValueError(
                f"server.kind={kind} makes nothing of what method.kind="
                f"{self.method.kind} sends; use {' or '.join(self.method.servers)}, or leave it out"
            )
        if self.privacy.clip is not None and self.serving.kind == "none":
            raise ValueError(
                f"privacy.clip={self.privacy.clip} bounds what is sent, but server=none takes "
                "nothing; leave one of them out"
            )
        self.method.check(self)
        if self.joint:
            _check_joint(self)
        return self


def _check_classes(classes: int | list[str] | None) -> None:
    count = classes if classes is None or isinstance(classes, int) else len(set(classes))
    if count is not None and count < 2:
        raise ValueError(f"classes={classes}: there must be two at least to tell apart")
    if isinstance(classes, list) and len(set(classes)) < len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise ValueError(f"classes names {twice!r} twice; give different names")


def _check_joint(config: FederateConfig) -> None:
    """Refuse what would give the others something else than what client 1 learnt."""
    server = config.serving
    by_samples = {"kind": "average", "rule": "mean", "weights": "samples"}
    if not config.method.whole:
        raise ValueError(
            f"joint=true: of method.kind={config.method.kind} not all that a client learns is "
            "averaged, so the others would not learn it; use head, lora, prompts or small_alone"
        )
    for name, wanted in by_samples.items():
        if (found := getattr(server, name, None)) != wanted:
            raise ValueError(
                f"joint=true gives client 1 all samples, so only a mean by samples is what it "
                f"learnt, but server.{name}={found}; use {wanted}"
            )
    if config.participation < 1 or config.link.loss:
        raise ValueError(
            f"joint=true needs client 1 in every round, but participation={config.participation} "
            f"and link.loss={config.link.loss}; leave them out"
        )


SERVER_KINDS = Kinds(SERVERS, "average")
