"""A cloud behind a cache, a meter, a log and a budget: one question is paid for once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from understudy.clouds.calls import reply_of, stream_of
from understudy.clouds.estimates import estimated_cost
from understudy.clouds.failures import FailureWatch
from understudy.clouds.shared_calls import ReservationQueue, SharedCall
from understudy.errors import CheckpointError
from understudy.link import Budget, Entry, Meter, Refusal, ReplyLog, Spend
from understudy.link.spend import CACHE_HIT, FAILED, REFUSED, RETRY
from understudy.types import Cloud, Cost, Question, Reply, Request
from understudy.waiting import Waiter

_EDGE = "cloud"  # what the meter calls this link

# A reply that is here: in memory, or on this line of the log.
_Kept = Reply | int


class MeteredCloud:
    """Answers each question once and remembers it; failures are counted, never remembered.

    Questions are equal where their messages and options are. Equal questions that are asked while
    a call for one is in flight share that call and its reply, a failed one too; whoever stops
    waiting leaves the call to the others. A question's attempt is the number of calls for it that
    failed before.

    MeteredCloud(cloud): all in memory; `state()` holds the replies too.

    MeteredCloud(cloud, log=ReplyLog(path)): every reply is in the file before it is used, `state()`
    holds only totals and how much of the file they count, and memory holds no reply. To resume,
    open the file again and give the checkpoint's state: MeteredCloud(cloud, state, ReplyLog(path)).
    What the file holds beyond that state is paid for already: when the same question comes up in
    the same attempt, the logged reply is used and counted as if it came now, and no call is made.
    No state (the run was killed before its first checkpoint) means that nothing is counted yet, and
    everything in the file is paid for. A failed call that cost nothing is written when its batch
    is counted: where the watch stops the run before, a resumed run makes that call again.

    budget: caps on all calls; where one is reached a question gets a reply with an error that says
    so, and nothing crosses. watch: names failed calls, and stops a run of which too many fail.

    `replies` is for a loop that is not asynchronous itself; its event loop, and with it a
    cloud's connections, stay open until `close()`.
    """

    def __init__(
        self,
        cloud: Cloud,
        state: Mapping[str, Any] | None = None,
        log: ReplyLog | None = None,
        budget: Budget | None = None,
        watch: FailureWatch | None = None,
    ) -> None:
        self.cloud, self.log, self.budget, self.watch = cloud, log, budget, watch
        state = state or {}
        self.meter = Meter()
        account = Spend(**state.get("spend", {})).account()
        account.by_kind.update({name: Cost(**c) for name, c in state.get("clouds", {}).items()})
        self.meter.accounts[_EDGE] = account
        self._attempts: dict[str, int] = dict(state.get("attempts", []))  # by the question's digest
        self._known: dict[str, _Kept] = {
            digest: Reply.from_json(reply) for digest, reply in state.get("replies", [])
        }
        # Replies that are here, but not counted, by digest and attempt.
        self._paid: dict[tuple[str, int], _Kept] = {}
        self._calls: dict[str, SharedCall] = {}  # in flight, by the question's digest
        self._queue = ReservationQueue()
        self._waiter = Waiter()
        self._recall(state.get("lines", 0), set(state.get("uncounted", [])))

    @property
    def spend(self) -> Spend:
        """The bill so far."""
        return Spend.of(self.meter.account(_EDGE))

    @property
    def cost_by_cloud(self) -> dict[str, Cost]:
        """What each of several clouds cost, by its name."""
        return {name: cost for name, cost in self.meter.account(_EDGE).by_kind.items() if name}

    async def answer(self, request: Request) -> Reply:
        return (await self.answer_all([request.question]))[0]

    async def answer_all(self, questions: Sequence[Question]) -> list[Reply]:
        """A reply per question, in order; equal questions cross the link once."""
        digests = [question.digest for question in questions]
        calls: dict[str, SharedCall] = {}
        for digest, question in zip(digests, questions, strict=True):
            if digest not in self._known and digest not in calls:
                calls[digest] = self._call_for(digest, question)
        if calls:  # each call is finished, so that a defect in one loses no reply of the others
            await asyncio.wait([call.task for call in calls.values()])
        arrived = {digest: call.task.result() for digest, call in calls.items()}
        if self.watch is not None:
            self.watch.check()
        answers = []
        for digest in digests:  # in the order asked: totals must not depend on timing
            if digest in calls:
                call = calls.pop(digest)
                self._count(digest, call, arrived[digest])
                answers.append(arrived[digest])
            else:
                self.meter.note(_EDGE, CACHE_HIT)
                answers.append(arrived.get(digest) or self._read(self._known[digest]))
        return answers

    async def stream(self, request: Request) -> AsyncIterator[str | Reply]:
        """Pieces of the answer as they come, then the reply; what is known is one piece."""
        question, digest = request.question, request.question.digest
        if digest not in self._known:
            call = self._call_for(digest, question, streams=True)
            begun = False
            async for piece in call.pieces():
                begun = True
                yield piece
            reply = call.task.result()
            if self.watch is not None:
                self.watch.check()
            self._count(digest, call, reply)
        else:
            begun, reply = False, self._read(self._known[digest])
            self.meter.note(_EDGE, CACHE_HIT)
        if reply.text and not begun:
            yield reply.text
        yield reply

    def replies(self, questions: Sequence[Question]) -> list[Reply]:
        """`answer_all`, waited for."""
        return self._waiter.wait(self.answer_all(questions))

    def adopt(self, question: Question, reply: Reply) -> None:
        """Take a reply that was paid for elsewhere, as if its question had been asked here and the
        run killed before it used the reply."""
        digest = question.digest
        attempt = self._attempts.get(digest, 0)
        if self.budget is not None:
            self.budget.charge(reply.most)
        kept = self._logged(Request(question, attempt), reply)
        if digest not in self._known:
            self._paid.setdefault((digest, attempt), kept)

    def close(self) -> None:
        """Close the connections and the log; both open again when they are needed."""
        self._waiter.close()
        if self.log is not None:
            self.log.close()

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs to spend, hit and miss as this one would have.

        With a log: how many of its lines are known, and which of these are not counted, which
        is none but while a resumed run catches up. Those lines are on disk when this returns.
        """
        state: dict[str, Any] = {
            "spend": asdict(self.spend),
            "attempts": [[digest, count] for digest, count in self._attempts.items()],
        }
        if by_cloud := self.cost_by_cloud:
            state["clouds"] = {name: asdict(cost) for name, cost in by_cloud.items()}
        if self.log is None:
            replies = ((digest, self._read(kept)) for digest, kept in self._known.items())
            return state | {"replies": [[digest, reply.to_json()] for digest, reply in replies]}
        self.log.flush_to_disk()
        uncounted = sorted(line for line in self._paid.values() if isinstance(line, int))
        return state | {"lines": len(self.log), "uncounted": uncounted}

    def restored(self, state: Mapping[str, Any]) -> MeteredCloud:
        """The same cloud, log, budget and watch in the state of a checkpoint."""
        return MeteredCloud(self.cloud, state, self.log, self.budget, self.watch)

    def _recall(self, lines: int, uncounted: set[int]) -> None:
        """Sort the log's lines into those that the state counts and those only paid for."""
        found = 0 if self.log is None else len(self.log)
        if found < lines:
            where = f"{self.log.path} holds {found}" if self.log else "there is no log"
            raise CheckpointError(
                f"the checkpoint counts {lines} logged replies, but {where}; "
                "restore the log, or start a new run"
            )
        for line, entry in enumerate(self.log.entries() if self.log is not None else ()):
            digest = entry.question.digest
            if line >= lines or line in uncounted:
                self._paid[digest, entry.attempt] = line
            elif entry.reply.error is None:
                self._known.setdefault(digest, line)

    def _call_for(self, digest: str, question: Question, streams: bool = False) -> SharedCall:
        """The call for a question: one that is on its way, or a new one."""
        call = self._calls.get(digest)
        if call is None or call.task.done():  # done: it was cancelled before it began
            request = Request(question, self._attempts.get(digest, 0))
            call = SharedCall(request, lambda call: self._make(digest, call, streams))
            self._calls[digest] = call
        return call

    async def _make(self, digest: str, call: SharedCall, streams: bool) -> Reply:
        """The reply paid for before, or that of a call, on record before it is used."""
        try:
            request = call.request
            paid = self._paid.get((digest, request.attempt))
            if paid is not None:
                return self._read(paid)
            reply = await self._within_budget(call, streams)
            if not call.refused:
                if self.watch is not None:
                    self.watch.note(reply, request.attempt)
                free = reply.error is not None and not reply.most.dollars
                kept = reply if free else self._logged(request, reply)
                self._paid[digest, request.attempt] = kept
            return reply
        finally:
            del self._calls[digest]

    async def _within_budget(self, call: SharedCall, streams: bool) -> Reply:
        request, budget = call.request, self.budget
        if budget is None:
            return await self._crossed(call, streams)
        room = await self._queue.reserve(budget, estimated_cost(self.cloud, request.question))
        if isinstance(room, Refusal):
            call.refused = True
            error = f"not asked: cloud.max_{room.what} is reached ({room.reason})"
            if self.watch is not None:
                self.watch.refuse(error)
            return Reply(text=None, error=error, called=False)
        try:
            reply = await self._crossed(call, streams)
        except asyncio.CancelledError:
            budget.settle(room, room.cost)  # what it cost will not be known
            raise
        except BaseException:
            budget.release(room)
            raise
        budget.settle(room, reply.most)
        self._queue.changed()
        return reply

    async def _crossed(self, call: SharedCall, streams: bool) -> Reply:
        if not streams:
            return await reply_of(self.cloud, call.request)
        async for part in stream_of(self.cloud, call.request):
            if isinstance(part, Reply):
                return part
            call.add(part)
        raise AssertionError("a stream ends with a reply")

    def _logged(self, request: Request, reply: Reply) -> _Kept:
        if self.log is None:
            return reply
        return self.log.append(Entry(request.question, request.attempt, reply))

    def _read(self, kept: _Kept) -> Reply:
        if isinstance(kept, Reply):
            return kept
        assert self.log is not None
        return self.log.read(kept).reply

    def _count(self, digest: str, call: SharedCall, reply: Reply) -> None:
        """Count a call once, whoever shared it."""
        request = call.request
        kept = self._paid.pop((digest, request.attempt), None)
        if kept is None:
            self.meter.note(_EDGE, REFUSED if call.refused else CACHE_HIT)
            return
        for each in (*reply.tried, reply):
            own = replace(each, tried=())
            self.meter.charge(_EDGE, each.cloud, own.cost)
            self.meter.note(_EDGE, RETRY, each.retries)
            if each.may_cost is not None:  # 0: what broke off was free
                self.meter.doubt(_EDGE, Cost(calls=1, dollars=each.may_cost))
            if each.error is not None:
                self.meter.note(_EDGE, FAILED if each.called else REFUSED)
        if reply.error is None:
            self._known[digest] = kept
            return
        self._attempts[digest] = request.attempt + 1
        if isinstance(kept, Reply):
            self._logged(request, reply)
