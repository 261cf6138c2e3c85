"""A local draft or a cloud's answer as what the caller gets: a completion or chunks, and a
decision."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Any

from understudy.gateway.asking import Asked
from understudy.gateway.draft import Draft
from understudy.gateway.engine import EngineError, TokenLogprob, Written
from understudy.gateway.ids import with_id
from understudy.gateway.requests import Decision
from understudy.gateway.trace import Trace
from understudy.gateway.upstreams.calls import Incoming
from understudy.gateway.writing import Writing, choice_of, chunks_of, error_payload, usage_of
from understudy.store.operations import left_after


def local_decision(draft: Draft, why: str, asked: bool, left: Mapping[str, float]) -> Decision:
    version = draft.jobs[0].version
    return Decision("local", why, version, version, asked=asked, left=left)


def cloud_decision(asked: Asked, why: str) -> Decision:
    """dollars: what it cost, or at most, where the answer has only begun. What is left of the caps
    is then at least so much: the rest of what is held for it comes back."""
    incoming, hold = asked.incoming, asked.hold
    over = incoming.ended and incoming.counted
    cost = incoming.cost() if over else hold.cost
    model, left = incoming.model or asked.candidate.upstream.model, left_after(hold, cost)
    return Decision("cloud", why, model, asked=True, dollars=cost.dollars, left=left)


def decision_payload(decision: Decision, writing: Writing) -> bytes:
    """Who answers, in a stream whose head went out before that was known."""
    told = asdict(decision)
    told["left"] = dict(decision.left)
    return writing.told(told)


def usage_of_drafts(written: Mapping[int, Written]) -> dict[str, Any]:
    """The prompt is read once, however many answers are written."""
    first = written[0]
    total = sum(each.completion_tokens for each in written.values())
    return usage_of(first.prompt_tokens, total, first.cached_tokens)


def draft_completion(draft: Draft, writing: Writing, trace: Trace) -> dict[str, Any]:
    """Of a draft that has ended."""
    choices = [
        choice_of(
            written.text,
            written.finish_reason,
            index=number,
            logprobs=_logprobs(draft, number),
            tool_calls=written.tool_calls,
            stop=written.stop,
        )
        for number, written in sorted(draft.written.items())
    ]
    note_draft(draft, trace)
    return writing.completion(choices, usage_of_drafts(draft.written))


async def draft_chunks(
    draft: Draft, writing: Writing, trace: Trace, *, held: bool
) -> AsyncIterator[bytes]:
    """held: each answer at once when it is whole; else piece by piece as it is written."""
    try:
        for number, part in draft.seen if not held else ():
            for payload in _payloads(draft, number, part, writing, held=False):
                yield payload
        while not draft.ended:
            item = await draft.next()
            assert item is not None
            if not held:
                for payload in _payloads(draft, *item, writing, held=False):
                    yield payload
    except EngineError as error:
        trace.error = str(error)
        yield error_payload(f"the local engine failed: {error}", "server_error")
        return
    if held:
        for number, written in sorted(draft.written.items()):
            for payload in _payloads(draft, number, written, writing, held=True):
                yield payload
    note_draft(draft, trace)
    for payload in writing.usage(usage_of_drafts(draft.written)):
        yield payload


def note_draft(draft: Draft, trace: Trace) -> None:
    """The local answer is the one that was given."""
    first = draft.written[0]
    trace.draft = first
    trace.answer, trace.finish_reason = first.text, first.finish_reason
    trace.prompt_tokens = first.prompt_tokens
    trace.completion_tokens = sum(each.completion_tokens for each in draft.written.values())


async def cloud_chunks(
    incoming: Incoming, include_usage: bool, answer_id: str
) -> AsyncIterator[bytes]:
    if incoming.completion is not None:  # it does not stream
        for payload in chunks_of(incoming.completion, include_usage):
            yield with_id(payload, answer_id)
        return
    async for payload in incoming:
        yield with_id(payload, answer_id)


def _payloads(draft: Draft, number: int, part: Any, writing: Writing, *, held: bool) -> list[bytes]:
    if not isinstance(part, Written):
        return [writing.piece(part.text, _wanted(draft, part.logprobs), number)]
    found = []
    if held and part.text:
        found.append(writing.piece(part.text, _logprobs(draft, number) or (), number))
    if part.tool_calls:
        found.append(writing.tool_calls(part.tool_calls, number))
    return [*found, writing.finish(part.finish_reason, number, part.stop)]


def _logprobs(draft: Draft, number: int) -> tuple[TokenLogprob, ...] | None:
    """None: the caller does not want them."""
    return None if draft.jobs[0].logprobs is None else tuple(draft.logprobs[number])


def _wanted(draft: Draft, logprobs: tuple[TokenLogprob, ...]) -> tuple[TokenLogprob, ...]:
    return () if draft.jobs[0].logprobs is None else logprobs
