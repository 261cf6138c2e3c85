"""The ledger for asyncio: what many requests want of it goes into one transaction (group commit).

PostgreSQL, and SQLite that flushes to the disk: a transaction runs in a thread, further operations
gather meanwhile, and the next transaction takes them all. SQLite that does not flush is so quick
that the event loop runs the transaction itself, with all that is wanted in one turn of the loop;
where another process is writing just then, a thread waits for it.

A reservation that only others' holds are in the way of waits, first come first served, and is tried
again when a hold of this process ends, and every so often, since other processes have holds too.
Nothing that was spent is forgotten: while the database is unreachable, settlements and releases are
kept and written when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from understudy.errors import LedgerUnavailable
from understudy.store import recovery
from understudy.store.caps import Amounts, Refusal, cut_to_count, uncountable
from understudy.store.checkpoints import Checkpoints
from understudy.store.ledger import Ledger
from understudy.store.operations import (
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
from understudy.store.statements import BusyError
from understudy.types import Cost

Value = TypeVar("Value")

_MOST_AT_ONCE = 512
_MOST_IN_LOOP = 32  # about a millisecond: others have their turn in between
_SEE_SECONDS = 0.05  # what came is written with the next operation, or after so long
_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.02, 0.32
_DOWN_SECONDS = 0.5  # while the database is unreachable, it is tried once in so long

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Entry:
    operation: Operation
    future: asyncio.Future[Any] | None = None
    until: float = 0.0  # how long a reservation waits, in the loop's time
    alone: bool = False  # in a transaction of its own, as its batch failed


class AsyncLedger:
    """A ledger's face for one event loop.

        async with AsyncLedger(ledger) as ledger:
            found = await ledger.reserve(scopes, most, least)

    patience: seconds for which a reservation waits for others' holds, unless it says otherwise.
    longest: a transaction that takes longer is given up, and the database taken for unreachable.
    usage: what a cloud says it served for a hold that nobody settled. resolved: told of each.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        patience: float = 10.0,
        longest: float = 5.0,
        usage: recovery.Usage | None = None,
        resolved: recovery.OnResolved | None = None,
    ) -> None:
        self.ledger, self.patience, self.longest = ledger, patience, longest
        self._usage, self._on_resolved = usage, resolved
        self._queue: list[_Entry] = []
        self._waiting: list[_Entry] = []
        self._running = self._closing = False
        self._down: LedgerUnavailable | None = None  # until a transaction succeeds
        self.failed_at: float | None = None  # until recovery has looked after it
        self._held: set[str] = set()
        self._poll = _POLL_SECONDS
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}
        self._thread = ThreadPoolExecutor(1, "ledger")
        self._upkeep: asyncio.Task[None] | None = None
        self._checkpoints: Checkpoints | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    async def __aenter__(self) -> AsyncLedger:
        """Resolves what a process before this one left, and keeps doing so."""
        self._checkpoints = Checkpoints(self.ledger)
        self._upkeep = asyncio.create_task(
            recovery.keep(self, self._usage, self._on_resolved), name="ledger upkeep"
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def is_down(self) -> bool:
        """Whether the database could not be reached when it was last tried."""
        return self._down is not None

    def see(self, scopes: Scopes, questions: int = 1) -> asyncio.Future[None]:
        """So many more questions came. Written soon, and before any later reservation."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        if any(cap.unit == "share" for scope in scopes for cap, _ in self.ledger.caps_on(scope)):
            self._queue.append(_Entry(See(scopes, questions)))
            self._idle.clear()
            self._after(_SEE_SECONDS, self._kick)
        return done

    async def reserve(
        self,
        scopes: Scopes,
        most: Cost,
        least: Cost | None = None,
        request_id: str = "",
        cloud: str = "",
        patience: float | None = None,
    ) -> Hold | Refusal:
        """Room for a call of at most `most`, cut to what is left, never under `least`.

        Whoever is cancelled while waiting holds nothing.
        """
        least = most if least is None else least
        if (refusal := uncountable(most) or uncountable(least)) is not None:
            return refusal  # here, so that it does not take its batch with it
        self._refuse_while_down()
        loop = asyncio.get_running_loop()
        until = loop.time() + (self.patience if patience is None else patience)
        operation = Reserve(scopes, most, least, request_id, cloud)
        future: asyncio.Future[Hold | Refusal] = loop.create_future()
        self._add(_Entry(operation, future, until))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._give_back(future.result())
            raise

    def settle(self, hold: Hold, cost: Cost) -> asyncio.Future[None]:
        """The call was made and cost this.

        It is on its way when this returns; waiting for it is waiting until it is written, or, while
        the database is unreachable, kept to be written. What no call can cost is cut.
        """
        counted = cut_to_count(cost)
        Amounts.of(counted)  # what is no cost is refused here, and not within its batch
        if counted is not cost:
            log.error("hold %s: %s cannot be right; counted as %s", hold.id, cost, counted)
        return self.end(Settle(hold, counted))

    def release(self, hold: Hold) -> asyncio.Future[None]:
        """The call was not made."""
        return self.end(Release(hold))

    async def resolve(self, hold: Hold, cost: Cost | None) -> Resolved | None:
        """Charge for a hold that nobody settled; None: somebody did meanwhile."""
        cost = None if cost is None else cut_to_count(cost)
        found: Resolved | None = await self._added(Resolve(hold, cost))
        return found

    async def standing(self, scopes: Scopes) -> list[Standing]:
        """How the scopes stand to their caps."""
        self._refuse_while_down()
        found: list[Standing] = await self._added(Look(scopes))
        return found

    async def in_thread(self, work: Callable[[], Value]) -> Value:
        """Run between two transactions, in their thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close(self, patience: float = 10.0) -> None:
        """Write what is on its way, and close the database's connection."""
        self._closing = True
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
        self._queue[:0], self._waiting = self._waiting, []
        self._try()
        # Where it is unreachable, the holds will be resolved by whoever comes next.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), patience)
        for timer in self._timers.values():
            timer.cancel()
        if self._checkpoints is not None:
            await self.in_thread(self._checkpoints.stop)
        if self._held and not self.is_down:
            with contextlib.suppress(LedgerUnavailable):
                await self.in_thread(lambda: recovery.abandon(self.ledger))
        await self.in_thread(self.ledger.close)
        self._thread.shutdown()

    def lost(self, ids: Sequence[str]) -> list[str]:
        """Of open holds of this process, those that nobody here has."""
        return [each for each in ids if each not in self._held]

    def end(self, operation: Settle | Release) -> asyncio.Future[None]:
        future = self._added(operation)
        if self.is_down:
            future.set_result(None)  # kept
        return future

    def _added(self, operation: Operation) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._add(_Entry(operation, future))
        return future

    def _add(self, entry: _Entry) -> None:
        self._queue.append(entry)
        self._idle.clear()
        self._kick()

    def _kick(self) -> None:
        """Begin a transaction, once whoever else is ready to run now has added theirs."""
        if not (self._running or self.is_down):
            self._try()

    def _try(self) -> None:
        if self._queue and not self._running:
            self._running = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _try_again(self) -> None:
        """Whether the database is back."""
        if not self._queue:
            self._queue.append(_Entry(Look(())))
        self._try()

    def _begin(self) -> None:
        most = _MOST_IN_LOOP if self.ledger.database.is_quick else _MOST_AT_ONCE
        first_alone = (n for n, entry in enumerate(self._queue[:most]) if entry.alone)
        most = max(next(first_alone, most), 1)
        batch, self._queue = self._queue[:most], self._queue[most:]
        operations = [entry.operation for entry in batch]
        if self.ledger.database.is_quick:
            try:
                self._done(batch, self.ledger.run(operations, waits=False), None)
                return
            except BusyError:
                pass
            except Exception as error:
                self._done(batch, [], error)
                return
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._thread, self.ledger.run, operations)
        overdue = loop.call_later(self.longest, self.ledger.interrupt)

        def done(work: asyncio.Future[list[Result]]) -> None:
            overdue.cancel()
            error = work.exception()
            self._done(batch, [] if error else work.result(), error)

        work.add_done_callback(done)

    def _done(
        self, batch: list[_Entry], results: list[Result], error: BaseException | None
    ) -> None:
        self._running = False
        if isinstance(error, LedgerUnavailable):
            self._fail(batch, error)
        elif error is not None:
            self._part(batch, error)
        else:
            self._down = None
            for entry, result in zip(batch, results, strict=True):
                self._take(entry, result)
        if self._waiting and not self._closing:
            now = asyncio.get_running_loop().time()
            next_end = min(entry.until for entry in self._waiting)
            self._after(min(self._poll, max(next_end - now, 0.0)), self._retry_waiting)
        self._kick()
        if not (self._queue or self._running or self._waiting):
            self._idle.set()

    def _part(self, batch: list[_Entry], error: BaseException) -> None:
        """A defect, or a value that the database refused: whoever asked for it must hear of it,
        and the others of its batch must not lose what they asked for."""
        if len(batch) > 1:
            for entry in batch:
                entry.alone = True
            self._queue[:0] = batch
            return
        log.error("the ledger cannot do %s: %s", batch[0].operation, error)
        _deliver(batch[0], error)

    def _take(self, entry: _Entry, result: Result) -> None:
        if isinstance(entry.operation, Settle | Release | Resolve):
            self._held.discard(entry.operation.hold.id)
            self._poll = _POLL_SECONDS
            self._queue[:0], self._waiting = self._waiting, []
        if isinstance(result, Hold):
            self._held.add(result.id)
            if entry.future is None or entry.future.done():
                self._give_back(result)
        if isinstance(result, Refusal) and not result.final and not self._closing:
            assert entry.future is not None
            if not entry.future.done() and asyncio.get_running_loop().time() < entry.until:
                entry.alone = False
                self._waiting.append(entry)
                return
        _deliver(entry, result)

    def _retry_waiting(self) -> None:
        self._poll = min(2 * self._poll, _LONGEST_POLL_SECONDS)
        alive = [entry for entry in self._waiting if entry.future and not entry.future.done()]
        self._queue[:0], self._waiting = alive, []
        self._kick()
        if not (self._queue or self._running):
            self._idle.set()

    def _fail(self, batch: list[_Entry], error: LedgerUnavailable) -> None:
        """The database is unreachable: no room for anybody, and nothing spent is forgotten."""
        self._down, self.failed_at = error, self.ledger.clock()
        kept: list[_Entry] = []
        seen: dict[Scopes, int] = {}
        for entry in [*batch, *self._queue, *self._waiting]:
            operation = entry.operation
            if isinstance(operation, Settle | Release):
                kept.append(_Entry(replace(operation, again=True)))
                _deliver(entry, None)
            elif isinstance(operation, See):
                seen[operation.scopes] = seen.get(operation.scopes, 0) + operation.questions
            else:
                _deliver(entry, error)
        kept.extend(_Entry(See(scopes, questions)) for scopes, questions in seen.items())
        self._queue, self._waiting = kept, []
        self._after(_DOWN_SECONDS, self._try_again)

    def _refuse_while_down(self) -> None:
        if self._down is not None:
            raise LedgerUnavailable(str(self._down))

    def _give_back(self, result: Hold | Refusal) -> None:
        if isinstance(result, Hold):
            self._add(_Entry(Release(result)))

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        """Once, however often it is asked for meanwhile."""
        if call not in self._timers:

            def due() -> None:
                del self._timers[call]
                call()

            self._timers[call] = asyncio.get_running_loop().call_later(seconds, due)


def _deliver(entry: _Entry, result: Result | BaseException) -> None:
    if entry.future is None or entry.future.done():
        return
    if isinstance(result, BaseException):
        entry.future.set_exception(result)
    else:
        entry.future.set_result(result)
