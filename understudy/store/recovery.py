"""Holds that nobody settled: kept alive while their process lives, resolved when it does not.

A process says every so often that its holds are alive. One that dies leaves them; they are resolved
when they expire, by any process on the database, or at once by one that starts on the same machine.
Resolved: where the cloud can say what it served, that is charged; else all that was held.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from sqlalchemy import delete, select, update

from understudy.errors import LedgerUnavailable
from understudy.store.compaction import compact
from understudy.store.ledger import Ledger, hold_of
from understudy.store.operations import Hold, Release, Resolved
from understudy.store.owner import Owner
from understudy.store.tables import holds, resolved
from understudy.types import Cost

Value = TypeVar("Value")

# What the cloud says it served for a hold; None: it cannot say; no calls: it never heard of it,
# which is believed once the hold has expired. It raises where asking failed or the cloud is still
# at it: then it is asked again, until the hold has been expired for `_PATIENCE_SECONDS`.
Usage = Callable[[Hold], Awaitable[Cost | None]]
OnResolved = Callable[[Resolved], None]

_PATIENCE_SECONDS = 600.0
_LONGEST_SECONDS = 3600.0  # no hold is kept alive for longer: its owner has forgotten it
_ASK_SECONDS, _ASKED_AT_ONCE = 5.0, 8  # clouds, about what they served
_COMPACT_SECONDS = 6 * 3600.0
_REMEMBERED_SECONDS = 7 * 86_400.0  # how long a late settlement can still correct the charge

log = logging.getLogger(__name__)


class Kept(Protocol):
    """The face of a ledger that is kept up: see batches.py."""

    ledger: Ledger
    failed_at: float | None  # when the database was last unreachable

    async def in_thread(self, work: Callable[[], Value]) -> Value: ...
    async def resolve(self, hold: Hold, cost: Cost | None) -> Resolved | None: ...
    def end(self, operation: Release) -> Awaitable[None]: ...
    def lost(self, ids: Sequence[str]) -> list[str]: ...


def renew(ledger: Ledger) -> None:
    """This process lives, and so do its holds."""
    now = ledger.clock()
    mine = (holds.c.owner == ledger.owner.name) & (holds.c.created > now - _LONGEST_SECONDS)
    with ledger.database.writing() as connection:
        connection.execute(update(holds).where(mine).values(expires=now + ledger.hold_seconds))


def abandon(ledger: Ledger) -> None:
    """This process ends: what it still holds need not be waited for."""
    mine = holds.c.owner == ledger.owner.name
    with ledger.database.writing() as connection:
        connection.execute(update(holds).where(mine).values(expires=ledger.clock()))


def orphans(ledger: Ledger) -> list[tuple[Hold, float]]:
    """Holds that expired or whose process is gone, with how long ago they expired."""
    now = ledger.clock()
    with ledger.database.reading() as connection:
        rows = connection.execute(select(holds)).all()
    gone = {name: Owner.named(name).is_gone() for name in {row.owner for row in rows}}
    return [
        (hold_of(row), now - row.expires) for row in rows if row.expires < now or gone[row.owner]
    ]


def own_holds(ledger: Ledger, until: float) -> list[Hold]:
    """Open holds of this process that were made by then."""
    mine = (holds.c.owner == ledger.owner.name) & (holds.c.created <= until)
    with ledger.database.reading() as connection:
        return [hold_of(row) for row in connection.execute(select(holds).where(mine))]


def forget(ledger: Ledger) -> None:
    """Drop what was resolved so long ago that nobody will correct it."""
    old = resolved.c.at < ledger.clock() - _REMEMBERED_SECONDS
    with ledger.database.writing() as connection:
        connection.execute(delete(resolved).where(old))


async def resolve_orphans(ledger: Kept, usage: Usage | None = None) -> list[Resolved]:
    """Charge for holds that nobody will settle."""
    found = await ledger.in_thread(lambda: orphans(ledger.ledger))
    places = asyncio.Semaphore(_ASKED_AT_ONCE)

    async def resolved(hold: Hold, overdue: float) -> Resolved | None:
        async with places:
            cost = None
            if usage is not None:
                try:
                    cost = await asyncio.wait_for(usage(hold), _ASK_SECONDS)
                except Exception as error:
                    if overdue < _PATIENCE_SECONDS:
                        why = str(error) or type(error).__name__
                        log.warning("hold %s: its usage cannot be asked for now (%s)", hold.id, why)
                        return None
            if cost is not None and not cost.calls and overdue < 0:
                return None  # the cloud has not heard of it; it may be on its way still
            return await ledger.resolve(hold, cost)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(resolved(*each)) for each in found]
    return [done for task in tasks if (done := task.result()) is not None]


async def keep(ledger: Kept, usage: Usage | None = None, tell: OnResolved | None = None) -> None:
    """The upkeep of a process's holds, for as long as it lives.

    That they are alive is said by a task of its own: clouds that answer late about orphans must not
    make its holds look like orphans to another process.
    """
    compacted_at = float("-inf")

    async def renewed() -> None:
        await ledger.in_thread(lambda: renew(ledger.ledger))

    async def looked_after() -> None:
        nonlocal compacted_at
        if ledger.failed_at is not None:
            await _release_lost(ledger, ledger.failed_at)
            ledger.failed_at = None
        await ledger.in_thread(ledger.ledger.read_caps)
        for found in await resolve_orphans(ledger, usage):
            _warn(found)
            if tell is not None:
                tell(found)
        await ledger.in_thread(lambda: forget(ledger.ledger))
        if (now := ledger.ledger.clock()) - compacted_at > _COMPACT_SECONDS:
            compacted_at = now
            await asyncio.to_thread(compact, ledger.ledger.database, now)

    seconds = ledger.ledger.hold_seconds / 6
    async with asyncio.TaskGroup() as group:
        group.create_task(_again_and_again(renewed, seconds))
        group.create_task(_again_and_again(looked_after, seconds))


async def _again_and_again(work: Callable[[], Awaitable[None]], seconds: float) -> None:
    while True:
        try:
            await work()
        except LedgerUnavailable as error:
            log.warning("%s", error)
        except Exception:  # the next time may go better, and nobody else does it
            log.exception("the ledger's upkeep failed")
        await asyncio.sleep(seconds)


def _warn(found: Resolved) -> None:
    hold = found.hold
    log.warning(
        "hold %s of request %s was never settled; charged by its %s: %s",
        *(hold.id, hold.request_id, found.how, found.cost),
    )


async def _release_lost(ledger: Kept, until: float) -> None:
    """A connection that was lost in a commit may have left holds that nobody has."""
    found = await ledger.in_thread(lambda: own_holds(ledger.ledger, until))
    lost = set(ledger.lost([hold.id for hold in found]))
    for hold in found:
        if hold.id in lost:
            await ledger.end(Release(hold, again=True))
