"""The way of one question: who answers it, what becomes of the local draft, what is told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from understudy.gateway.asking import Asked, Asking
from understudy.gateway.conversations import Conversations
from understudy.gateway.draft import Draft
from understudy.gateway.ends import Ends
from understudy.gateway.engine import EngineBusy, EngineError, JobRefused, Piece
from understudy.gateway.form import Prepared, UnableError
from understudy.gateway.ids import new_id, with_id
from understudy.gateway.latencies import Usual
from understudy.gateway.local import LocalSide
from understudy.gateway.names import Names, Target
from understudy.gateway.not_asked import (
    NotAskedError,
    neither,
    not_in_time,
    refused_by,
    too_late,
    unable_by,
)
from understudy.gateway.policy import Policy, Verdict
from understudy.gateway.requests import Decision, Outcome, Refused, never_asks
from understudy.gateway.settings import PolicySettings
from understudy.gateway.telling import (
    cloud_chunks,
    cloud_decision,
    decision_payload,
    draft_chunks,
    draft_completion,
    local_decision,
)
from understudy.gateway.trace import OnDone, Trace
from understudy.gateway.upstreams.choice import Candidate
from understudy.gateway.writing import Writing, error_payload

Race = asyncio.Task[Asked] | None  # the cloud, asked beside the local model
Left = Mapping[str, float] | None  # of each cap


@dataclass(slots=True)
class Parts:
    """What all requests share."""

    local: LocalSide | None
    asking: Asking
    names: Names
    conversations: Conversations
    settings: PolicySettings
    on_done: OnDone
    drafts: Usual  # how long the local model usually takes to a decision
    luck: random.Random = field(default_factory=random.Random)


class Way:
    """One request from its question to its answer."""

    def __init__(self, parts: Parts, trace: Trace) -> None:
        self.parts, self.trace = parts, trace
        self.request, self.caller = trace.request, trace.caller
        self.ends = Ends(parts.asking, trace, parts.on_done)
        self._prepared: Prepared | None = None
        self._unable = ""  # why the local model cannot answer
        self._unable_param: str | None = None  # the field that asks for what it cannot
        self._engine_error: EngineError | None = None  # why it cannot, where the engine says so
        self._not_asked: NotAskedError | None = None  # why no cloud answered, where one was wanted
        self._target = Target("auto")

    async def outcome(self) -> Outcome:
        """Raises Refused."""
        parts, local = self.parts, self.parts.local
        self._target = parts.names.target(self.request.model, local.versions() if local else ())
        parts.asking.see(self.caller)
        self._prepare()
        may_ask = self.caller.may_ask(parts.settings.dial)
        if self._target.way == "cloud" and not may_ask:
            raise never_asks(f"the request's model, {self.request.model}, is one")
        if self._target.way == "auto" and self._unable and not may_ask:
            raise never_asks(f"the local model {self._unable}")
        alone = not parts.asking.choice.candidates
        if self._unable and local is not None and (self._target.way == "local" or alone):
            raise Refused(
                400,
                "invalid_request_error",
                f"the local model {self._unable}; {'no' if alone else 'a'} cloud can answer it",
                code="unsupported_by_local_model",
                param=self._unable_param,
            )
        if self._target.way == "local":
            if local is None:
                raise Refused(400, "invalid_request_error", "there is no local model here")
            return await self._locally("the request names the local model")
        if self._target.way == "cloud":
            verdict = Verdict(True, f"the request names {self.request.model}")
            return await self._from_cloud(verdict, among=self._target.among)
        return await self._by_policy()

    def _prepare(self) -> None:
        local = self.parts.local
        if local is None:
            self._unable = "is not there"
            return
        try:
            self._prepared = local.prepared(self.request, self.caller)
            self.trace.task = self._prepared.task
        except UnableError as error:
            self._unable, self._unable_param = str(error), error.param
        except Refused:  # of a task that it does not have, which is no matter to a cloud
            if self._target.way != "cloud":
                raise
            self._unable = "has no such task"

    async def _by_policy(self) -> Outcome:
        parts, caller = self.parts, self.caller
        dial = parts.settings.dial if caller.dial is None else caller.dial
        clouds = bool(parts.asking.choice.candidates)
        if self._unable:
            return await self._from_cloud(Verdict(True, f"the local model {self._unable}"))
        assert parts.local is not None and self._prepared is not None  # noqa: PT018
        if not clouds:
            return await self._locally("there is no cloud")
        if dial is not None and dial <= 0:
            return await self._locally("the dial is at 0, which never asks")
        if parts.settings.sticky and parts.conversations.stays(caller.key, caller.conversation):
            return await self._from_cloud(Verdict(True, "this conversation asked before"))
        if dial is not None and dial >= 1:
            return await self._from_cloud(Verdict(True, "the dial is at 1, which always asks"))
        self.trace.task, policy = parts.local.policy_for(self._prepared)
        if policy.drafts:
            return await self._drafted(policy, dial)
        verdict = await policy.decide(self._prepared.question, None, dial, parts.luck.random())
        self.trace.verdict = verdict
        if verdict.asks:
            return await self._from_cloud(verdict)
        return await self._locally(verdict.why)

    async def _drafted(self, policy: Policy, dial: float | None) -> Outcome:
        """The local model writes before it is known who answers."""
        if self.parts.settings.draft == "reasoning" and self.request.stream:
            return await self._shown(policy, dial)
        draft = self._draft()
        race = self._race()
        try:
            async for _ in self._judged(draft, policy, dial):
                pass
        except EngineError as error:
            self.ends.drop(draft)
            return await self._without_engine(error, race)
        except BaseException:
            self.ends.drop(draft, race)
            raise
        verdict = self.trace.verdict
        assert verdict is not None
        if not verdict.asks:
            return await self._locally(verdict.why, draft, None, race)
        return await self._from_cloud(verdict, draft, race=race)

    async def _judged(
        self, draft: Draft, policy: Policy, dial: float | None
    ) -> AsyncIterator[Piece]:
        """Pieces of the first answer until it is known who answers: then the trace has a verdict.

        That is as soon as it is certain: a lead above the threshold never falls below it again.
        """
        assert self._prepared is not None
        above = policy.ask_above(dial)
        while 0 not in draft.written:
            number, part = await draft.first()
            if number == 0 and isinstance(part, Piece):
                yield part
            if above is not None and draft.margin is not None and draft.margin > above:
                sizes = f"{draft.margin:.2f}, is above the threshold, {above:.2f}"
                why = f"the local model's request for help, {sizes}"
                self._decide(Verdict(True, why, draft.margin, above), draft)
                return
        luck = self.parts.luck.random()
        first = draft.written[0]
        self._decide(await policy.decide(self._prepared.question, first, dial, luck), draft)

    def _decide(self, verdict: Verdict, draft: Draft) -> None:
        trace = self.trace
        trace.verdict, trace.draft_seconds = verdict, trace.elapsed
        trace.draft = draft.written.get(0)
        self.parts.drafts.note(trace.elapsed)

    def _race(self) -> Race:
        """Where one after the other may come too late."""
        left = self.trace.left
        if left is None or not self.parts.settings.race:
            return None
        usual = self.parts.asking.choice.usual()
        local, cloud = self.parts.drafts.seconds, None if usual is None else usual.seconds
        if local is not None and cloud is not None and local + cloud <= left:
            return None
        return asyncio.create_task(self.parts.asking.ask(self.trace, (), left))

    async def _from_cloud(
        self,
        verdict: Verdict,
        draft: Draft | None = None,
        *,
        among: tuple[Candidate, ...] = (),
        race: Race = None,
    ) -> Outcome:
        """The cloud's answer; where there is none, the local one, or an error."""
        self.trace.verdict = self.trace.verdict or verdict
        try:
            asked = await self._ask(among, race)
        except NotAskedError as error:
            return await self._instead(verdict, error, draft)
        except BaseException:
            self.ends.drop(draft)
            raise
        self.ends.drop(draft)
        return self._of_cloud(asked, verdict)

    async def _ask(self, among: tuple[Candidate, ...], race: Race) -> Asked:
        """Until the deadline. Whoever stops waiting leaves the call to be read and paid."""
        asking, left = self.parts.asking, self.trace.left
        if left is not None and race is None and not self.parts.settings.race:
            usual = asking.choice.usual(among)
            if usual is not None and not usual.fits(left):
                raise too_late(usual.seconds or 0.0, left)
        call = race or asyncio.create_task(asking.ask(self.trace, among, left))
        try:
            async with asyncio.timeout(left):
                return await asyncio.shield(call)
        except TimeoutError:
            asking.abandon(call, self.trace)
            raise not_in_time(self.caller.deadline_ms or 0) from None
        except asyncio.CancelledError:
            asking.abandon(call, self.trace)
            raise

    async def _instead(
        self, verdict: Verdict, error: NotAskedError, draft: Draft | None
    ) -> Outcome:
        forced, self._not_asked = self._target.way == "cloud", error
        alone = self.parts.local is None
        if self.caller.insist or alone or (forced and not error.at_fault):
            self.ends.drop(draft)
            raise error.refused
        if self._unable:
            self.ends.drop(draft)
            raise neither(self._unable, error.refused, self._engine_error)
        return await self._locally(f"{verdict.why}, but {error.reason}", draft, error.left)

    async def _locally(
        self, why: str, draft: Draft | None = None, left: Left = None, race: Race = None
    ) -> Outcome:
        """The local answer, of a draft that is there or of a new one; the race's where that does
        not stand, so that no second call is made."""
        held = draft is not None
        try:
            if draft is None:
                draft = self._draft()
                await draft.first()
            if not self.request.stream:
                await draft.finish()
            draft.check()
        except EngineError as error:
            self.ends.drop(draft)
            return await self._without_engine(error, race)
        except BaseException:
            self.ends.drop(draft, race)
            raise
        self.ends.drop(None, race)
        decision = self.trace.decide(local_decision(draft, why, self.trace.asked, left or {}))
        writing = Writing(decision.model, self.request.include_usage)
        self.trace.answer_id = writing.id
        if self.request.stream:
            payloads = draft_chunks(draft, writing, self.trace, held=held)
            return Outcome(
                decision, chunks=self.ends.chunks(payloads, partial(self.ends.drop, draft))
            )
        completion = self.trace.completion = draft_completion(draft, writing, self.trace)
        self.ends.drop(draft)
        self.trace.first()
        self.ends.tell()
        return Outcome(decision, completion)

    async def _without_engine(self, error: EngineError, race: Race = None) -> Outcome:
        """The local engine is full, gone, or cannot do this."""
        parts, busy = self.parts, isinstance(error, EngineBusy)
        if isinstance(error, JobRefused) and error.param == "task":  # a name that is mistyped
            self.ends.drop(None, race)
            raise refused_by(error)
        spills = not busy or parts.settings.when_busy == "cloud"
        may_ask = self.caller.may_ask(parts.settings.dial)
        clouds = may_ask and bool(parts.asking.choice.candidates)
        asked_before = self.trace.verdict is not None and self.trace.verdict.asks
        if self._target.way == "auto" and clouds and spills and not asked_before:
            why = "the local engine is busy" if busy else f"the local engine failed: {error}"
            if isinstance(error, JobRefused):
                why = f"the local model cannot: {error}"
            self._engine_error, self._unable = error, unable_by(error)  # no second try
            return await self._from_cloud(Verdict(True, why), race=race)
        self.ends.drop(None, race)
        if self._not_asked is not None:
            raise neither(unable_by(error), self._not_asked.refused, error)
        raise refused_by(error)

    def _of_cloud(self, asked: Asked, verdict: Verdict) -> Outcome:
        trace, incoming = self.trace, asked.incoming
        self._asked(asked)
        decision = trace.decide(cloud_decision(asked, verdict.why))
        if self.request.stream:
            payloads = cloud_chunks(incoming, self.request.include_usage, trace.answer_id)
            chunks = self.ends.chunks(payloads, partial(self.ends.settle, asked))
            return Outcome(decision, chunks=chunks)
        trace.first()
        completion = {**(incoming.completion or {}), "id": trace.answer_id}
        raw = with_id(incoming.raw, trace.answer_id) if incoming.raw else None
        trace.completion = raw or completion
        self.ends.settle(asked)
        self.ends.tell()
        return Outcome(decision, completion, raw=raw)

    def _asked(self, asked: Asked) -> None:
        upstream, trace = asked.candidate.upstream, self.trace
        trace.cloud, trace.call_id = upstream.name, asked.hold.request_id
        trace.answer_id = trace.answer_id or new_id()  # clouds may repeat theirs
        trace.trains = upstream.train_on_replies
        self.parts.conversations.asked(self.caller.key, self.caller.conversation)

    async def _shown(self, policy: Policy, dial: float | None) -> Outcome:
        """The draft is streamed as reasoning while nobody knows yet who answers."""
        draft = self._draft()
        pieces = self._judged(draft, policy, dial)
        try:
            first = await anext(pieces, None)
            draft.check()
        except EngineError as error:
            self.ends.drop(draft)
            return await self._without_engine(error)
        except BaseException:
            self.ends.drop(draft)
            raise
        decision = Decision("undecided", "the local model writes", draft.jobs[0].version)
        writing = Writing(decision.model, self.request.include_usage)
        self.trace.decide(decision)
        self.trace.answer_id = writing.id
        payloads = self._reasoned(draft, first, pieces, writing)
        return Outcome(decision, chunks=self.ends.chunks(payloads, partial(self.ends.drop, draft)))

    async def _reasoned(
        self, draft: Draft, first: Piece | None, pieces: AsyncIterator[Piece], writing: Writing
    ) -> AsyncIterator[bytes]:
        """The draft as reasoning, who answers, and the answer."""
        trace = self.trace
        try:
            if first is not None:
                yield writing.reasoning(first.text)
            async for piece in pieces:
                yield writing.reasoning(piece.text)
        except EngineError as error:
            trace.error = str(error)
            yield error_payload(f"the local engine failed: {error}", "server_error")
            return
        verdict = trace.verdict
        left: Mapping[str, float] = {}
        assert verdict is not None
        why = verdict.why
        if verdict.asks:
            try:
                asked = await self._ask((), None)
            except NotAskedError as error:
                if self.caller.insist:
                    trace.refuse(error.refused)
                    yield error_payload(error.refused.message, error.refused.type)
                    return
                why, left = f"{why}, but {error.reason}", error.left
            else:
                self._asked(asked)
                try:
                    yield decision_payload(trace.decide(cloud_decision(asked, why)), writing)
                    usage, answer_id = self.request.include_usage, trace.answer_id
                    async for payload in cloud_chunks(asked.incoming, usage, answer_id):
                        yield payload
                finally:
                    self.ends.settle(asked)
                return
        decision = trace.decide(local_decision(draft, why, trace.asked, left))
        yield decision_payload(decision, writing)
        async for payload in draft_chunks(draft, writing, trace, held=True):
            yield payload

    def _draft(self) -> Draft:
        local = self.parts.local
        if local is None or self._prepared is None:
            raise Refused(503, "service_unavailable", f"the local model {self._unable}")
        return local.draft(self.request, self.caller, self._prepared, self._target.version)
