"""Settings of the sharing of instances."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from understudy.share.modes import Schedule
from understudy.share.tick import Tick
from understudy.types import QueryScore


class Settings(Schedule):
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

    @property
    def period(self) -> int | None:
        return self.every

    @property
    def exchanges(self) -> int:
        """A query, the answers, and what is made of them."""
        return 3

    def opens(self, tick: Tick) -> bool:
        return tick.epoch > 0 and tick.epoch % self.every == 0

    @model_validator(mode="after")
    def _compatible(self) -> Settings:
        queried = ("receiver",)
        readers = dict.fromkeys(("neighbours", "score", "among", "labels"), queried)
        self.refuse_unread(self.mode, readers)
        return self
