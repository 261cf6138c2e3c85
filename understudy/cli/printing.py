"""How results are printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.api import Run


def print_json(content: Any) -> None:
    print(json.dumps(content, indent=2))


def print_path(path: Path, as_json: bool) -> None:
    """A file or folder that was written."""
    if as_json:
        print_json({"path": str(path)})
    else:
        print(path)


def print_line(record: Any) -> None:
    """A record of many, on a line of its own, as soon as it is known."""
    print(json.dumps(record, ensure_ascii=False), flush=True)


def print_table(table: Any) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # in a pipe there is no window to fit: every column is whole
        Console(width=1000).print(table)
        return
    from understudy.report.parts.fitting import parts_that_fit

    for part in parts_that_fit(table, console.width):
        console.print(part)


def print_report(run: Run, as_json: bool = False) -> None:
    """A finished run's main figures, and where its page is."""
    if as_json:
        from understudy import api

        print_json(api.compare(run)[0] | {"report": str(run.report_path)})
        return
    for table in run.tables():
        print_table(table)
    print(f"report: {run.report_path}")
