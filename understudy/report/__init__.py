"""A run directory becomes tables, plots and one self-contained page.

Every loop registers how its runs are reported; the settings of a run name its loop.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from understudy.errors import ConfigError, RunError
from understudy.files import write_text
from understudy.registry import Registry

if TYPE_CHECKING:
    from rich.table import Table

    from understudy.metrics import SummaryHead
    from understudy.run import RunDirectory

REPORTS = Registry(
    "report",
    {
        "offload": ("understudy.report.offload:OffloadReport", "one model that may ask a cloud"),
        "federate": (
            "understudy.report.federate:FederateReport",
            "clients around a server",
        ),
        "share": ("understudy.report.share:ShareReport", "agents that share with each other"),
    },
)

Headline = Mapping[str, str | int | float | None]


class Report(Protocol):
    """How the finished runs of one loop are shown. It is made from a run: `MyReport(run)`."""

    def page(self) -> str:
        """The whole page as HTML, usually from `parts.page.render`."""

    def tables(self) -> Sequence[Table]:
        """The main figures, for a terminal."""

    def headline(self) -> Headline:
        """What to know first, by name: a column of `understudy compare`.

        `head_of` gives what every loop's summary begins with.
        """


def report_of(run: RunDirectory) -> Report:
    """By the setting `report`, else the recipe; every other recipe is one of `understudy train`."""
    settings = run.settings()
    recipe = settings.get("recipe")
    name = settings.get("report", recipe if recipe in list(REPORTS) else "offload")
    report: Report = REPORTS.make(str(name), run)
    return report


def write(run: RunDirectory) -> None:
    """Write report.html; the same run directory gives the same bytes."""
    page = report_of(run).page()
    try:
        write_text(run.report, page)
    except OSError as error:
        raise RunError(f"{run.report}: cannot be written ({error.strerror})") from error


def tables(run: RunDirectory) -> Sequence[Table]:
    return report_of(run).tables()


def head_of(summary: SummaryHead) -> Headline:
    """Quality with its 95 % interval, the worst user, and what crossed the link in training."""
    quality, cost = summary.quality, summary.cost
    return {
        "quality": quality.mean,
        "quality, low": quality.low,
        "quality, high": quality.high,
        "worst user": min((each for each in summary.per_user if each is not None), default=None),
        "calls": cost.calls,
        "tokens": cost.prompt_tokens + cost.completion_tokens,
        "floats": cost.floats,
        "bytes": cost.bytes,
        "dollars": cost.dollars,
    }


def comparison(runs: Sequence[RunDirectory]) -> list[dict[str, Any]]:
    """The headline of every run, its path first."""
    return [{"run": str(run.path), **report_of(run).headline()} for run in runs]


def write_comparison(runs: Sequence[RunDirectory], file: Path) -> None:
    """A page of runs of every kind; nothing is written over."""
    from understudy.report.compared.page import page

    if os.path.lexists(file):
        raise ConfigError(f"out={file}: is there already; give a new file's name")
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"out={file}: its folder is not there; make it first")
    content = page(runs, comparison(runs), file)
    try:
        write_text(file, content)
    except OSError as error:
        raise ConfigError(f"out={file}: cannot be written ({error.strerror})") from error
