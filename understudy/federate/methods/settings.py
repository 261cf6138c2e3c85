"""What the settings of every method say. Imports nothing heavy."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from understudy.settings import KindSection, Section


class Guard(Section):
    """A bound and noise for something that leaves a client."""

    clip: float | None = Field(None, gt=0, description="most L2 norm of it; null: any")
    noise: float = Field(
        0.0, ge=0, description="deviation of the noise on each number, as a multiple of clip"
    )

    @model_validator(mode="after")
    def _compatible(self) -> Guard:
        if self.noise and self.clip is None:
            raise ValueError(f"noise={self.noise} is a multiple of clip; set clip")
        return self


class MethodSettings(KindSection):
    """Of one method; derive from it and add fields."""

    served_by: ClassVar[str] = "average"  # the kind of server that belongs to it
    servers: ClassVar[tuple[str, ...]] = ("average", "asynchronous", "none")  # that it can have
    small: ClassVar[bool] = False  # whether its clients have small networks
    whole: ClassVar[bool] = False  # whether all that a client learns crosses and is averaged

    @property
    def tuned(self) -> tuple[int, ...]:
        """Blocks of the foundation that are adapted; none: its features stay as they are."""
        return ()

    def check(self, config: Any) -> None:
        """Refuse, with a ValueError, what clashes with the federation's other settings.

        config: its FederateConfig, whose module reads this one.
        """


class AdaptedSettings(MethodSettings):
    """Of a method that changes blocks of the foundation by low-rank matrices."""

    blocks: tuple[int, ...] = Field(
        (2, 3), min_length=1, description="blocks of the foundation that are adapted, from 0"
    )
    rank: int = Field(4, ge=1, description="of the low-rank matrices")
    alpha: float = Field(16.0, gt=0, description="their scale is alpha / rank")

    @property
    def tuned(self) -> tuple[int, ...]:
        return self.blocks

    @model_validator(mode="after")
    def _different_blocks(self) -> AdaptedSettings:
        if len(set(self.blocks)) < len(self.blocks) or min(self.blocks) < 0:
            raise ValueError(f"blocks={list(self.blocks)}: give different numbers from 0 on")
        return self


class RetentionSettings(Section):
    """What holds earlier tasks while a client learns the next."""

    kind: Literal["none", "ewc", "lwf", "rehearsal"] = Field(
        "none",
        description="ewc: weights that mattered; lwf: answers; rehearsal: samples of earlier tasks",
    )
    weight: float = Field(1.0, gt=0, description="of it in the loss")
    samples: int = Field(
        64, ge=1, description="of a task: that rehearsal keeps, or by which ewc sees what matters"
    )
    batch: int = Field(32, ge=1, description="of rehearsal: old samples in a step")

    @model_validator(mode="after")
    def _has_effect(self) -> RetentionSettings:
        read = {"none": (), "lwf": ("weight",), "ewc": ("weight", "samples")}
        for name, field in type(self).model_fields.items():
            unread = name not in ("kind", *read.get(self.kind, (name,)))
            if unread and getattr(self, name) != field.default:
                raise ValueError(
                    f"{name}={getattr(self, name)} has no effect with kind={self.kind}; "
                    "leave it out"
                )
        return self


class AveragedSettings(MethodSettings):
    """Of a method of which all that a client learns crosses and is averaged."""

    whole: ClassVar[bool] = True

    retention: RetentionSettings = Field(RetentionSettings(), description="holds earlier tasks")

    mu: float = Field(
        0.0, ge=0, description="weight of the pull towards what the server sent last; 0: FedAvg"
    )

    head: Literal["mean", "by_class"] = Field(
        "mean",
        description="by_class: each class's row of the head is the mean of the clients that have "
        "the class, by their samples of it, which they send; mean: of all clients, as the rest",
    )

    def check(self, config: Any) -> None:
        if self.head == "by_class":
            check_by_class(config)
        if self.mu and config.serving.kind == "none":
            raise ValueError(
                f"method.mu={self.mu} pulls towards what the server sends, but server=none sends "
                "nothing; leave one of them out"
            )


def check_by_class(config: Any) -> None:
    """Refuse, beside method.head=by_class, what would not average rows by counts."""
    server = config.serving
    if server.kind not in ("average", "o2d"):
        raise ValueError(
            f"method.head=by_class has no effect with server.kind={server.kind}; use average or o2d"
        )
    if getattr(server, "rule", "mean") != "mean":
        raise ValueError(
            f"method.head=by_class is a mean, but server.rule={server.rule}; leave one of them out"
        )
    if config.privacy.clip is not None:
        raise ValueError(
            f"method.head=by_class sends counts, which privacy.clip={config.privacy.clip} does not "
            "guard; leave one of them out"
        )
