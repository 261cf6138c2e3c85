"""`understudy eval`: a run's newest model on every task of its stream."""

from __future__ import annotations

from typing import Annotated

import typer

from understudy.cli import options
from understudy.cli.printing import print_json, print_table
from understudy.cli.work import shown_work

_MOST = 2**20  # as many as a run's eval_queries may be


def evaluate(
    run: options.Run,
    queries: Annotated[int, typer.Option(help="test questions per task", min=1, max=_MOST)] = 1024,
    router: options.Router = None,
    no_check: options.NoCheck = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Examine a run's newest model on every task of its stream, greedily, at its budget."""
    from understudy import api

    with shown_work(quiet=quiet), api.load(run, options.router_choice(router)) as opened:
        results = opened.examine(queries, check=not no_check)
    if as_json:
        print_json([result.to_json() for result in results])
        return
    from understudy.report.offload.tables import exam_table

    print_table(exam_table(results))
