"""`understudy report`: a run's page, written anew."""

from __future__ import annotations

from understudy.cli import options
from understudy.cli.opening import open_run


def report(run: options.Run) -> None:
    """Write a run's report page anew."""
    from understudy.report import write

    opened = open_run(run)
    write(opened)
    print(opened.report)
