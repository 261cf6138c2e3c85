"""What agents send each other: a mode of sharing per kind, each with its settings beside it.

A mode is a class with `Settings`; see understudy.share.agent.Mode. The setting `modes` lists modes
of a stranger: `modes: [{kind: my_file.py:Mode, every: 2}]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from understudy.registry import Registry
from understudy.settings import KindSection, Section
from understudy.share.tick import Tick

MODES = Registry(
    "modes",
    {
        "data": ("understudy.share.modes.data.mode:Data", "instances; set by share_data"),
        "parameters": (
            "understudy.share.modes.parameters.mode:Parameters",
            "weights; set by share_parameters",
        ),
        "modules": ("understudy.share.modes.modules.mode:Modules", "modules; set by share_modules"),
    },
)


class Schedule(Section):
    """When a mode's rounds are. Every mode's settings say it."""

    shares_weights: ClassVar[bool] = False  # then agents begin with the same weights

    @property
    def period(self) -> int | None:
        """Epochs from one round to the next; None: its rounds are only where others are."""
        return None

    @property
    def exchanges(self) -> int:
        """How many a round takes: what is sent in one is there in the next."""
        return 2

    def opens(self, tick: Tick) -> bool:
        """Whether a round begins here. Called at exchange 0."""
        return self.period is not None and tick.epoch % self.period == 0

    def refuse_unread(self, mode: str, readers: Mapping[str, tuple[str, ...]]) -> None:
        """Refuse settings that this mode does not read. readers: the modes that read a setting."""
        for name, modes in readers.items():
            value = getattr(self, name)
            if mode not in (*modes, "none") and value != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name}={value} has no effect with mode={mode}; "
                    f"set mode={' or '.join(modes)}, or leave it out"
                )


class ModeSettings(Schedule, KindSection):
    """The settings of a mode in the list `modes`; derive from it and add fields."""

    every: int = Field(5, ge=1, description="epochs from one exchange to the next")

    @property
    def period(self) -> int | None:
        return self.every
