"""The database: an SQLite file, or PostgreSQL by its URL; one code for both.

SQLite: write-ahead log, one writer at a time (BEGIN IMMEDIATE). A commit survives `kill -9`; with
`durable` it is flushed to the disk as well, and survives loss of power (synchronous=FULL). Without
(NORMAL), the last second before a loss of power may be missing (checkpoints.py), and nothing is
torn.
PostgreSQL: as its own synchronous_commit says, which is on unless somebody turned it off.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    Engine,
    MetaData,
    Table,
    create_engine,
    event,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from understudy.errors import ConfigError, LedgerUnavailable
from understudy.store import tables
from understudy.store.upgrades import upgrade_ledger

Value = TypeVar("Value")

_BUSY_SECONDS = 10.0  # how long one writer of SQLite waits for another
_LOG_PAGES = 16_000  # 64 MB: long before that checkpoints.py has seen to it
_UPGRADE_LOCK = 7_326_459  # any number: replicas that start at once make the tables once
_POSTGRES = {"connect_timeout": 3, "tcp_user_timeout": 5000}  # what a URL says itself goes before
_SILENT: Mapping[str, Any] = {"hide_parameters": True}  # errors do not quote what was written
_SECRETS = {"password", "sslpassword"}  # in what follows the ? of a URL
_POSTGRES_OPTIONS = "-c statement_timeout=5000 -c lock_timeout=5000 -c timezone=UTC"


class NoStoreError(ConfigError):
    """No gateway has kept anything there."""


class Database:
    """Transactions that are whole or not at all; what fails is `LedgerUnavailable`."""

    def __init__(self, engine: Engine, *, durable: bool = False) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self.is_new = False  # its tables were made just now
        # A commit is a few writes to the system's cache: quicker than to hand it to a thread.
        self.is_quick = self.is_sqlite and not durable
        self.driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error
        self.value_error: type[Exception] = engine.dialect.loaded_dbapi.DataError
        self._reading = engine.execution_options(reads_only=True)

    def __repr__(self) -> str:
        return f"Database({self.where})"

    @property
    def where(self) -> str:
        """The file of SQLite, or the URL without its password, wherever that stands in it."""
        hidden = dict.fromkeys(_SECRETS & self.engine.url.query.keys(), "hidden")
        url = self.engine.url.update_query_dict(hidden)
        return str(self.file or url.render_as_string(hide_password=True))

    @property
    def file(self) -> Path | None:
        """Of SQLite; None: of PostgreSQL, or in memory."""
        name = self.engine.url.database
        return Path(name) if self.is_sqlite and name and name != ":memory:" else None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes."""
        with self._translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that reads: it waits for no writer, and none waits for it."""
        with self._translated(), self._reading.begin() as connection:
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise self.unavailable(error) from error

    def unavailable(self, error: Exception) -> LedgerUnavailable:
        """PostgreSQL's details may quote what was to be written, which is nobody's to read."""
        cause: Any = getattr(error, "orig", None) or error
        said = getattr(getattr(cause, "diag", None), "message_primary", None) or str(cause)
        cause = " ".join(said.split())
        return LedgerUnavailable(f"{self.where}: cannot be used now ({cause})")

    def checkpoint(self, mode: str = "PASSIVE") -> None:
        """SQLite: copy the write-ahead log into the database, as far as nobody needs it any more.
        TRUNCATE: all of it, and empty the log."""
        if not self.is_sqlite:
            return
        connection = self.engine.raw_connection()
        try:
            driver: Any = connection.driver_connection
            driver.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        except self.driver_error as error:
            raise self.unavailable(error) from error
        finally:
            connection.close()

    def close(self) -> None:
        """The last connection to a file of SQLite takes the write-ahead log in and removes it."""
        self.engine.dispose()


class SteadyConnection:
    """One connection that stays open, for what is written again and again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None

    def run(self, work: Callable[[Connection], Value]) -> Value:
        """`work` in a transaction."""
        try:
            if self._connection is None:
                self._connection = self._database.engine.connect()
            with self._connection.begin():
                return work(self._connection)
        except SQLAlchemyError as error:
            self.drop()
            raise self._database.unavailable(error) from error
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Close it; the next transaction connects anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def open_database(url: str | Path, *, durable: bool = False, make: bool = True) -> Database:
    """The ledger's database. url: a file, sqlite:///file, sqlite:// (in memory) or
    postgresql://...

    make: its tables, where they are not there; else that is refused, and nothing is written.
    """
    return _opened(_parsed(url), tables.LEDGER, durable, make)


def open_events(url: str | Path, *, durable: bool = False, make: bool = True) -> Database:
    """The database of events for the same URL. With SQLite it is a file beside the ledger's, so
    that no reservation waits while events are written, exported or deleted."""
    parsed = _parsed(url)
    if parsed.drivername.startswith("sqlite") and parsed.database:
        file = Path(parsed.database)
        parsed = parsed.set(database=str(file.with_name(f"{file.stem}-events{file.suffix}")))
    return _opened(parsed, tables.EVENTS, durable, make)


def _parsed(url: str | Path) -> URL:
    given = str(url)
    if "://" not in given:
        return URL.create("sqlite", database=given)
    try:
        parsed = make_url(given)
    except (ArgumentError, ValueError):
        raise ConfigError(
            "the ledger's URL cannot be read; give a file or postgresql://..."
        ) from None
    kind = parsed.drivername.partition("+")[0]
    if kind in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if kind != "sqlite":
        raise ConfigError(f"{kind}://: is no database of ours; give a file or postgresql://...")
    return parsed


def _opened(url: URL, metadata: MetaData, durable: bool, make: bool) -> Database:
    if not url.drivername.startswith("sqlite"):
        engine = _postgres(url)
    elif make or _has_tables(url, metadata):
        engine = _sqlite(url, durable, overwrites=metadata is tables.EVENTS)
    else:
        raise _nothing_there(url.database or "", metadata)
    database = Database(engine, durable=durable)
    try:
        with engine.begin() as connection:
            _make(connection, metadata, database, make)
    except ConfigError:
        database.close()
        raise
    except SQLAlchemyError as error:
        raise database.unavailable(error) from error
    return database


def _has_tables(url: URL, metadata: MetaData) -> bool:
    """Looked at without writing a byte: it may be somebody else's file."""
    file = Path(url.database or "")
    if not url.database or not file.exists():
        return False
    look = "SELECT 1 FROM sqlite_master WHERE name = ?"
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as opened:
            return opened.execute(look, [_version_of(metadata).name]).fetchone() is not None
    except sqlite3.OperationalError:
        return True  # what is wrong is said when it is opened
    except sqlite3.DatabaseError:
        return False  # it is no database


def _version_of(metadata: MetaData) -> Table:
    return tables.schema if metadata is tables.LEDGER else tables.events_schema


def _nothing_there(where: str, metadata: MetaData) -> NoStoreError:
    kept = "keys and ledger" if metadata is tables.LEDGER else "events"
    return NoStoreError(
        f"{where}: no gateway keeps its {kept} there; name the store that `understudy serve` has"
    )


def _sqlite(url: URL, durable: bool, *, overwrites: bool) -> Engine:
    """overwrites: what is deleted."""
    options: dict[str, Any] = {"isolation_level": None, "check_same_thread": False}
    options["timeout"] = _BUSY_SECONDS
    if url.database and url.database != ":memory:":
        _make_private(Path(url.database))
        engine = create_engine(url, connect_args=options, **_SILENT, paramstyle="named")
    else:
        engine = create_engine(
            url, connect_args=options, **_SILENT, paramstyle="named", poolclass=StaticPool
        )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        connection.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")
        if overwrites:
            connection.execute("PRAGMA secure_delete=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("reads_only")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _make_private(file: Path) -> None:
    """A file that nobody else may read, as what was asked is in it.

    One that is there is not opened here: closing it would give up the locks that SQLite has on it
    in this process.
    """
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        if not file.is_file() or not os.access(file, os.R_OK | os.W_OK):
            raise ConfigError(f"{file}: is no file that can be read and written") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be opened ({error.strerror})") from None


def _postgres(url: URL) -> Engine:
    given = {name: value for name, value in _POSTGRES.items() if name not in url.query}
    options = url.query.get("options", "")
    words = (_POSTGRES_OPTIONS, *((options,) if isinstance(options, str) else options))
    try:
        return create_engine(
            url,
            connect_args=given | {"options": " ".join(words)},
            **_SILENT,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
        )
    except (NoSuchModuleError, ImportError):
        raise ConfigError(
            "postgresql://...: needs psycopg; pip install 'psycopg[binary]'"
        ) from None


def _make(connection: Connection, metadata: MetaData, database: Database, make: bool) -> None:
    """The tables, in the version that this code writes."""
    table = _version_of(metadata)
    if not make and not inspect(connection).has_table(table.name):
        raise _nothing_there(database.where, metadata)
    if not database.is_sqlite:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _UPGRADE_LOCK})
    metadata.create_all(connection)
    is_ledger = metadata is tables.LEDGER
    wanted = tables.LEDGER_VERSION if is_ledger else tables.EVENTS_VERSION
    found = connection.execute(select(table.c.version)).scalar()
    if found is None:
        connection.execute(insert(table), {"version": wanted})
        database.is_new = True
        return
    if is_ledger:
        found = upgrade_ledger(connection, found)
    if found != wanted:
        raise ConfigError(
            f"{database.where} has tables of version {found}, this program writes version "
            f"{wanted}; use the program that made it, or another database"
        )
