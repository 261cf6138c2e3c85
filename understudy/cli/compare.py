"""`understudy compare`: finished runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli import options
from understudy.cli.printing import print_json, print_table


def compare(
    runs: Annotated[list[Path], typer.Argument(help="run directories", metavar="RUN...")],
    as_json: options.Json = False,
) -> None:
    """Put finished runs side by side."""
    from understudy import api

    records = api.compare(*runs)
    if as_json:
        print_json(records)
        return
    from understudy.report.parts.tables import side_by_side

    print_table(side_by_side(records))
