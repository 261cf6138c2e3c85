"""`understudy report`: a run's page, written anew."""

from __future__ import annotations

from understudy.cli import options
from understudy.cli.printing import print_path
from understudy.cli.work import shown_work


def report(run: options.Run, as_json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Write a run's report page anew."""
    from understudy import api

    with shown_work(with_torch=False, quiet=quiet):
        written = api.load(run).report()
    print_path(written, as_json)
