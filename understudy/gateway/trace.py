"""All that is known of one request, for its event and for whoever watches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from understudy.gateway.engine import Written
from understudy.gateway.policy import Verdict
from understudy.gateway.requests import Caller, ChatRequest, Decision, Refused
from understudy.types import Cost


@dataclass(frozen=True, slots=True)
class FailedCall:
    """A call to a cloud that gave no answer."""

    cloud: str
    reason: str
    id: str  # of the call, as the cloud knows it
    cost: Cost = field(default_factory=Cost)


@dataclass(slots=True)
class Trace:
    """Grows while the request is answered; whole when it is told of."""

    request: ChatRequest
    caller: Caller
    at: float = field(default_factory=time.time)
    started: float = field(default_factory=time.perf_counter)
    decision: Decision | None = None
    task: str = ""  # which of the run's, as it was recognised or named
    verdict: Verdict | None = None
    draft: Written | None = None  # what the local model wrote, whoever answered
    draft_seconds: float | None = None  # until it was known who answers, where it had to write
    answer: str = ""  # the first choice's text
    answer_id: str = ""  # of the completion
    completion: Mapping[str, Any] | bytes | None = None  # of an answer that was not streamed
    finish_reason: str = ""
    prompt_tokens: int = 0  # of the answer that was given
    completion_tokens: int = 0
    drafted: int = 0  # tokens that the local model had written when nobody wanted more
    asked: bool = False  # a cloud was called
    cloud: str = ""  # which one answered
    call_id: str = ""  # of the call, as the cloud knows it
    cloud_cost: Cost = field(default_factory=Cost)  # all calls, failed ones too
    estimated: bool = False  # the cloud did not say what it used
    trains: bool = False  # a model may be trained on the cloud's answer
    failed: list[FailedCall] = field(default_factory=list)
    first_seconds: float | None = None  # until the first byte of an answer
    seconds: float = 0.0
    hung_up: bool = False
    error: str = ""
    status: int = 200
    pending: list[asyncio.Task[None]] = field(default_factory=list)  # calls not yet settled

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.started

    @property
    def left(self) -> float | None:
        """Seconds until the caller's deadline; None: there is none."""
        if self.caller.deadline_ms is None:
            return None
        return self.caller.deadline_ms / 1000 - self.elapsed

    @property
    def written(self) -> int:
        """Tokens of the answer, or about so many of one that was hung up on."""
        return self.completion_tokens or max(self.drafted, self.cloud_cost.completion_tokens)

    def decide(self, decision: Decision) -> Decision:
        self.decision = decision
        return decision

    def first(self) -> None:
        """The first byte of the answer is on its way."""
        if self.first_seconds is None:
            self.first_seconds = self.elapsed

    def refuse(self, refused: Refused) -> None:
        self.error, self.status = refused.message, refused.status
        self.decide(Decision("refused", refused.message, self.request.model, asked=self.asked))


def turned_away(refused: Refused, caller: Caller, model: str, seconds: float) -> Trace:
    """Of a question that came no further than the door. caller: with the key '' where it had none
    that is live."""
    request = ChatRequest({"model": model, "messages": []})
    trace = Trace(request, caller, at=time.time() - seconds, seconds=seconds)
    trace.refuse(refused)
    return trace


OnDone = Callable[[Trace], None]
