"""`understudy report`: a run's page, written anew."""

from __future__ import annotations

from understudy.cli import options
from understudy.cli.printing import print_path


def report(run: options.Run, as_json: options.Json = False) -> None:
    """Write a run's report page anew."""
    from understudy import api

    print_path(api.load(run).report(), as_json)
