"""Statements of SQLAlchemy Core, compiled once for each database and then run by its driver.

For what is done with every request: what SQLAlchemy does around a statement takes several times as
long as SQLite takes to run it.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import BindParameter, Connection, Dialect, bindparam
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import ClauseElement

from understudy.store.database import Database

Value = TypeVar("Value")
Parameters = Mapping[str, Any]

_AGAIN = {"40001", "40P01"}  # PostgreSQL: serialization failure, deadlock
_ATTEMPTS = 8


class Statement:
    """make: the statement in one of the dialects (sqlite, postgresql), given the bound values of
    its list; a list is as long as a power of four, and its last value fills it up."""

    def __init__(self, make: Callable[[str, Sequence[BindParameter[Any]]], ClauseElement]) -> None:
        self._make = make
        self._texts: dict[tuple[str, int], str] = {}

    def text(self, dialect: Dialect, size: int = 0) -> str:
        text = self._texts.get((dialect.name, size))
        if text is None:
            made = self._make(dialect.name, [bindparam(f"_{n}") for n in range(size)])
            text = self._texts[dialect.name, size] = str(made.compile(dialect=dialect))
        return text


class BusyError(Exception):
    """Another connection is writing, and this one does not wait."""


class Driver:
    """A connection in a transaction."""

    def __init__(self, connection: Connection) -> None:
        self.dialect = connection.dialect
        raw: Any = connection.connection.driver_connection
        self.raw, self._cursor = raw, raw.cursor()

    def rows(
        self, statement: Statement, parameters: Parameters | None = None, among: Sequence[str] = ()
    ) -> list[tuple[Any, ...]]:
        """What a statement gives. among: the values of its list."""
        given: Parameters = parameters or {}
        size = 0
        if among:
            size = 4
            while size < len(among):
                size *= 4
            filled = [*among, *[among[-1]] * (size - len(among))]
            given = {**given, **{f"_{n}": value for n, value in enumerate(filled)}}
        self._cursor.execute(statement.text(self.dialect, size), given)
        found: list[tuple[Any, ...]] = self._cursor.fetchall()
        return found

    def write(self, statement: Statement, rows: Sequence[Parameters]) -> None:
        text = statement.text(self.dialect)
        if len(rows) == 1:
            self._cursor.execute(text, rows[0])
        else:
            self._cursor.executemany(text, rows)


class SteadyDriver:
    """One connection that stays open, for what is written with every request.

    waits: whether it waits for another writer; else BusyError.
    """

    def __init__(self, database: Database, *, waits: bool = True) -> None:
        self._database, self._waits = database, waits
        self._connection: Connection | None = None
        self._driver: Driver | None = None

    def run(self, work: Callable[[Driver], Value]) -> Value:
        """`work` in a transaction; again where another transaction was in its way."""
        failure = self._database.driver_error
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                driver = self._driver or self._connect()
                self._begin(driver)
                found = work(driver)
                driver.raw.commit()
                return found
            except (failure, SQLAlchemyError) as error:
                if attempt < _ATTEMPTS and _is_conflict(error) and self._rolled_back():
                    time.sleep(random.uniform(0, 0.005 * 2**attempt))
                    continue
                self.drop()
                if isinstance(error, self._database.value_error):  # trying again will not help
                    raise ValueError(f"the ledger's database refused a value ({error})") from error
                raise self._database.unavailable(error) from error
            except BusyError:
                raise
            except BaseException:
                self.drop()
                raise
        raise AssertionError("the last attempt returns or raises")

    def _connect(self) -> Driver:
        connection = self._connection = self._database.engine.connect()
        self._driver = Driver(connection)
        if self._database.is_sqlite and not self._waits:
            self._driver.raw.execute("PRAGMA busy_timeout = 0")
        return self._driver

    def _begin(self, driver: Driver) -> None:
        if not self._database.is_sqlite:
            return  # psycopg begins by itself
        try:
            driver.raw.execute("BEGIN IMMEDIATE")
        except self._database.driver_error as error:
            if not self._waits and getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                raise BusyError from None
            raise

    def _rolled_back(self) -> bool:
        try:
            if self._driver is not None:
                self._driver.raw.rollback()
        except self._database.driver_error:
            return False
        return True

    def interrupt(self) -> None:
        """From another thread: end a transaction that the server does not answer. SQLite has its
        own limit for waiting."""
        driver = self._driver
        if driver is None or self._database.is_sqlite:
            return
        with contextlib.suppress(OSError, self._database.driver_error):
            own = socket.socket(fileno=os.dup(driver.raw.pgconn.socket))
            with own:
                own.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """Close it; the next transaction connects anew."""
        self._rolled_back()  # SQLite keeps a transaction open for as long as anybody has a cursor
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def close(self) -> None:
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            connection.close()


def _is_conflict(error: BaseException) -> bool:
    """Whether PostgreSQL rolled back for another transaction's sake, so that trying again helps."""
    return getattr(error, "sqlstate", None) in _AGAIN
