"""The ledger: room is reserved before a call and settled after it, and caps hold at every moment.

What is spent and held never passes a cap, as long as no call settles for more than was held for it;
where one does, it is charged all the same and counted in `overruns`. Room is refused only where it
is not there. A call belongs to the window in which its room was reserved.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import delete, func, insert, select

from understudy.store.accounts import Accounts, NamedCap
from understudy.store.caps import (
    PICODOLLARS,
    Amounts,
    Cap,
    Refusal,
    Room,
    granted,
    in_unit,
    left_of,
    room_of,
    uncountable,
)
from understudy.store.database import Database
from understudy.store.operations import (
    Ending,
    Hold,
    Look,
    Operation,
    Release,
    Reserve,
    Resolve,
    Resolved,
    Result,
    Scopes,
    See,
    Settle,
    Standing,
)
from understudy.store.owner import Owner
from understudy.store.statements import BusyError, Driver, Statement, SteadyDriver
from understudy.store.tables import holds, minutes, resolved
from understudy.types import Cost

_MOST_SCOPES = 10_000  # whose caps are remembered

HOLD_SECONDS = 120.0  # a hold expires unless its process says that it is alive: see recovery.py

_Row = namedtuple("_Row", [column.name for column in holds.columns])  # type: ignore[misc]
_Late = namedtuple("_Late", [column.name for column in resolved.columns])  # type: ignore[misc]

_HELD = Statement(lambda *_: insert(holds))
_TAKEN = Statement(lambda _, ids: delete(holds).where(holds.c.id.in_(ids)).returning(holds))
_RESOLVED = Statement(lambda *_: insert(resolved))
_LATE = Statement(lambda _, ids: delete(resolved).where(resolved.c.id.in_(ids)).returning(resolved))


class Ledger:
    """Caps over a database. From any number of threads and processes.

    caps: the configuration's. caps_of: further caps of a scope, such as those of one key.
    read_caps: brings what `caps_of` knows up to date.
    """

    def __init__(
        self,
        database: Database,
        caps: Iterable[Cap] = (),
        *,
        caps_of: Callable[[str], Collection[Cap]] | None = None,
        read_caps: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
        hold_seconds: float = HOLD_SECONDS,
    ) -> None:
        self.database, self.caps, self.clock = database, tuple(caps), clock
        self.hold_seconds, self.read_caps = hold_seconds, read_caps
        self.owner = Owner.mine()
        self.transactions = 0  # so far, of this process
        self.overruns = 0  # calls that cost more than was held for them
        self._caps_of = caps_of
        self._steady = SteadyDriver(database)
        self._quick = SteadyDriver(database, waits=False)
        self._lock = threading.Lock()
        self._covering: dict[str, list[NamedCap]] = {}
        self._summed_up: set[str] = set()
        self._numbers = itertools.count()

    def caps_on(self, scope: str) -> Sequence[NamedCap]:
        """The caps on a scope, each with the name of its account."""
        found = self._covering.get(scope)
        if found is None:
            if len(self._covering) >= _MOST_SCOPES:
                self._covering.clear()
            found = [(cap, cap.account(scope)) for cap in self.caps if cap.covers(scope)]
            self._covering[scope] = found
        own = self._caps_of(scope) if self._caps_of is not None else ()
        return [*found, *((cap, cap.account(scope)) for cap in own)] if own else found

    def run(self, operations: Sequence[Operation], *, waits: bool = True) -> list[Result]:
        """All of these in one transaction; a result for each, in their order.

        What came, settlements and releases go before reservations. waits: for another connection
        that writes; else BusyError.
        """
        if not self._lock.acquire(blocking=waits):
            raise BusyError
        try:
            steady = self._steady if waits else self._quick
            done = steady.run(lambda driver: self._apply(driver, operations))
            self.transactions += 1
            self._summed_up.update(done.names)
            self.overruns += done.overruns
            return done.results
        finally:
            self._lock.release()

    def see(self, scopes: Scopes, questions: int = 1) -> None:
        self.run([See(scopes, questions)])

    def reserve(
        self, scopes: Scopes, most: Cost, least: Cost | None = None, **about: str
    ) -> Hold | Refusal:
        if (refusal := uncountable(most)) is not None:
            return refusal
        found = self.run([Reserve(scopes, most, least or most, **about)])[0]
        assert isinstance(found, Hold | Refusal)
        return found

    def settle(self, hold: Hold, cost: Cost) -> None:
        self._end(Settle(hold, cost))

    def release(self, hold: Hold) -> None:
        self._end(Release(hold))

    def resolve(self, hold: Hold, cost: Cost | None) -> Resolved | None:
        """Charge for a hold that nobody settled; None: somebody did meanwhile."""
        found = self.run([Resolve(hold, cost)])[0]
        return found if isinstance(found, Resolved) else None

    def standing(self, scopes: Scopes) -> list[Standing]:
        found = self.run([Look(scopes)])[0]
        assert isinstance(found, list)
        return found

    def spent(self, scope: str, since: float = 0, until: float | None = None) -> Cost:
        """What a scope spent of what was reserved in that time; tokens are not told apart."""
        sums = (func.coalesce(func.sum(minutes.c[name]), 0) for name in Amounts._fields)
        query = select(*sums).where(minutes.c.scope == scope, minutes.c.minute >= since // 60)
        if until is not None:
            query = query.where(minutes.c.minute < until // 60)
        with self.database.reading() as connection:
            calls, tokens, dollars = map(int, connection.execute(query).one())
        return Cost(calls, tokens, dollars=dollars / PICODOLLARS)

    def interrupt(self) -> None:
        """From another thread: give up the transaction that runs."""
        self._steady.interrupt()

    def close(self) -> None:
        with self._lock:
            self._steady.close()
            self._quick.close()
            self.owner.end()

    def _end(self, operation: Settle | Release) -> None:
        found = self.run([operation])[0]
        if isinstance(found, ValueError):
            raise found

    def _apply(self, driver: Driver, operations: Sequence[Operation]) -> _Batch:
        wanted: dict[str, None] = {}
        for each in operations:
            scopes = each.hold.scopes if isinstance(each, Ending) else each.scopes
            wanted.update(dict.fromkeys(scopes))
        caps = {scope: self.caps_on(scope) for scope in wanted}
        now = self.clock()
        books = Accounts(driver, caps, int(now // 60), self._summed_up)
        batch = _Batch(driver, books, now)
        batch.results = [None] * len(operations)
        numbered = list(enumerate(operations))
        for each in operations:
            if isinstance(each, See):
                batch.see(each)
        batch.end([(place, each) for place, each in numbered if isinstance(each, Ending)])
        books.mend()
        refused: dict[tuple[Scopes, Cost], Refusal] = {}  # holds only take room: still refused
        for place, each in numbered:
            if isinstance(each, Reserve):
                wanted_again = (each.scopes, each.least)
                found: Hold | Refusal | None = refused.get(wanted_again)
                if found is None:
                    found = batch.reserve(each, f"{self.owner.token}-{next(self._numbers)}")
                    if isinstance(found, Refusal):
                        refused[wanted_again] = found
                batch.results[place] = found
        for place, each in numbered:
            if isinstance(each, Look):
                batch.results[place] = batch.look(each.scopes)
        batch.write(self.owner.name, now + self.hold_seconds)
        return batch


class _Batch:
    """The work of one transaction."""

    def __init__(self, driver: Driver, books: Accounts, now: float) -> None:
        self._driver, self._books, self._now = driver, books, now
        self._new: list[tuple[Hold, Amounts]] = []
        self._resolved: list[dict[str, Any]] = []
        self.results: list[Result] = []
        self.overruns = 0
        self.names = books.names

    def see(self, operation: See) -> None:
        for cap, account in self._books.capped(operation.scopes):
            if cap.unit == "share":
                account.seen += operation.questions
                self._books.mark(account)

    def reserve(self, operation: Reserve, name: str) -> Hold | Refusal:
        capped = self._books.capped(operation.scopes)
        rooms = [room_of(cap, account, self._now) for cap, account in capped]
        cost = granted(operation.most, operation.least, rooms)
        if isinstance(cost, Refusal):
            return self._refused(cost, rooms)
        starts = (account.start for _, account in capped)
        minute = max(int(self._now // 60), *starts) if capped else int(self._now // 60)
        amounts = Amounts.of(cost)
        for account in self._books.change(operation.scopes, minute):
            account.hold(amounts)
        about = (operation.request_id, operation.cloud, left_of(rooms))
        hold = Hold(cost, name, operation.scopes, minute, *about)
        self._new.append((hold, amounts))
        return hold

    def _refused(self, refusal: Refusal, rooms: Sequence[Room]) -> Refusal:
        """With what is left, and when a rolling window begins to leave something behind."""
        again = refusal.resets_at
        for cap, account, _ in rooms:
            is_it = cap.name == refusal.what and account.scope == refusal.scope
            if refusal.final and is_it and cap.window.kind == "rolling":
                first = self._books.first_minute(account)
                again = None if first is None else (first + cap.window.minutes + 1) * 60.0
        return replace(refusal, left=left_of(rooms), resets_at=again)

    def end(self, operations: Sequence[tuple[int, Ending]]) -> None:
        """Settle, release and resolve; each hold once."""
        if not operations:
            return
        # Whoever settles knows better what to charge than whoever resolves.
        operations = sorted(operations, key=lambda each: isinstance(each[1], Resolve))
        ids = [each.hold.id for _, each in operations]
        found = {row[0]: _Row(*row) for row in self._driver.rows(_TAKEN, among=ids)}
        late = {}
        own = (each.hold.id for _, each in operations if not isinstance(each, Resolve))
        if missing := [each for each in own if each not in found]:
            late = {row[0]: _Late(*row) for row in self._driver.rows(_LATE, among=missing)}
        for place, each in operations:
            row: Any = found.pop(each.hold.id, None)
            if row is not None:
                self.results[place] = self._end_open(each, row)
            elif isinstance(each, Resolve):
                continue
            elif (row := late.pop(each.hold.id, None)) is not None:
                self._correct(each, row)
            elif not each.again:
                self.results[place] = ValueError(
                    f"hold {each.hold.id}: was settled or released before, or is of another ledger"
                )

    def _end_open(self, operation: Ending, row: Any) -> Resolved | None:
        held = _amounts(row)
        spent = _spent(operation, row)
        self.overruns += any(more > had for more, had in zip(spent, held, strict=True))
        self._books.end(operation.hold.scopes, row.minute, held, spent)
        if not isinstance(operation, Resolve):
            return None
        how = "upper bound" if operation.cost is None else "usage"
        about = {name: getattr(row, name) for name in ("id", "request_id", "cloud", "scopes")}
        cost = operation.cost or operation.hold.cost
        charged = _columns(cost, spent)
        self._resolved.append(
            {**about, "minute": row.minute, **charged, "how": how, "at": self._now}
        )
        return Resolved(operation.hold, cost, how)

    def _correct(self, operation: Ending, row: Any) -> None:
        """What a hold was charged when it expired, made what the call cost in truth."""
        spent = _spent(operation, row).minus(_amounts(row))
        self._books.end(operation.hold.scopes, row.minute, Amounts(), spent)

    def look(self, scopes: Scopes) -> list[Standing]:
        found = []
        for cap, account in self._books.capped(scopes):
            room = room_of(cap, account, self._now)
            end = cap.window.end(account.start)
            found.append(
                Standing(
                    cap,
                    account.scope,
                    float(cap.share) if cap.unit == "share" else in_unit(cap.unit, cap.most),
                    spent=in_unit(cap.unit, account.spent_of(cap.unit)),
                    held=in_unit(cap.unit, account.held_of(cap.unit)),
                    left=in_unit(cap.unit, max(room.left, 0)),
                    resets_at=None if end is None else end * 60.0,
                )
            )
        return found

    def write(self, owner: str, expires: float) -> None:
        self._books.write()
        if self._new:
            times = {"owner": owner, "created": self._now, "expires": expires}
            self._driver.write(
                _HELD,
                [
                    {
                        "id": hold.id,
                        "request_id": hold.request_id,
                        "cloud": hold.cloud,
                        "scopes": json.dumps(hold.scopes),
                        "minute": hold.minute,
                        **_columns(hold.cost, amounts),
                        **times,
                    }
                    for hold, amounts in self._new
                ],
            )
        if self._resolved:
            self._driver.write(_RESOLVED, self._resolved)


def _columns(cost: Cost, amounts: Amounts) -> dict[str, int]:
    return {
        "calls": amounts.calls,
        "prompt_tokens": cost.prompt_tokens,
        "completion_tokens": cost.completion_tokens,
        "dollars": amounts.dollars,
    }


def _amounts(row: Any) -> Amounts:
    return Amounts(row.calls, row.prompt_tokens + row.completion_tokens, row.dollars)


def _spent(operation: Ending, row: Any) -> Amounts:
    """What ends a hold, in whole units."""
    if isinstance(operation, Release):
        return Amounts()
    return _amounts(row) if operation.cost is None else Amounts.of(operation.cost)


def hold_of(row: Any) -> Hold:
    """An open hold as the database has it."""
    cost = Cost(
        row.calls, row.prompt_tokens, row.completion_tokens, dollars=row.dollars / PICODOLLARS
    )
    scopes = tuple(json.loads(row.scopes))
    return replace(
        Hold(cost, row.id, scopes, row.minute), request_id=row.request_id, cloud=row.cloud
    )
