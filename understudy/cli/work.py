"""What the commands that take long have in common."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

import typer

from understudy import interrupt
from understudy.cli.output import Output, complain


@contextlib.contextmanager
def long_work(out: Path) -> Iterator[None]:
    """An interrupt is one line, and output that cannot be written does not end the work.

    out: the run directory that it writes.
    """
    import torch  # noqa: F401  before interrupts are raised: see interrupt.py

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


@contextlib.contextmanager
def shown_work(with_torch: bool = True) -> Iterator[None]:
    """Work before a result is printed: how it proceeds is shown on standard error."""
    if with_torch:
        import torch  # noqa: F401  before interrupts are raised: see interrupt.py
    from rich.console import Console

    from understudy.report.screen import screen_on

    errors = Output(sys.stderr)
    errors.keep_going()
    with interrupt.raised(), screen_on(Console(file=cast(TextIO, errors))):
        yield


def is_first_process() -> bool:
    """Of those that a launcher started for one run."""
    return os.environ.get("RANK", "0") == "0"
