"""What the commands that take long have in common."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

import typer

from understudy import interrupt
from understudy.cli.output import Output, complain

if TYPE_CHECKING:
    from understudy.report.screen import Screen


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
def shown_work(with_torch: bool = True, quiet: bool = False) -> Iterator[None]:
    """Work before a result is printed: how it proceeds is shown on standard error."""
    if with_torch:
        import torch  # noqa: F401  before interrupts are raised: see interrupt.py
    with interrupt.raised(), screen_on_errors(quiet):
        yield


def screen_on_errors(quiet: bool) -> Screen:
    """How work proceeds, on standard error; quiet: warnings alone."""
    from rich.console import Console

    from understudy.report.screen import QuietScreen, screen_on

    errors = Output(sys.stderr)
    errors.keep_going()
    console = Console(file=cast(TextIO, errors))
    return QuietScreen(console) if quiet else screen_on(console)


def display_of(as_json: bool, quiet: bool) -> bool | Screen:
    """Where a run shows how it proceeds: not where its result is JSON, and not if unwanted."""
    return screen_on_errors(quiet) if as_json or quiet else True


def is_first_process() -> bool:
    """Of those that a launcher started for one run."""
    return os.environ.get("RANK", "0") == "0"
