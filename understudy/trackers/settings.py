"""The settings of trackers, which every run that learns has. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, Field

from understudy.given import anchored
from understudy.trackers import TRACKERS

_NONE = "none"
FREE = ("report_to", "run_name", "project")  # what may change when a run is resumed


class Tracked(Protocol):
    """Settings that have them."""

    @property
    def report_to(self) -> list[str]: ...

    @property
    def run_name(self) -> str | None: ...

    @property
    def project(self) -> str: ...


def _names(value: Any) -> Any:
    """The trackers' names as a list, however they were given; a file is one anywhere."""
    given = [value] if isinstance(value, str) else value
    if given is None or given == [_NONE]:
        return []
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise ValueError(f"name trackers: {', '.join(TRACKERS)}, or {_NONE}")
    if _NONE in given:
        raise ValueError(f"{_NONE} stands alone; leave it out")
    if len(set(given)) < len(given):
        raise ValueError("a tracker is named twice; keep one")
    for name in given:
        if ":" not in name and name not in TRACKERS.known:
            TRACKERS.load(name)  # refuses it
    return [name if name in TRACKERS.known else anchored(name) for name in given]


ReportTo = Annotated[list[str], BeforeValidator(_names)]
REPORT_TO: Any = Field(
    [],
    description=f"where else metrics go: {', '.join(TRACKERS)}, module:Name or file.py:Name; "
    f"{_NONE}: nowhere",
)
RUN_NAME: Any = Field(None, description="its name in trackers; null: the run directory's")
PROJECT: Any = Field("understudy", description="the project that trackers put it in")
