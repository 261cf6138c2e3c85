"""`understudy events`: what the gateway kept of its requests."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from understudy.cli import options
from understudy.errors import ConfigError

if TYPE_CHECKING:
    from understudy.store.database import Database

app = typer.Typer(help="Events of the gateway.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def export(
    out: Annotated[Path | None, typer.Option(help="a file to make; else standard output")] = None,
    key: Annotated[str | None, typer.Option(help="only of this key, by its id")] = None,
    days: Annotated[float | None, typer.Option(help="only of the last days", min=0)] = None,
    for_training: Annotated[
        bool, typer.Option(help="leave out answers of clouds whose terms forbid to learn from them")
    ] = False,
    store: options.Store = "",
) -> None:
    """Write events whose text was kept as JSON lines, in TRL's form: prompt and completion."""
    from understudy.store.export import exported

    since = 0.0 if days is None else time.time() - days * 86_400
    rows = exported(_events(store), key=key, since=since, for_training=for_training)
    count = 0
    with _opened(out) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    if out is not None:
        print(f"{out}: {count} rows")


@app.command()
def delete(
    key: Annotated[str, typer.Option(help="whose events: its id")],
    store: options.Store = "",
) -> None:
    """Delete everything that a key asked, and what was said of it. Its spending stays known."""
    from understudy.store.events import delete_of_key

    count = delete_of_key(_events(store), key)
    print(f"deleted {count} events of {key}")


def _events(store: str) -> Database:
    from understudy.store.database import open_events
    from understudy.store.settings import store_url

    return open_events(store_url(store))


@contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        yield sys.stdout
        return
    try:
        file = out.open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error.strerror})") from None
    with file:
        yield file
