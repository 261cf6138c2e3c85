"""A trace as an event of the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.gateway.trace import Trace
from understudy.gateway.writing import choice_of, usage_of
from understudy.store.events import Event


def event_of(trace: Trace) -> Event:
    """The store keeps the texts of it or not, as it is set."""
    request, caller, decision = trace.request, trace.caller, trace.decision
    return Event(
        id=trace.answer_id or caller.request_id,
        at=trace.at,
        key=caller.key,
        answered_by=decision.answered_by if decision else "refused",
        why=decision.why if decision else "the caller hung up",
        model=decision.model if decision else request.model,
        request_id=caller.request_id,
        team=caller.team,
        conversation=caller.conversation,
        task=trace.task,
        status=_HUNG_UP if decision is None else trace.status,
        version=decision.version if decision else "",
        cloud=trace.cloud,
        asked=trace.asked,
        prompt_tokens=trace.prompt_tokens,
        completion_tokens=trace.completion_tokens,
        cost=trace.cloud_cost,
        seconds=trace.seconds,
        first_token_seconds=trace.first_seconds,
        signals=signals_of(trace),
        train_on_replies=trace.trains,
        stored=request.store,
        metadata=request.metadata,
        request=request.raw or request.body,
        answer=trace.completion or _completion(trace),
    )


_HUNG_UP = 499


def signals_of(trace: Trace) -> dict[str, Any]:
    """What was known when it was decided, and what went wrong; what says nothing is left out."""
    draft, verdict = trace.draft, trace.verdict
    found: dict[str, Any] = {
        "margin": draft.margin if draft else None,
        "mean_entropy": draft.mean_entropy if draft else None,
        "mean_logprob": draft.mean_logprob if draft else None,
        "score": verdict.score if verdict else None,
        "threshold": verdict.threshold if verdict else None,
        "decided_seconds": trace.draft_seconds,
        "call_id": trace.call_id,
        "estimated": trace.estimated,
        "hung_up": trace.hung_up,
        "error": trace.error,
        "failed": [
            {"cloud": each.cloud, "reason": each.reason, "dollars": each.cost.dollars}
            for each in trace.failed
        ],
    }
    return {name: value for name, value in found.items() if value not in (None, "", False, [])}


def _completion(trace: Trace) -> Mapping[str, Any] | None:
    """Of an answer that was streamed."""
    decision = trace.decision
    if decision is None or not trace.answer_id:
        return None
    return {
        "id": trace.answer_id,
        "object": "chat.completion",
        "created": int(trace.at),
        "model": decision.model,
        "choices": [choice_of(trace.answer, trace.finish_reason or "stop")],
        "usage": usage_of(trace.prompt_tokens, trace.completion_tokens),
    }
