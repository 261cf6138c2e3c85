"""The way of a question through the door: key, place, body, core, and the answer as it comes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import orjson

from understudy.errors import LedgerUnavailable
from understudy.gateway.dialects.completions import summed_usage
from understudy.gateway.dialects.dialect import Dialect
from understudy.gateway.door import log
from understudy.gateway.door.auth import caller_of
from understudy.gateway.door.bodies import HungUpError, read_json
from understudy.gateway.door.door import Door
from understudy.gateway.door.errors import internal_error, too_slow, unreachable
from understudy.gateway.door.exchange import (
    Exchange,
    Receive,
    Scope,
    Send,
    exchange_of,
    send_bytes,
)
from understudy.gateway.door.flight import cut_off
from understudy.gateway.door.limits import Count, Grant, expected_tokens
from understudy.gateway.door.pulse import Pulse
from understudy.gateway.door.waiting import WhileConnected
from understudy.gateway.requests import (
    Caller,
    ChatRequest,
    Decision,
    Outcome,
    Refused,
    of_all,
)

_LOGGED = 2000  # characters of a question
_NO_USAGE = re.compile(rb'"usage": ?null')
Usages = dict[int, Mapping[str, Any] | None]  # by the number of the question


@dataclass(frozen=True, slots=True)
class _Way:
    """To the client."""

    client: WhileConnected
    send: Send
    pulse: Pulse  # for a stream


class Answering:
    """The route of a dialect in which questions are asked."""

    def __init__(self, door: Door, kind: type[Dialect]) -> None:
        self.door, self.kind = door, kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange, door = exchange_of(scope), self.door
        exchange.asks = True
        seconds = door.settings.request_seconds
        async with door.let_in(exchange, "inference") as grant:
            body, raw = await read_json(exchange.headers, receive, door.settings)
            try:
                async with asyncio.timeout(seconds), WhileConnected(receive) as client:
                    said = self.kind(body, raw)
                    pulse = Pulse(exchange, send, door.settings.quiet_seconds)
                    way = _Way(client, send, pulse)
                    with pulse.beating() if said.requests[0].stream else nullcontext():
                        await self._answer(exchange, said, grant, len(raw), way)
            except HungUpError:
                raise
            except (Exception, asyncio.CancelledError) as error:
                refused = self._reason(error)
                if not exchange.status:
                    raise refused from None
                await self._break_off(exchange, refused, send)

    def _reason(self, error: BaseException) -> BaseException:
        """What ended an answer, as its caller is told."""
        if isinstance(error, TimeoutError):
            return too_slow(self.door.settings.request_seconds)
        if isinstance(error, LedgerUnavailable):
            return unreachable()
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task and self.door.flight.cut_off:
            task.uncancel()
            return cut_off()
        return error

    async def _answer(
        self, exchange: Exchange, said: Dialect, grant: Grant, size: int, way: _Way
    ) -> None:
        first = said.requests[0]
        exchange.model, exchange.streamed = first.model, first.stream
        if self.door.settings.log_text:
            exchange.question = str(first.messages[-1].get("content"))[:_LOGGED]
        expected = [expected_tokens(0, each.max_tokens, each.n) for each in said.requests]
        self.door.limits.expect(grant, expected_tokens(size, None, 1) + sum(expected))
        caller = caller_of(grant.key, exchange.headers, exchange.request_id)
        prompt = expected_tokens(size // len(expected), None, 1)
        count = Count(self.door.limits, grant, [prompt] * len(expected))
        counted = count if grant.key.tokens_per_minute is not None else None
        exchange.reached_core = True
        try:
            outcomes = await self._outcomes(said.requests, caller, counted)
        except Exception:
            count.refund()
            raise
        try:
            await way.pulse.decided(of_all([each.decision for each in outcomes]))
            if first.stream:
                usages = await self._stream(exchange, said, outcomes, way)
            else:
                whole = said.whole(outcomes)
                usages = {
                    n: (each.completion or {}).get("usage") for n, each in enumerate(outcomes)
                }
                exchange.usage = _summed(usages)
                way.client.release()
                content = whole if isinstance(whole, bytes) else orjson.dumps(whole)
                await send_bytes(way.send, content, b"application/json")
            for number, usage in usages.items():
                if usage and isinstance(usage.get("total_tokens"), int):
                    count.note(number, usage["total_tokens"])
        finally:
            await _close(outcomes)

    async def _outcomes(
        self, requests: Sequence[ChatRequest], caller: Caller, count: Count | None
    ) -> list[Outcome]:
        """An answer per question, all asked together; one refusal refuses all."""
        callers = [_caller(caller, each, number) for number, each in enumerate(requests)]
        if count is not None:
            requests = [_with_usage(each) for each in requests]
            callers = [
                replace(each, told=partial(count.told, number))
                for number, each in enumerate(callers)
            ]
        answers = map(self.door.core.answer, requests, callers)
        if len(requests) == 1:
            return [await next(answers)]
        tasks = [asyncio.create_task(each) for each in answers]
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:
            for task in tasks:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            await _close([each for each in done if isinstance(each, Outcome)])
            raise

    async def _stream(
        self, exchange: Exchange, said: Dialect, outcomes: Sequence[Outcome], way: _Way
    ) -> Usages:
        """The usage of each stream that told it."""
        usages: Usages = {}
        decisions = [each.decision for each in outcomes]

        def decided(number: int, decision: Decision) -> None:
            decisions[number] = decision
            exchange.decision = of_all(decisions)

        streams = [
            _counted(
                request, outcome, partial(usages.__setitem__, number), partial(decided, number)
            )
            for number, (request, outcome) in enumerate(zip(said.requests, outcomes, strict=True))
        ]
        events = said.events(outcomes, streams)
        try:
            async for event in events:
                await way.pulse.send(event)
        finally:
            for each in (events, *streams):
                await _aclose(each)
        exchange.usage = _summed(usages)
        way.client.release()
        await way.send({"type": "http.response.body", "body": b""})
        return usages

    async def _break_off(self, exchange: Exchange, error: BaseException, send: Send) -> None:
        """End a stream that has begun with an error."""
        if not isinstance(error, Exception):
            raise error
        if isinstance(error, Refused):
            refused = error
        else:
            log.fault(error, exchange.request_id, self.door.settings.log_text)
            refused = internal_error()
        exchange.error = refused.code or refused.type
        event = self.kind.failure(refused, exchange.request_id)
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _counted(
    request: ChatRequest,
    outcome: Outcome,
    note: Callable[[Mapping[str, Any]], None],
    decided: Callable[[Decision], None],
) -> AsyncIterator[bytes]:
    """The chunks, their usage noted: the last holds, where an upstream adds up as it goes. A chunk
    of usage that the caller did not ask for is kept back."""
    assert outcome.chunks is not None
    undecided = outcome.decision.answered_by == "undecided"
    async for chunk in outcome.chunks:
        if chunk.startswith(b'{"error"') and (error := orjson.loads(chunk)["error"]):
            raise _broken(error)
        if undecided and b'"understudy":{' in chunk:
            decided(Decision(**orjson.loads(chunk)["understudy"]))
            undecided = False
        if b'"usage"' in chunk and not _NO_USAGE.search(chunk):
            found = orjson.loads(chunk)
            if isinstance(usage := found.get("usage"), Mapping):
                note(usage)
            if not request.include_usage and not found.get("choices"):
                continue
        yield chunk


def _broken(error: Any) -> Refused:
    """What a stream broke off with, as whoever answered tells it."""
    error = error if isinstance(error, Mapping) else {"message": str(error)}
    return Refused(
        502,
        str(error.get("type") or "upstream_error"),
        str(error.get("message") or "the answer broke off"),
        code=str(error["code"]) if error.get("code") else None,
        param=str(error["param"]) if error.get("param") else None,
    )


def _with_usage(request: ChatRequest) -> ChatRequest:
    """The request, so that a stream tells its usage whoever reads it."""
    if not request.stream or request.include_usage:
        return request
    options = {**(request.body.get("stream_options") or {}), "include_usage": True}
    return replace(request, body={**request.body, "stream_options": options}, raw=None)


def _caller(caller: Caller, request: ChatRequest, number: int) -> Caller:
    """Who asks this one of several questions."""
    task = caller.task or str(request.metadata.get("task") or "")
    request_id = f"{caller.request_id}-{number}" if number else caller.request_id
    if task == caller.task and not number:
        return caller
    return replace(caller, task=task, request_id=request_id)


def _summed(usages: Usages) -> Mapping[str, Any] | None:
    """Of all answers of a request."""
    found = [usage for usage in usages.values() if usage]
    return found[0] if len(found) == 1 else (summed_usage(found) if found else None)


async def _close(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.chunks is not None:
            await _aclose(outcome.chunks)


async def _aclose(stream: AsyncIterator[bytes]) -> None:
    """What still runs for a stream ends; a stream that has ended is left as it is."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()
