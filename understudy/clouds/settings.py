"""The settings that every kind of cloud has."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from understudy.settings import KindSection


class CloudSettings(KindSection):
    """Who is asked for help, and how much help a run may buy.

    A kind of cloud is a class with `Settings`, a subclass of this, that is built from its settings
    and an answer key: `Kind(settings, key)`. Only a simulated cloud reads the key.
    """

    max_calls: int | None = Field(None, ge=0, description="calls of a run at most; null: no cap")
    max_dollars: float | None = Field(
        None, ge=0, description="dollars that a run spends at most; null: no cap"
    )
    at_cap: Literal["local", "stop"] = Field(
        "local", description="where a cap is reached: local answers count, or the run stops"
    )
    max_failed_share: float = Field(
        0.5, ge=0, le=1, description="a run stops when a larger share of its last calls failed"
    )

    @model_validator(mode="after")
    def _has_a_cap(self) -> CloudSettings:
        if self.at_cap == "stop" and self.max_calls is None and self.max_dollars is None:
            raise ValueError("at_cap=stop has an effect with max_calls or max_dollars only")
        return self

    # Whether one call is tried before anything long.
    checked: ClassVar[bool] = True


_OF_A_RUN = ("max_calls", "max_dollars", "at_cap", "max_failed_share")


def refuse_settings_of_a_run(cloud: CloudSettings) -> None:
    """A cloud that stands within another one has no caps of its own."""
    for name in _OF_A_RUN:
        if getattr(cloud, name) != type(cloud).model_fields[name].default:
            raise ValueError(f"{name} is of the run: set cloud.{name}")
