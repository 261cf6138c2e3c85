"""Settings of the sharing of modules."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from understudy.share.modes import Schedule
from understudy.share.tick import INITIAL_TASKS, Tick


class Settings(Schedule):
    """Modules cross the edges, once at the beginning of each task."""

    shares_weights: ClassVar[bool] = True

    mode: Literal["none", "iou", "leep"] = Field(
        "none", description="what finds the most similar task: shared classes, or LEEP"
    )
    candidates: int = Field(1, ge=1, description="modules that a neighbour sends")
    points: int = Field(40, ge=1, description="validation points per class in a query by leep")
    tryout: int = Field(0, ge=0, description="epochs that each is tried; 0: the most similar wins")
    patience: int = Field(0, ge=0, description="further exchanges that an agent waits for offers")

    @property
    def exchanges(self) -> int:
        """A query, the offers, and what is made of them."""
        return 3 + self.patience

    def opens(self, tick: Tick) -> bool:
        """From the second task that may add a module: before it, nobody has one to offer."""
        return tick.epoch == 0 and tick.task > INITIAL_TASKS

    @model_validator(mode="after")
    def _compatible(self) -> Settings:
        self.refuse_unread(self.mode, {"points": ("leep",)})
        return self
