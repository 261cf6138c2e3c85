"""Arguments of the command line, and what a command changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.offload.runs import SMALL, settings_of

Command = Callable[..., tuple[int, str, str]]


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(p): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def small(model: Path, *more: str) -> list[str]:
    given = settings_of(SMALL | {"model": str(model), "steps": 1})
    return [part for setting in (*given, *more) for part in ("--set", setting)]
