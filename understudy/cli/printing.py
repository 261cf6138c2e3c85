"""How results are printed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.api import Run


def print_json(content: Any) -> None:
    print(json.dumps(content, indent=2))


def print_table(table: Any) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # in a pipe there is no window to fit: every column is whole
        console = Console(width=1000)
    console.print(table)


def print_report(run: Run) -> None:
    """A finished run's main figures, and where its page is."""
    for table in run.tables():
        print_table(table)
    print(f"report: {run.report_path}")
