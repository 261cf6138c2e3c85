"""API keys: whoever has one may ask. Only their hashes are kept."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from understudy.errors import ConfigError, LedgerUnavailable
from understudy.store.caps import Cap
from understudy.store.database import Database
from understudy.store.settings import CapSettings
from understudy.store.tables import keys

# What a key may be allowed to do.
SCOPES = {
    "inference": "ask questions and list the models",
    "feedback": "say how good an answer was",
    "stored": "read and delete the completions that it stored",
    "metrics": "read /metrics",
    "dashboard": "look at the dashboard",
    "admin": "everything, for every key",
}
USUAL_SCOPES = ("inference", "feedback", "stored")

_PREFIX = "us-"
_FRESH_SECONDS = 2.0  # after so long the list is read again, beside what goes on
_STALE_SECONDS = 6.0  # after so long it is read first
_SHOWN = 16  # digits of a hash by which it is looked up
_MISS_SECONDS = 0.2  # unknown keys make it read no more often than this

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """A key, without its secret. Times are seconds since 1970."""

    id: str
    name: str
    team: str = ""
    scopes: tuple[str, ...] = USUAL_SCOPES
    dial: float | None = None  # 0 never asks the cloud, 1 always; None: as the policy is set
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    caps: tuple[CapSettings, ...] = ()
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None

    def is_live(self, now: float) -> bool:
        return self.revoked is None and (self.expires is None or now < self.expires)

    @property
    def spends_on(self) -> tuple[str, ...]:
        """The ledger's scopes of a request with this key."""
        team = (f"team:{self.team}",) if self.team else ()
        return ("total", *team, f"key:{self.id}")


class Keys:
    """The keys of a database.

    `find` answers from memory: a new key works at once, one that was revoked elsewhere stops within
    a few seconds, and while the database is unreachable the last known list goes on.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock
        self._known: dict[str, tuple[str, Key]] = {}  # by the beginning of the hash
        self._ids: dict[str, str] = {}  # by id, the beginning of the hash
        self._caps: dict[str, list[Cap]] = {}  # by the ledger's scope
        self._state: tuple[Any, ...] | None = None
        self._read_at = float("-inf")  # by the monotonic clock
        self._lock = threading.Lock()
        self._reading: asyncio.Future[None] | None = None
        # Of its own: whoever keeps the loop's other threads busy keeps nobody from signing in.
        self._thread = ThreadPoolExecutor(1, "keys")

    def create(
        self,
        name: str,
        *,
        team: str = "",
        scopes: Sequence[str] = USUAL_SCOPES,
        dial: float | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        caps: Sequence[CapSettings] = (),
        expires: float | None = None,
    ) -> tuple[Key, str]:
        """A new key and its secret, which nobody can read again.

        A live key of that name is a ConfigError: people could not tell them apart.
        """
        check_key(name, team, scopes, dial)
        key_id = f"key_{secrets.token_hex(6)}"
        own = tuple(cap.model_copy(update={"scope": f"key:{key_id}"}) for cap in caps)
        key = Key(
            *(key_id, name, team, tuple(scopes), dial, requests_per_minute, tokens_per_minute),
            *(own, self._clock(), expires),
        )
        secret = _PREFIX + secrets.token_urlsafe(32)
        row = {
            **{each: getattr(key, each) for each in _PLAIN},
            "hash": _hash(secret),
            "scopes": json.dumps(key.scopes),
            "caps": json.dumps([cap.model_dump(exclude_defaults=True) for cap in own]),
        }
        alike = (keys.c.name == name) & keys.c.revoked.is_(None)
        with self._database.writing() as connection:
            # An expired key is no longer called so.
            expired = update(keys).where(alike, keys.c.expires <= key.created)
            connection.execute(expired.values(revoked=keys.c.expires))
            other = connection.execute(select(keys.c.id).where(alike)).scalar()
            if other is not None:
                raise ConfigError(
                    f"key {name}: there is one of that name, {other}; use another name, or end "
                    f"that one with understudy keys revoke {other}"
                )
            try:
                connection.execute(insert(keys), row)
            except IntegrityError:  # another process made it meanwhile
                raise ConfigError(
                    f"key {name}: there is one of that name by now; see understudy keys list, or "
                    "use another name"
                ) from None
        self._read_at = float("-inf")
        return key, secret

    def all(self) -> list[Key]:
        """Oldest first, those that are not live too."""
        with self._database.reading() as connection:
            return [_key(row) for row in connection.execute(select(keys).order_by(keys.c.created))]

    def revoke(self, which: str) -> Key:
        """No request with this key is answered any more. which: its id, or its name if no other
        live key has it."""
        live = keys.c.revoked.is_(None) & or_(keys.c.id == which, keys.c.name == which)
        with self._database.writing() as connection:
            found = connection.execute(select(keys).where(live)).all()
            if len(found) != 1:
                several = ", ".join(row.id for row in found)
                why = f"there are several: {several}" if found else "there is no such live key"
                raise ConfigError(f"key {which}: {why}; see understudy keys list")
            now = self._clock()
            connection.execute(update(keys).where(keys.c.id == found[0].id).values(revoked=now))
        self._read_at = float("-inf")
        return replace(_key(found[0]), revoked=now)

    def named(self, which: str) -> Key | None:
        """A key by its id, or by its name if no other key has it; None: there is none."""
        found = [key for key in self.all() if which in (key.id, key.name)]
        if len(found) > 1:
            several = ", ".join(key.id for key in found)
            raise ConfigError(f"key {which}: there are several: {several}; give one's id")
        return found[0] if found else None

    async def find(self, secret: str) -> Key | None:
        """The live key with this secret; None: unknown, revoked or expired."""
        digest = _hash(secret)
        await self._look_up(digest[:_SHOWN] in self._known)
        known, key = self._known.get(digest[:_SHOWN], ("", None))
        same = hmac.compare_digest(known, digest)  # in a time that says nothing
        return key if same and key is not None and key.is_live(self._clock()) else None

    async def by_id(self, key_id: str) -> tuple[Key, str] | None:
        """A live key and its hash, with which whatever it opened can be sealed."""
        await self._look_up(key_id in self._ids)
        digest, key = self._known.get(self._ids.get(key_id, ""), ("", None))
        return (key, digest) if key is not None and key.is_live(self._clock()) else None

    @property
    def none_known(self) -> bool:
        """Whether there was no key at all when they were last read."""
        return not self._known

    async def exist(self) -> bool:
        """Whether there is any key. One that expired or was revoked is one: what asked for keys
        once does not stop to."""
        if self.none_known:
            await self._look_up(True)
        return not self.none_known

    def caps_of(self, scope: str) -> Sequence[Cap]:
        """The caps of one key, by the ledger's scope: for `Ledger(caps_of=...)`."""
        return self._caps.get(scope, ())

    def read(self) -> None:
        """Read the list, if it changed."""
        with self._lock, self._database.reading() as connection:
            # Keys are made and revoked, nothing else: where no number grew, nothing changed.
            numbers = select(func.count(), func.count(keys.c.revoked)).select_from(keys)
            state = tuple(connection.execute(numbers).one())
            if state != self._state:
                rows = connection.execute(select(keys)).all()
                found = {row.hash[:_SHOWN]: (row.hash, _key(row)) for row in rows}
                self._caps = {
                    f"key:{key.id}": [cap.cap() for cap in key.caps]
                    for _, key in found.values()
                    if key.caps
                }
                self._ids = {key.id: begin for begin, (_, key) in found.items()}
                self._known, self._state = found, state
            self._read_at = time.monotonic()

    async def _look_up(self, is_known: bool) -> None:
        """Read the list, beside what goes on where the answer is known and not old."""
        age = time.monotonic() - self._read_at
        if age <= _STALE_SECONDS and is_known:
            if age > _FRESH_SECONDS:
                self._refresh()
        else:
            await asyncio.sleep(max(0.0, _MISS_SECONDS - age))
            await asyncio.shield(self._refresh())

    def _refresh(self) -> asyncio.Future[None]:
        """Read in a thread, once at a time."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._read())
        return self._reading

    async def _read(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self.read)
        except LedgerUnavailable as error:
            if self._state is None:
                raise
            self._read_at = time.monotonic()  # do not try with every request
            log.warning("API keys are as they were last read: %s", error)


_PLAIN = (
    *("id", "name", "team", "dial", "requests_per_minute", "tokens_per_minute"),
    *("created", "expires", "revoked"),
)


def _hash(secret: str) -> str:
    """A secret of 256 random bits needs no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _key(row: Any) -> Key:
    plain = {name: getattr(row, name) for name in _PLAIN}
    caps = tuple(CapSettings.model_validate(each) for each in json.loads(row.caps))
    return Key(**plain, scopes=tuple(json.loads(row.scopes)), caps=caps)


def check_key(name: str, team: str, scopes: Sequence[str], dial: float | None) -> None:
    """Refuse what cannot be a key, before anything is opened."""
    if not name.strip():
        raise ConfigError("a key needs a name, by which people know it")
    if unknown := [each for each in scopes if each not in SCOPES]:
        known = ", ".join(SCOPES)
        raise ConfigError(f"scope {unknown[0]}: use some of {known}, each given by itself")
    if dial is not None and not 0 <= dial <= 1:
        raise ConfigError(f"dial={dial}: use a number from 0 (never asks) to 1 (always)")
    if team and team.strip() != team:
        raise ConfigError(f"team {team!r}: has spaces around it")
