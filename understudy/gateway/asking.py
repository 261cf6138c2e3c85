"""Asking a cloud within the budget: reserve, call, settle. Several are tried in turn."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import orjson

from understudy.errors import LedgerUnavailable
from understudy.gateway.not_asked import (
    NotAskedError,
    gave_none,
    not_offered,
    of_several,
    over_budget,
    unavailable,
)
from understudy.gateway.requests import Caller
from understudy.gateway.settings import SpendingSettings
from understudy.gateway.trace import FailedCall, Trace
from understudy.gateway.upstreams.calls import (
    LATE,
    Bound,
    Call,
    Incoming,
    Upstream,
    UpstreamError,
)
from understudy.gateway.upstreams.choice import Candidate, Choice, Offer
from understudy.gateway.upstreams.failing import Failures
from understudy.store.batches import AsyncLedger
from understudy.store.caps import Refusal
from understudy.store.operations import Hold, Scopes
from understudy.types import Cost

log = logging.getLogger(__name__)

# Where a usage address cannot be reached, or does not know yet of a call that may have been served.
_LOOK_AGAIN_SECONDS = (1.0, 3.0, 0.0)
_LONGEST_REST_SECONDS = 60.0  # of a cloud that asks to be left alone


@dataclass(frozen=True, slots=True)
class Asked:
    """A cloud that answers."""

    candidate: Candidate
    hold: Hold
    incoming: Incoming
    started: float  # in the loop's time


def scopes_of(caller: Caller) -> Scopes:
    """Whom a request counts for."""
    team = (f"team:{caller.team}",) if caller.team else ()
    return ("total", *team, f"key:{caller.key}")


async def held(
    ledger: AsyncLedger,
    caller: Caller,
    bound: Bound,
    about: tuple[str, str],
    patience: float,
    seconds: float,
    usual: float | None = None,
) -> Hold:
    """Room for a call. Raises NotAskedError.

    about: the cloud's name, and the call's id. patience: for others' holds. seconds: after them the
    ledger is taken for unreachable. usual: how long a call takes.
    """
    cloud, call_id = about
    try:
        async with asyncio.timeout(patience + seconds):
            found = await ledger.reserve(
                scopes_of(caller), bound.most, bound.least, call_id, cloud, patience
            )
    except (LedgerUnavailable, TimeoutError) as error:
        said = str(error) or LATE
        log.warning("the ledger is unreachable, so no cloud is asked: %s", said)
        reason = "the ledger cannot be reached, so the cloud is closed"
        raise unavailable(reason, "ledger_unavailable") from None
    if isinstance(found, Refusal):
        raise over_budget(found, usual)
    return found


class Asking:
    """The clouds, the ledger, and what is still on its way between them."""

    def __init__(self, choice: Choice, ledger: AsyncLedger, settings: SpendingSettings) -> None:
        self.choice, self.ledger, self.settings = choice, ledger, settings
        self.failures = Failures()
        self._running: set[asyncio.Task[Any]] = set()
        self._unwanted: WeakSet[asyncio.Task[Any]] = WeakSet()  # nobody waits for what they ask

    async def usage(self, hold: Hold) -> Cost | None:
        """What a cloud says that it served for a hold that nobody settled; None: it cannot say.
        Raises UpstreamError where it cannot be asked now."""
        for candidate in self.choice.candidates:
            if candidate.name == hold.cloud:
                return await candidate.upstream.served(hold.request_id)
        return None

    def see(self, caller: Caller) -> None:
        """One more question came."""
        self.ledger.see(scopes_of(caller))

    async def ask(
        self, trace: Trace, among: Sequence[Candidate] = (), patience: float | None = None
    ) -> Asked:
        """An answer whose first chunk is here. Raises NotAskedError.

        patience: seconds that a reservation waits for others' holds, at most.
        """
        request = trace.request
        size = len(request.raw) if request.raw else len(orjson.dumps(request.body))
        offers, why = self.choice.offers(request.body, size, self.settings.least_tokens, among)
        failures = [not_offered(each) for each in why]
        for offer in offers:
            if self._is_unwanted():
                failures.append(unavailable("nobody waits for it any more"))
                break
            try:
                return await self._asked(trace, offer, patience)
            except NotAskedError as error:
                failures.append(error)
        raise of_several(failures)

    async def _asked(self, trace: Trace, offer: Offer, patience: float | None) -> Asked:
        loop, candidate = asyncio.get_running_loop(), offer.candidate
        upstream, call_id = candidate.upstream, f"call-{secrets.token_hex(12)}"
        hold = await self._hold(trace, offer, call_id, patience)
        if self._is_unwanted() or not candidate.circuit.admits():
            self.ledger.release(hold)
            raise not_offered(candidate.resting())
        body = upstream.within(trace.request.body, hold.cost)
        started, works, trace.asked = loop.time(), None, True
        try:
            tokens, usage = hold.cost.completion_tokens, trace.request.include_usage
            incoming = await upstream.send(Call(body, call_id, usage, tokens))
            works = True
        except UpstreamError as error:
            works = not error.at_fault
            self.failures.failed(candidate.name, error)
            if error.retry_after is not None and error.status in (429, 503):
                rest = min(error.retry_after, _LONGEST_REST_SECONDS)
                candidate.rests_until = self.choice.clock() + rest
                self.failures.rests(candidate.name, rest, f"asked for it by HTTP {error.status}")
            trace.pending.append(self.spawn(self._pay(trace, candidate, hold, error)))
            raise gave_none(candidate.name, error) from None
        except BaseException:  # this process ends: whether an answer was begun is not known
            given_up = UpstreamError("the call was given up", billed=None)
            trace.pending.append(self.spawn(self._pay(trace, candidate, hold, given_up)))
            raise
        finally:
            candidate.circuit.note(works)
            if works is False and (rest := candidate.circuit.rest()):
                self.failures.rests(candidate.name, rest, "failed too often")
        self.failures.answered(candidate.name)
        return Asked(candidate, hold, incoming, started)

    async def _hold(self, trace: Trace, offer: Offer, call_id: str, patience: float | None) -> Hold:
        longest, candidate = self.settings.wait_seconds, offer.candidate
        patience = longest if patience is None else max(min(patience, longest), 0.0)
        about, seconds = (candidate.name, call_id), self.settings.ledger_seconds
        usual = candidate.usual.seconds
        return await held(self.ledger, trace.caller, offer.bound, about, patience, seconds, usual)

    async def _pay(
        self, trace: Trace, candidate: Candidate, hold: Hold, error: UpstreamError
    ) -> None:
        """What the cloud says that it served; where it does not say, nothing if it refused, and all
        that was held if nobody knows whether it began an answer.

        "No such call" is no proof then: its books may be late."""
        served, begun = None, error.billed is not False
        if begun or candidate.upstream.tells_usage:
            served = await _served(candidate.upstream, hold.request_id, begun)
        unknown = served is None and begun
        cost = (hold.cost if begun else Cost()) if served is None else served
        trace.failed.append(FailedCall(candidate.name, str(error), hold.request_id, cost))
        trace.cloud_cost += cost
        trace.estimated |= unknown
        if cost == Cost():
            await self.ledger.release(hold)
        else:
            await self.ledger.settle(hold, cost)

    async def finish(self, asked: Asked, trace: Trace, *, read_on: bool = True) -> Cost:
        """Read what is still on its way, and settle for what was used, which is returned.

        A client that hangs up does not stop what the cloud writes and bills, and only the last
        chunk says how much that was. So the rest is read, for a while; then what came is counted.
        """
        incoming, upstream = asked.incoming, asked.candidate.upstream
        seconds = self.settings.hang_up_seconds if read_on else 0.0
        try:
            async with asyncio.timeout(seconds):
                while not incoming.ended:
                    await anext(incoming)
        except (TimeoutError, StopAsyncIteration, UpstreamError):
            pass  # what came is counted
        whole = incoming.ended and incoming.error is None
        if incoming.error is not None:
            self.failures.broke_off(asked.candidate.name, incoming.error)
        await incoming.close()
        cost, estimated = incoming.cost(), not incoming.counted
        if estimated:
            served = await _served(upstream, asked.hold.request_id, begun=True)
            cost, estimated = (cost, True) if served is None else (served, False)
        if whole:
            asked.candidate.usual.note(asyncio.get_running_loop().time() - asked.started)
        trace.cloud_cost += cost
        trace.estimated |= estimated
        await self.ledger.settle(asked.hold, cost)
        return cost

    def abandon(self, asking: asyncio.Task[Asked], trace: Trace) -> None:
        """Nobody waits for this answer any more. What was begun is paid for all the same."""
        self._unwanted.add(asking)

        async def paid() -> None:
            try:
                asked = await asking
            except (NotAskedError, asyncio.CancelledError):
                return
            cost = await self.finish(asked, trace)
            name, reason = asked.candidate.name, "nobody waited for its answer any more"
            trace.failed.append(FailedCall(name, reason, asked.hold.request_id, cost))

        trace.pending.append(self.spawn(paid()))

    def _is_unwanted(self) -> bool:
        return asyncio.current_task() in self._unwanted

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work that outlives its request, and that `close` waits for."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a call could not be settled; its hold will be resolved", exc_info=error)

    async def close(self, seconds: float) -> None:
        """Wait for calls that are still being settled; what takes longer is left to expire."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        for task in self._running:
            task.cancel()
        await self.choice.close()


async def _served(upstream: Upstream, call_id: str, begun: bool) -> Cost | None:
    """What it says that it served; None: it does not say, or knows of no call that may have begun
    an answer."""
    for wait in _LOOK_AGAIN_SECONDS:
        try:
            served = await upstream.served(call_id)
        except UpstreamError as error:
            log.warning("%s does not say what it served: %s", upstream.name, error)
        else:
            if served is None or served.calls or not begun:
                return served
        await asyncio.sleep(wait)
    return None
