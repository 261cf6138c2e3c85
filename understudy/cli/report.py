"""`understudy report`: a run's page, written anew."""

from __future__ import annotations

from understudy.cli import options


def report(run: options.Run) -> None:
    """Write a run's report page anew."""
    from understudy import api

    print(api.load(run).report())
