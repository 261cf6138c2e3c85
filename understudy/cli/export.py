"""`understudy export`: what a run trained, for the programs that serve models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli import options
from understudy.cli.printing import print_path
from understudy.cli.work import shown_work


def export(
    run: options.Run,
    to: Annotated[str, typer.Option(help="peft, merged or gguf-lora", metavar="FORMAT")],
    out: Annotated[
        Path | None, typer.Option(help="what to make; else it is in the run directory")
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a run's newest model as an adapter, a whole checkpoint or a file of llama.cpp."""
    from understudy import api

    with shown_work(quiet=quiet):
        written = api.export(run, to, out)
    print_path(written, as_json)
