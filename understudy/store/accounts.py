"""The accounts that a transaction works on: locked, moved on to the present, written back.

An account is a sum of `minutes` and of open holds, from its first minute on. When its window moves
on, what falls out is subtracted. A scope's accounts change together, those too whose cap only
another process knows, such as one of a key that was just made. The first time that a process
touches an account it sums it up afresh, so that a cap that was added or changed counts what was
spent before; and so after a long rest, in which compaction.py may have put its minutes together,
and where it finds less than nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Table, bindparam, func, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from understudy.store.caps import Account, Amounts, Cap
from understudy.store.operations import Scopes
from understudy.store.statements import Driver, Statement
from understudy.store.tables import accounts, holds, minutes
from understudy.store.windows import MINUTES

_FIELDS = [column.name for column in accounts.columns]
_AMOUNTS = ("calls", "tokens", "dollars")
_FOREVER = 2**62

log = logging.getLogger(__name__)

# A cap on a scope, with the name of the account that it reads.
NamedCap = tuple[Cap, str]


def insert_of(table: Table, connection: Connection) -> Any:
    """An INSERT that can have ON CONFLICT; both databases spell it alike."""
    return _insert_of(table, connection.dialect.name)


def _insert_of(table: Table, dialect: str) -> Any:
    make = sqlite.insert if dialect == "sqlite" else postgresql.insert
    return make(table)


def _add_up(dialect: str, _: object) -> Any:
    add = _insert_of(minutes, dialect)
    sums = {name: minutes.c[name] + add.excluded[name] for name in _AMOUNTS}
    return add.on_conflict_do_update(index_elements=["scope", "minute"], set_=sums)


_ADD_UP = Statement(_add_up)
_OPENED = Statement(lambda dialect, _: _insert_of(accounts, dialect).on_conflict_do_nothing())
_LOCKED = Statement(
    lambda _, scopes: (
        select(accounts)
        .where(accounts.c.scope.in_(scopes))
        .order_by(accounts.c.name)  # every transaction locks in this order
        .with_for_update()
    )
)
_WRITTEN = Statement(
    lambda *_: (
        update(accounts)
        .where(accounts.c.name == bindparam("which"))
        .values({name: bindparam(name) for name in _FIELDS[3:]})
    )
)
_SUM = Statement(
    lambda *_: select(
        *(func.coalesce(func.sum(minutes.c[name]), literal_column("0")) for name in _AMOUNTS)
    ).where(
        minutes.c.scope == bindparam("scope"),
        minutes.c.minute >= bindparam("first"),
        minutes.c.minute < bindparam("end"),
    )
)
_FIRST = Statement(
    lambda *_: select(func.min(minutes.c.minute)).where(
        minutes.c.scope == bindparam("scope"), minutes.c.minute >= bindparam("first")
    )
)
_OPEN = Statement(
    lambda *_: select(
        holds.c.scopes,
        holds.c.minute,
        holds.c.calls,
        holds.c.prompt_tokens + holds.c.completion_tokens,
        holds.c.dollars,
    )
)


class Accounts:
    """The accounts of some scopes, under lock until the transaction ends."""

    def __init__(
        self,
        driver: Driver,
        caps: Mapping[str, Sequence[NamedCap]],
        minute: int,
        summed_up: Collection[str],
    ) -> None:
        """caps: of each scope. summed_up: accounts that this process has touched before."""
        self._driver = driver
        self._caps = caps
        self._open: list[tuple[Any, ...]] | None = None
        self._minutes: dict[tuple[str, int], Amounts] = {}
        self._changed: set[str] = set()
        by_name = {name: (scope, cap) for scope in caps for cap, name in caps[scope]}
        self.names: Collection[str] = by_name.keys()  # those that are summed up and present
        self._accounts = self._lock(by_name, minute)
        self._by_scope: dict[str, list[Account]] = {}
        for account in self._accounts.values():
            self._by_scope.setdefault(account.scope, []).append(account)
        for name, (_, cap) in by_name.items():
            self._move(self._accounts[name], cap, minute, afresh=name not in summed_up)

    def capped(self, scopes: Scopes) -> list[tuple[Cap, Account]]:
        """The caps on these scopes, each with the account that it reads."""
        return [(cap, self._accounts[name]) for scope in scopes for cap, name in self._caps[scope]]

    def mark(self, account: Account) -> None:
        """It was changed, and will be written."""
        self._changed.add(account.name)

    def change(self, scopes: Scopes, minute: int) -> Iterable[Account]:
        """The scopes' accounts in whose window that minute is; they will be written."""
        for scope in scopes:
            for account in self._by_scope.get(scope, ()):
                if minute >= account.start:
                    self._changed.add(account.name)
                    yield account

    def end(self, scopes: Scopes, minute: int, held: Amounts, spent: Amounts) -> None:
        """A hold is over, and this was spent."""
        for account in self.change(scopes, minute):
            account.let_go(held)
            account.spend(spent)
        if any(spent):
            for scope in scopes:
                before = self._minutes.get((scope, minute), Amounts())
                self._minutes[scope, minute] = before.plus(spent)

    def mend(self) -> None:
        """Sum up afresh what cannot be: nobody spent or holds less than nothing.

        After the ends of holds, and before room is given.
        """
        wrong = [self._accounts[name] for name in sorted(self._changed)]
        wrong = [account for account in wrong if min(_amounts_of(account)) < 0]
        if wrong:
            log.error("accounts were wrong: %s", ", ".join(account.name for account in wrong))
            self._open = None
        for account in wrong:
            if _is_share(account):
                account.calls = max(account.calls, 0)
            else:
                spent = self._spent(account.scope, account.start, _FOREVER)
                for (scope, minute), amounts in self._minutes.items():
                    if scope == account.scope and minute >= account.start:
                        spent = spent.plus(amounts)
                account.calls, account.tokens, account.dollars = spent
            self._hold_afresh(account)

    def write(self) -> None:
        if self._changed:
            rows = (self._accounts[name] for name in sorted(self._changed))
            self._driver.write(
                _WRITTEN,
                [
                    {"which": row.name, **{name: getattr(row, name) for name in _FIELDS[3:]}}
                    for row in rows
                ],
            )
        if self._minutes:
            self._driver.write(
                _ADD_UP,
                [
                    {"scope": scope, "minute": minute, **amounts._asdict()}
                    for (scope, minute), amounts in sorted(self._minutes.items())
                ],
            )

    def _lock(self, wanted: Mapping[str, tuple[str, Cap]], minute: int) -> dict[str, Account]:
        found = self._read(self._caps)
        missing = sorted(wanted.keys() - found.keys())
        if missing:
            self._driver.write(_OPENED, [_opened(name, *wanted[name], minute) for name in missing])
            found = self._read(self._caps)
        return found

    def _read(self, scopes: Iterable[str]) -> dict[str, Account]:
        among = list(scopes)
        if not among:
            return {}
        return {row[0]: Account(*row) for row in self._driver.rows(_LOCKED, among=among)}

    def _move(self, account: Account, cap: Cap, minute: int, afresh: bool) -> None:
        start = max(cap.window.start(minute), account.start)  # clocks differ: never backwards
        if start == account.start and not afresh:
            return
        self._changed.add(account.name)
        if cap.unit == "share":  # counts since it began: nothing else knows what was seen
            if start > account.start:
                account.seen = account.calls = account.tokens = account.dollars = 0
        elif afresh or start - account.start > MINUTES["day"]:
            spent = self._spent(account.scope, start, _FOREVER)
            account.calls, account.tokens, account.dollars = spent
        else:
            gone = self._spent(account.scope, account.start, start)
            account.spend(Amounts().minus(gone))
            if min(account.calls, account.tokens, account.dollars) < 0:
                log.error("account %s was wrong, and is summed up afresh", account.name)
                spent = self._spent(account.scope, start, _FOREVER)
                account.calls, account.tokens, account.dollars = spent
        account.start = start
        self._hold_afresh(account)

    def _hold_afresh(self, account: Account) -> None:
        account.held_calls = account.held_tokens = account.held_dollars = 0
        for scopes, reserved, *amounts in self._open_holds():
            if reserved >= account.start and account.scope in scopes:
                account.hold(Amounts(*amounts))

    def first_minute(self, account: Account) -> int | None:
        """Of those in its window in which something was spent."""
        ((minute,),) = self._driver.rows(_FIRST, {"scope": account.scope, "first": account.start})
        return None if minute is None else int(minute)

    def _spent(self, scope: str, first: int, end: int) -> Amounts:
        (row,) = self._driver.rows(_SUM, {"scope": scope, "first": first, "end": end})
        return Amounts(*map(int, row))

    def _open_holds(self) -> list[tuple[Any, ...]]:
        if self._open is None:
            rows = self._driver.rows(_OPEN)
            self._open = [(json.loads(scopes), *rest) for scopes, *rest in rows]
        return self._open


def _amounts_of(account: Account) -> tuple[int, ...]:
    held = (account.held_calls, account.held_tokens, account.held_dollars)
    return account.calls, account.tokens, account.dollars, *held


def _is_share(account: Account) -> bool:
    return account.name.startswith(f"{account.scope} share ")


def _opened(name: str, scope: str, cap: Cap, minute: int) -> dict[str, Any]:
    """A share counts from now on; others are summed up, from the beginning of their window."""
    start = minute if cap.unit == "share" else 0
    return asdict(Account(name, scope, cap.window.name, start))
