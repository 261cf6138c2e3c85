"""The tables. Money is whole picodollars; times are seconds since 1970, minutes are whole ones."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

# What must be right to the last picodollar, and what is written seldom.
LEDGER = MetaData()
# One row per request: large, written in batches. With SQLite it is a file of its own.
EVENTS = MetaData()

# Raised with every change of a table; upgrades.py knows the way from earlier ones.
LEDGER_VERSION, EVENTS_VERSION = 2, 1

schema = Table("schema", LEDGER, Column("version", Integer, nullable=False))
events_schema = Table("events_schema", EVENTS, Column("version", Integer, nullable=False))


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, default=0, server_default="0")


# What was spent, by the minute in which room for it was reserved. Never thrown away by a window:
# accounts are sums of these.
minutes = Table(
    "minutes",
    LEDGER,
    Column("scope", Text, primary_key=True),
    Column("minute", BigInteger, primary_key=True),
    _count("calls"),
    _count("tokens"),
    _count("dollars"),
    sqlite_with_rowid=False,
)

# What a scope spent and holds in the window of a cap: see caps.Account.
accounts = Table(
    "accounts",
    LEDGER,
    Column("name", Text, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("window", Text, nullable=False),
    Column("start", BigInteger, nullable=False),
    _count("seen"),
    _count("calls"),
    _count("tokens"),
    _count("dollars"),
    _count("held_calls"),
    _count("held_tokens"),
    _count("held_dollars"),
    Index("accounts_scope", "scope"),
    sqlite_with_rowid=False,
)

_HOLD = (
    ("request_id", Text),
    ("cloud", Text),
    ("scopes", Text),  # JSON
    ("minute", BigInteger),
    ("calls", BigInteger),
    ("prompt_tokens", BigInteger),
    ("completion_tokens", BigInteger),
    ("dollars", BigInteger),
)

# Room that is reserved for calls under way.
holds = Table(
    "holds",
    LEDGER,
    Column("id", Text, primary_key=True),
    *(Column(name, kind, nullable=False) for name, kind in _HOLD),
    Column("owner", Text, nullable=False),  # the process that made it: see recovery.py
    Column("created", Float(53), nullable=False),
    Column("expires", Float(53), nullable=False),
    sqlite_with_rowid=False,
)

# Holds whose process was gone or silent, and what was charged for them.
resolved = Table(
    "resolved",
    LEDGER,
    Column("id", Text, primary_key=True),
    *(Column(name, kind, nullable=False) for name, kind in _HOLD),
    Column("how", Text, nullable=False),  # "usage" or "upper bound"
    Column("at", Float(53), nullable=False),
)

_LIVE = text("revoked IS NULL")
keys = Table(
    "keys",
    LEDGER,
    Column("id", Text, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("scopes", Text, nullable=False),  # JSON
    Column("dial", Float),
    Column("requests_per_minute", Integer),
    Column("tokens_per_minute", Integer),
    Column("caps", Text, nullable=False),  # JSON
    Column("created", Float(53), nullable=False),
    Column("expires", Float(53)),
    Column("revoked", Float(53)),
    # One that was revoked leaves its name to others, and so does an expired one: see keys.py.
    Index("keys_name", "name", unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE),
)

# Adapters by name@step, and which one of a name served from when on.
versions = Table(
    "versions",
    LEDGER,
    Column("name", Text, primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("folder", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("notes", Text, nullable=False),  # JSON
    Column("created", Float(53), nullable=False),
)
serving = Table(
    "serving",
    LEDGER,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False),
    Column("step", BigInteger),  # None: the model as it is, without an adapter
    Column("since", Float(53), nullable=False),
    Column("why", Text, nullable=False),
    Column("is_rollback", Boolean, nullable=False),
)

# Text that has keys of its own, which PostgreSQL and SQLite can both look into.
_JSON = JSON().with_variant(JSONB(), "postgresql")

events = Table(
    "events",
    EVENTS,
    Column("id", Text, primary_key=True),  # the completion's
    Column("request_id", Text, nullable=False),
    Column("at", Float(53), nullable=False),
    Column("key", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("conversation", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("answered_by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("cloud", Text, nullable=False),
    Column("asked", Boolean, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),  # of the answer that was given
    Column("completion_tokens", BigInteger, nullable=False),
    Column("calls", BigInteger, nullable=False),  # of clouds, and what they took
    Column("cloud_prompt_tokens", BigInteger, nullable=False),
    Column("cloud_completion_tokens", BigInteger, nullable=False),
    Column("dollars", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("first_token_seconds", Float),
    Column("signals", _JSON, nullable=False),
    Column("train_on_replies", Boolean, nullable=False),
    Column("stored", Boolean, nullable=False),  # the caller said store: true
    Column("metadata", _JSON, nullable=False),
    Column("request", Text),  # JSON: the body, where text is kept
    Column("answer", Text),  # JSON: the completion, where text is kept
    Index("events_at", "at", "id"),
    Index("events_key", "key", "at"),
    Index("events_request", "request_id"),
    Index("events_conversation", "conversation", "at"),
)
feedback = Table(
    "feedback",
    EVENTS,
    Column("id", Text, primary_key=True),
    Column("at", Float(53), nullable=False),
    Column("event", Text, nullable=False),  # "": of a whole conversation
    Column("conversation", Text, nullable=False),
    Column("key", Text, nullable=False),  # of whoever gave it
    Column("metric", Text, nullable=False),
    Column("value", _JSON, nullable=False),
    Column("comment", Text, nullable=False),
    Column("tags", _JSON, nullable=False),
    Index("feedback_event", "event"),
    Index("feedback_conversation", "conversation"),
    Index("feedback_at", "at"),
)

# Sums of events, for looking at: see rollups.py. Columns that are not of the key add.
rollups = Table(
    "rollups",
    EVENTS,
    Column("span", Integer, primary_key=True),  # minutes
    Column("start", BigInteger, primary_key=True),  # the first of them
    Column("key", Text, primary_key=True),
    Column("answered_by", Text, primary_key=True),
    _count("requests"),
    _count("asked"),
    _count("tokens"),  # of the questions and answers that were given
    _count("cloud_tokens"),
    _count("dollars"),
    sqlite_with_rowid=False,
)
rollup_times = Table(
    "rollup_times",
    EVENTS,
    Column("span", Integer, primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("measure", Text, primary_key=True),  # until the first token, or the whole answer
    Column("answered_by", Text, primary_key=True),
    Column("bucket", Integer, primary_key=True),  # see quantiles.py
    _count("requests"),
    sqlite_with_rowid=False,
)
