"""How results are printed."""

from __future__ import annotations

import json
from typing import Any


def print_json(content: Any) -> None:
    print(json.dumps(content, indent=2))


def print_table(table: Any) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # in a pipe there is no window to fit: every column is whole
        console = Console(width=1000)
    console.print(table)
