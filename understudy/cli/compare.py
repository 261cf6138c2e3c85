"""`understudy compare`: finished runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli import options
from understudy.cli.printing import print_json, print_table
from understudy.cli.work import shown_work


def compare(
    runs: Annotated[list[Path], typer.Argument(help="run directories", metavar="RUN...")],
    out: Annotated[
        Path | None, typer.Option(help="write a page of them: a file to make", metavar="FILE")
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Put finished runs side by side, of every kind: as a table, and as a page."""
    from understudy import api

    with shown_work(with_torch=False, quiet=quiet):
        records = api.compare(*runs, out=out)
    if as_json:
        print_json(records)
        return
    from understudy.report.parts.tables import side_by_side

    print_table(side_by_side(records))
    if out is not None:
        print(f"page: {out}")
