"""Old minutes become days, so that years of spending stay small.

No window is longer than `windows.LONGEST`, and an account that is summed up again reads only its
window. So what is older is only read by caps for ever, to which a day's minutes are all one. A day
is kept in its last minute: no window leaves it behind too early.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, select, tuple_

from understudy.store.accounts import insert_of
from understudy.store.caps import Amounts
from understudy.store.database import Database
from understudy.store.tables import minutes
from understudy.store.windows import LONGEST, MINUTES

_DAY = MINUTES["day"]
_AT_ONCE = 500


def compact(database: Database, now: float) -> int:
    """In small transactions. How many minutes were put together."""
    before = int(now // 60) - LONGEST - 2 * _DAY
    old = (minutes.c.minute < before) & (minutes.c.minute % _DAY != _DAY - 1)
    total = 0
    while True:
        some = select(minutes.c.scope, minutes.c.minute).where(old).limit(_AT_ONCE)
        taken = delete(minutes).where(tuple_(minutes.c.scope, minutes.c.minute).in_(some))
        with database.writing() as connection:
            rows = connection.execute(taken.returning(minutes)).all()
            if rows:
                add = insert_of(minutes, connection)
                sums = {name: minutes.c[name] + add.excluded[name] for name in Amounts._fields}
                upsert = add.on_conflict_do_update(index_elements=["scope", "minute"], set_=sums)
                connection.execute(upsert, _days(rows))
        total += len(rows)
        if len(rows) < _AT_ONCE:
            return total


def _days(rows: Iterable[Any]) -> list[dict[str, Any]]:
    """One row for each scope and day."""
    days: dict[tuple[str, int], Amounts] = {}
    for row in rows:
        place = (row.scope, row.minute - row.minute % _DAY + _DAY - 1)
        amounts = Amounts(row.calls, row.tokens, row.dollars)
        days[place] = days.get(place, Amounts()).plus(amounts)
    return [
        {"scope": scope, "minute": minute, **amounts._asdict()}
        for (scope, minute), amounts in sorted(days.items())
    ]
