"""`understudy events`: what the gateway kept of its requests."""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli import options
from understudy.cli.command import Command
from understudy.cli.output import complain, new_file
from understudy.cli.printing import print_json
from understudy.errors import ConfigError

if TYPE_CHECKING:
    from understudy.store.database import Database

app = typer.Typer(help="Events of the gateway.", no_args_is_help=True, rich_markup_mode=None)


@app.command(cls=Command)
def export(
    out: Annotated[
        Path | None, typer.Option(help="a file to make, not there yet; else standard output")
    ] = None,
    key: Annotated[str | None, typer.Option(help="only of this key: its id or its name")] = None,
    days: Annotated[float | None, typer.Option(help="only of the last days", min=0)] = None,
    for_training: Annotated[
        bool, typer.Option(help="leave out answers of clouds whose terms forbid to learn from them")
    ] = False,
    store: options.Store = "",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write events whose text was kept as JSON lines, in TRL's form: prompt and completion."""
    from understudy.store.export import exported, left_out

    since = 0.0 if days is None else time.time() - days * 86_400
    count = 0
    with _events(store) as events:
        which = None if key is None else _whose(events, store, key)
        with new_file(out, "--out") if out else nullcontext(sys.stdout) as file:
            for row in exported(events, key=which, since=since, for_training=for_training):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
        missing = left_out(events, key=which, since=since, for_training=for_training)
    told = _rows(count, *missing)
    if out is not None and as_json:
        textless, forbidden = missing
        left = {"without_text": textless, "forbidden": forbidden}
        print_json({"path": str(out), "rows": count, "left_out": left})
    elif out is not None:
        print(out if quiet else f"{out}: {told}")
    elif count == 0:
        complain(told)


@app.command(cls=Command)
def delete(
    key: Annotated[str, typer.Option(help="whose events: its id or its name")],
    store: options.Store = "",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Delete everything that a key asked, and what was said of it. Its spending stays known."""
    from understudy.store.events import delete_of_key

    with _events(store) as events:
        which = _whose(events, store, key)
        count = delete_of_key(events, which)
    if as_json:
        print_json({"key": which, "deleted": count})
    else:
        told = f"deleted {count} event{'' if count == 1 else 's'} of {which}"
        print(count if quiet else told)


def _rows(count: int, textless: int, forbidden: int) -> str:
    """How many there are, and why there are no more."""
    parts = [f"{count} row{'' if count == 1 else 's'}"]
    if textless:
        parts.append(
            f"{textless} without a text, which store.events.text=all keeps of everybody, and "
            "store: true of one request"
        )
    if forbidden:
        parts.append(f"{forbidden} of clouds with train_on_replies off in clouds.NAME")
    if not (count or textless or forbidden):
        parts.append("no such event is kept")
    return "; ".join(parts)


def _events(store: str) -> closing[Database]:
    from understudy.store.database import open_events
    from understudy.store.settings import store_url

    return closing(open_events(store_url(store), make=False))


def _whose(events: Database, store: str, key: str) -> str:
    """The id of a key by its id or its name; or who else has events, as `shadow`."""
    from understudy.store.database import NoStoreError, open_database
    from understudy.store.events import has_any_of
    from understudy.store.keys import Keys
    from understudy.store.settings import store_url

    if has_any_of(events, key):
        return key
    try:
        with closing(open_database(store_url(store), make=False)) as database:
            found = Keys(database).named(key)
    except NoStoreError:  # shadow mode keeps events, and no keys
        found = None
    if found is None:
        raise ConfigError(
            f"--key {key}: no key has that id or name, and no event is of it; see understudy keys "
            "list"
        )
    return found.id
