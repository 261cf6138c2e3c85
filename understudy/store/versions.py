"""Adapters by name@step: where each lies, which one serves, and which served when."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from understudy.errors import ConfigError
from understudy.store.database import Database
from understudy.store.tables import serving, versions


@dataclass(frozen=True, slots=True)
class Version:
    """An adapter that can serve. Its weights never change: other weights are another step."""

    name: str
    step: int
    folder: Path
    digest: str = ""  # of its weights
    notes: Mapping[str, Any] = field(default_factory=dict)  # how it was examined, what made it
    created: float = 0.0

    def __str__(self) -> str:
        return f"{self.name}@{self.step}"


@dataclass(frozen=True, slots=True)
class Served:
    """From `since` on this version served; step None: the model as it is, without an adapter."""

    name: str
    step: int | None
    since: float
    why: str
    is_rollback: bool = False

    def __str__(self) -> str:
        return self.name if self.step is None else f"{self.name}@{self.step}"


class Versions:
    """The versions in a database. Whoever serves reads `serving` every so often."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def add(
        self,
        name: str,
        step: int,
        folder: Path,
        digest: str = "",
        notes: Mapping[str, Any] | None = None,
    ) -> Version:
        """A version that is there, and does not serve yet."""
        if not name or "@" in name:
            raise ConfigError(f"version {name!r}: a name is not empty and has no @ in it")
        version = Version(name, step, folder, digest, dict(notes or {}), self._clock())
        with self._database.writing() as connection:
            if _find(connection, name, step) is not None:
                raise ConfigError(f"{version}: is there already; other weights are another step")
            row = {
                **{each: getattr(version, each) for each in ("name", "step", "digest", "created")},
                "folder": str(folder),
                "notes": json.dumps(version.notes),
            }
            connection.execute(insert(versions), row)
        return version

    def all(self, name: str | None = None) -> list[Version]:
        """Oldest first."""
        query = select(versions).order_by(versions.c.name, versions.c.step)
        if name is not None:
            query = query.where(versions.c.name == name)
        with self._database.reading() as connection:
            return [_version(row) for row in connection.execute(query)]

    def find(self, version: str) -> Version:
        """By name@step."""
        name, step = parsed(version)
        with self._database.reading() as connection:
            row = None if step is None else _find(connection, name, step)
        if row is None:
            known = ", ".join(map(str, self.all(name))) or "none"
            raise ConfigError(f"{version}: is no version here; {name} has {known}")
        return _version(row)

    def promote(self, version: str, why: str) -> Served:
        """From now on it serves. version: name@step, or the name: without an adapter."""
        name, step = parsed(version)
        if step is not None:
            self.find(version)
        with self._database.writing() as connection:
            return self._serve(connection, name, step, why, is_rollback=False)

    def roll_back(self, name: str, why: str) -> Served:
        """What served before serves again; again and again: ever earlier ones."""
        with self._database.writing() as connection:
            steps = _standing(_history(connection, name))
            if len(steps) < 2:
                raise ConfigError(f"{name}: no version served before the present one")
            return self._serve(connection, name, steps[-2], why, is_rollback=True)

    def serving(self, name: str) -> Served | None:
        """None: nothing was ever promoted."""
        past = self.history(name)
        return past[-1] if past else None

    def history(self, name: str) -> list[Served]:
        """What served, oldest first."""
        with self._database.reading() as connection:
            return _history(connection, name)

    def _serve(
        self, connection: Connection, name: str, step: int | None, why: str, *, is_rollback: bool
    ) -> Served:
        served = Served(name, step, self._clock(), why, is_rollback)
        connection.execute(insert(serving), asdict(served))
        return served


def parsed(version: str) -> tuple[str, int | None]:
    """The name and the step of name@step; a name alone has none."""
    name, at, step = version.partition("@")
    if not name or (at and not step.isdecimal()):
        raise ConfigError(f"version {version!r}: write name@step, or the name")
    return name, int(step) if at else None


def _standing(past: list[Served]) -> list[int | None]:
    """The steps that a rollback can go back along; what was rolled back is not among them."""
    steps: list[int | None] = [None]
    for each in past:
        if each.is_rollback:
            steps.pop()
        elif each.step != steps[-1]:
            steps.append(each.step)
    return steps


def _find(connection: Connection, name: str, step: int) -> Any:
    which = (versions.c.name == name) & (versions.c.step == step)
    return connection.execute(select(versions).where(which)).one_or_none()


def _history(connection: Connection, name: str) -> list[Served]:
    query = select(serving).where(serving.c.name == name).order_by(serving.c.id)
    columns = ("name", "step", "since", "why", "is_rollback")
    rows = connection.execute(query)
    return [Served(*(getattr(row, each) for each in columns)) for row in rows]


def _version(row: Any) -> Version:
    notes = json.loads(row.notes)
    return Version(row.name, row.step, Path(row.folder), row.digest, notes, row.created)
