"""Why a cloud that was wanted did not answer, and what whoever asked is told of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.gateway.engine import EngineBusy, EngineError, JobRefused
from understudy.gateway.requests import Refused
from understudy.gateway.upstreams.calls import LATE, UpstreamError
from understudy.store.caps import UNCOUNTED, Refusal

_SETTLED_SECONDS = 1.0  # at least, until another call's hold is settled


class NotAskedError(Exception):
    """The cloud was wanted and did not answer. `refused` is what a caller is told who insists."""

    def __init__(
        self,
        reason: str,
        refused: Refused,
        *,
        at_fault: bool = True,
        left: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason, self.refused = reason, refused
        self.at_fault = at_fault  # the clouds or the budget are, and not the question
        self.left = left or {}  # of each cap, where the budget is spent


def too_late(usual: float, left: float) -> NotAskedError:
    reason = f"the cloud usually takes {usual:.2f} s and {max(left, 0.0):.2f} s are left"
    return NotAskedError(reason, Refused(504, "timeout_error", reason, code="deadline_exceeded"))


def not_in_time(deadline_ms: int) -> NotAskedError:
    reason = f"the cloud did not answer within {deadline_ms} ms"
    return NotAskedError(reason, Refused(504, "timeout_error", reason, code="deadline_exceeded"))


def not_offered(why: UpstreamError) -> NotAskedError:
    """Of a cloud that is not even called."""
    if not why.at_fault and why.status is not None:
        return NotAskedError(str(why), of_upstream(why.status, str(why), why.body), at_fault=False)
    return unavailable(str(why), after=why.retry_after)


def gave_none(cloud: str, error: UpstreamError) -> NotAskedError:
    """Of a cloud that was called."""
    reason = f"{cloud} gave no answer: {error}"
    if not error.at_fault and error.status is not None:
        refused = of_upstream(error.status, reason, error.body)
        return NotAskedError(reason, refused, at_fault=False)
    status, type_ = (504, "timeout_error") if str(error) == LATE else (502, "upstream_error")
    refused = Refused(status, type_, reason, code=type_, retry_after=error.retry_after)
    return NotAskedError(reason, refused, at_fault=error.at_fault)


def of_upstream(status: int, message: str, body: Mapping[str, Any] | None) -> Refused:
    """The cloud's own refusal of the question, passed on; the message where it explains nothing."""
    said = body.get("error") if body else None
    said = said if isinstance(said, Mapping) else {}
    return Refused(
        status,
        str(said.get("type") or "invalid_request_error"),
        str(said.get("message") or message),
        code=None if said.get("code") is None else str(said["code"]),
        param=None if said.get("param") is None else str(said["param"]),
    )


def over_budget(refusal: Refusal, usual: float | None = None) -> NotAskedError:
    """usual: how long a call usually takes, in seconds, and so until another's hold is settled."""
    if refusal.what == UNCOUNTED:
        kind, code, field = "invalid_request_error", "uncountable_cost", "max_tokens"
        refused = Refused(400, kind, refusal.reason, code=code, param=field)
        return NotAskedError(refusal.reason, refused, at_fault=False)
    resets = refusal.resets_at
    after = None if resets is None else max(resets - time.time(), 0.0)
    reason = f"the budget is spent ({refusal.reason})"
    if not refusal.final:
        after = max(usual or 0.0, _SETTLED_SECONDS)
        reason = f"other calls hold what is left of the budget ({refusal.reason})"
    if refusal.too_small:
        reason = refusal.reason
        if not refusal.what.startswith("calls"):
            reason += "; raise the cap, or lower spending.least_tokens"
    refused = Refused(429, "budget_exceeded", reason, code="budget_exceeded", retry_after=after)
    return NotAskedError(reason, refused, left=refusal.left)


def unavailable(
    reason: str, code: str = "cloud_unavailable", after: float | None = None
) -> NotAskedError:
    refused = Refused(503, "service_unavailable", reason, code=code, retry_after=after)
    return NotAskedError(reason, refused)


def of_several(failures: Sequence[NotAskedError]) -> NotAskedError:
    """Of clouds that were tried in turn: every reason. It is the question's fault where none of
    them has another reason; else the last of the others says which error it is."""
    if len(failures) == 1:
        return failures[0]
    others = [each for each in failures if each.at_fault]
    last = (others or failures)[-1]
    reason = "; ".join(dict.fromkeys(each.reason for each in failures))
    message = reason if others else last.refused.message
    after = _soonest(*(each.refused.retry_after for each in failures))
    left = next((each.left for each in failures if each.left), {})
    refused = _with(last.refused, message, after)
    return NotAskedError(reason, refused, at_fault=bool(others), left=left)


def neither(unable: str, cloud: Refused, engine: EngineError | None = None) -> Refused:
    """The cloud's error, with both reasons. unable: reads after "the local model"."""
    busy = engine.retry_after if isinstance(engine, EngineBusy) else None
    after = _soonest(cloud.retry_after, busy)
    return _with(cloud, f"{cloud.message}; and the local model {unable}", after)


def refused_by(error: EngineError) -> Refused:
    """The local engine's error, where no cloud was wanted."""
    if isinstance(error, EngineBusy):
        return Refused(
            429,
            "rate_limit_error",
            f"the local engine is busy: {error}",
            code="engine_busy",
            retry_after=error.retry_after,
        )
    if isinstance(error, JobRefused):
        return Refused(
            400,
            "invalid_request_error",
            str(error),
            code="unsupported_by_local_model",
            param=error.param,
        )
    return Refused(503, "server_error", f"the local engine failed: {error}", code="engine_failed")


def unable_by(error: EngineError) -> str:
    """Why the local model does not answer; reads after "the local model"."""
    if isinstance(error, JobRefused):
        return f"cannot: {error}"
    return f"is busy: {error}" if isinstance(error, EngineBusy) else f"failed: {error}"


def _with(refused: Refused, message: str, retry_after: float | None) -> Refused:
    code, param = refused.code, refused.param
    return Refused(
        refused.status, refused.type, message, code=code, param=param, retry_after=retry_after
    )


def _soonest(*times: float | None) -> float | None:
    return min((each for each in times if each is not None), default=None)
