"""`understudy keys`: who may ask the gateway."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from understudy.cli import key_options as own
from understudy.cli import options
from understudy.cli.command import Command
from understudy.cli.output import complain
from understudy.cli.printing import print_json, print_table
from understudy.errors import ConfigError

if TYPE_CHECKING:
    from understudy.store.caps import Unit
    from understudy.store.database import Database
    from understudy.store.keys import Key
    from understudy.store.settings import CapSettings

_LONGEST_MINUTES = 36500 * 1440

app = typer.Typer(help="API keys of the gateway.", no_args_is_help=True, rich_markup_mode=None)


@app.command(cls=Command)
def create(
    name: own.Name,
    team: own.Team = "",
    scope: own.Scope = None,
    dial: own.Dial = None,
    expires: own.Expires = None,
    requests_per_minute: own.RequestsPerMinute = None,
    tokens_per_minute: own.TokensPerMinute = None,
    max_dollars: own.MaxDollars = None,
    max_calls: own.MaxCalls = None,
    max_tokens: own.MaxTokens = None,
    store: options.Store = "",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a key and print it: it cannot be read again. With --quiet it stands alone."""
    from understudy.store.keys import USUAL_SCOPES, Keys, check_key

    caps = _caps(dollars=max_dollars, calls=max_calls, tokens=max_tokens)
    scopes = tuple(scope) if scope else USUAL_SCOPES
    until = None if expires is None else time.time() + _seconds(expires)
    check_key(name, team, scopes, dial)
    with _database(store, make=True) as database:  # a gateway that starts later finds the key in it
        keys = Keys(database)
        key, secret = keys.create(
            name,
            team=team,
            scopes=scopes,
            dial=dial,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            caps=caps,
            expires=until,
        )
        is_first = len(keys.all()) == 1
    _tell_news(database, is_first, quiet)
    _show_new(key, secret, as_json, quiet)


def _show_new(key: Key, secret: str, as_json: bool, quiet: bool) -> None:
    if as_json:
        print_json({"key": secret, **_plain(key)})
        return
    print(secret)
    if not quiet:
        print(f"  {key.id}, {key.name}: keep it now, only its hash is stored")


@app.command("list", cls=Command)
def list_keys(
    store: options.Store = "", as_json: options.Json = False, quiet: options.Quiet = False
) -> None:
    """Every key, without its secret."""
    from understudy.store.keys import Keys

    with _database(store) as database:
        found = Keys(database).all()
    if as_json:
        print_json([_plain(key) for key in found])
        return
    from rich.table import Table

    table = Table("id", "name", "team", "scopes", "dial", "per minute", "caps", "state")
    now = time.time()
    for key in found:
        limits = [
            f"{number} {what}"
            for number, what in (
                (key.requests_per_minute, "requests"),
                (key.tokens_per_minute, "tokens"),
            )
            if number is not None
        ]
        dial = "" if key.dial is None else f"{key.dial:g}"
        caps = ", ".join(cap.text for cap in key.caps)
        row = (key.id, key.name, key.team, " ".join(key.scopes), dial, ", ".join(limits), caps)
        table.add_row(*row, _state(key, now))
    print_table(table)


@app.command(cls=Command)
def revoke(
    key: Annotated[str, typer.Argument(help="its id or its name", metavar="KEY")],
    store: options.Store = "",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """End a key: within a few seconds no request with it is answered."""
    from understudy.store.keys import Keys

    with _database(store) as database:
        found = Keys(database).revoke(key)
    if as_json:
        print_json(_plain(found))
    elif not quiet:
        print(f"revoked {found.id}, {found.name}")


def _caps(**given: list[str] | None) -> list[CapSettings]:
    from understudy.store.settings import cap_of

    return [
        cap_of(cast("Unit", unit), each, option=f"--max-{unit}")
        for unit, texts in given.items()
        for each in texts or ()
    ]


def _tell_news(database: Database, is_first: bool, quiet: bool) -> None:
    """What a key changes beside itself."""
    if database.is_new and not quiet:
        complain(f"{database.where}: made a new store")
    if is_first:
        complain(
            "this is its first key: within seconds its gateway answers nobody without one, and "
            "shows its dashboard only to a key with --scope dashboard"
        )


def _database(store: str, make: bool = False) -> closing[Database]:
    from understudy.store.database import open_database
    from understudy.store.settings import store_url

    return closing(open_database(store_url(store), make=make))


def _seconds(length: str) -> float:
    from understudy.store.windows import minutes_of

    minutes = minutes_of(length)
    if not 0 < minutes <= _LONGEST_MINUTES:
        raise ConfigError(
            f"--expires {length}: write a length such as 90d or 12h, at most 36500d; without it a "
            "key never expires"
        )
    return minutes * 60.0


def _state(key: Key, now: float) -> str:
    if key.expires is not None and (key.revoked or now) >= key.expires:
        return f"expired {_date(key.expires)}"
    if key.revoked is not None:
        return "revoked"
    return "live" if key.expires is None else f"live until {_date(key.expires)}"


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _plain(key: Key) -> dict[str, Any]:
    from dataclasses import asdict

    caps = [cap.model_dump(exclude_defaults=True) for cap in key.caps]
    return asdict(key) | {"caps": caps}
