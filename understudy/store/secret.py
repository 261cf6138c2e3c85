"""A secret of the server that is not in its database.

What it seals cannot be forged by somebody who reads the database or a backup of it. It is an
environment variable, which all replicas have alike; else, with SQLite, a file beside the database;
else it is made anew for each process.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from understudy.errors import ConfigError
from understudy.store.database import Database

_SHORTEST = 16  # characters


def server_secret(database: Database, variable: str) -> bytes | None:
    """variable: of the environment. None: neither it nor a file is there."""
    if given := os.environ.get(variable, ""):
        if len(given) < _SHORTEST:
            raise ConfigError(f"{variable}: has {len(given)} characters; use {_SHORTEST} or more")
        return given.encode("utf-8", "surrogateescape")
    store = database.file
    return None if store is None else _kept(store.with_name(f"{store.stem}-secret"))


def _kept(file: Path) -> bytes:
    """The secret in a file, which is made where it is not there."""
    try:
        if not file.exists():
            _make(file)
        if file.stat().st_mode & 0o077:
            raise ConfigError(f"{file}: others may read it; delete it, and a new one is made")
        found = file.read_text().strip()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(f"{file}: cannot be read or made ({why})") from None
    if len(found) < _SHORTEST:
        raise ConfigError(f"{file}: has no secret; delete it, and a new one is made")
    return found.encode()


def _make(file: Path) -> None:
    """Whole or not at all, and once, if several processes start together."""
    new = file.with_name(f"{file.name}.{secrets.token_hex(6)}")
    opened = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with open(opened, "w") as stream:
            stream.write(secrets.token_urlsafe(32) + "\n")
        os.link(new, file)
    except FileExistsError:
        pass  # another process was first
    finally:
        new.unlink()
