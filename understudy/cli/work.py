"""What the commands that take long have in common."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import typer

from understudy import interrupt
from understudy.cli.output import Output, complain


@contextlib.contextmanager
def long_work(out: Path) -> Iterator[None]:
    """An interrupt is one line, and output that cannot be written does not end the work.

    Import what is heavy before: see interrupt.py. out: the run directory that it writes.
    """
    if isinstance(sys.stdout, Output):
        sys.stdout.keep_going()
    try:
        with interrupt.raised():
            yield
    except KeyboardInterrupt:
        sys.unraisablehook = lambda _: None  # objects that are only half built fail as they go
        begun = (out / "config.yaml").is_file()
        complain("interrupted; continue with --resume" if begun else "interrupted")
        raise typer.Exit(interrupt.CODE) from None
