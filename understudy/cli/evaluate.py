"""`understudy eval`: a run's newest model on every task of its stream."""

from __future__ import annotations

from typing import Annotated

import typer

from understudy.cli import options
from understudy.cli.opening import open_trained, serving
from understudy.cli.printing import print_json, print_table
from understudy.recipes import saved_config


def evaluate(
    run: options.Run,
    queries: Annotated[int, typer.Option(help="test questions per task", min=1)] = 1024,
    as_json: options.Json = False,
) -> None:
    """Examine a run's newest model on every task of its stream, greedily, at its budget."""
    from understudy.offload.serve import examine_run
    from understudy.report.offload.tables import exam_table

    opened = open_trained(run)
    cells = examine_run(opened, saved_config(opened), serving(opened), queries)
    if as_json:
        print_json(cells)
        return
    print_table(exam_table(cells))
