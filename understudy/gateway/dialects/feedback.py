"""How good an answer was: TensorZero's feedback, Langfuse's score and vLLM-SR's outcome."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from understudy.gateway.dialects.checking import Body, check
from understudy.gateway.door.errors import invalid
from understudy.gateway.ids import unmarked
from understudy.store.feedback import Feedback

COMMENT, DEMONSTRATION = "comment", "demonstration"  # metrics whose value is a text

# What vLLM's semantic router says of a routed answer, as the metric `verdict`.
Verdict = Literal["good_fit", "underpowered", "overprovisioned", "failed"]
_VERDICTS = {"good_fit": 1.0, "overprovisioned": 1.0, "underpowered": 0.0, "failed": 0.0}


Value = bool | int | float | str


class FeedbackBody(Body):
    """TensorZero's names; traceId, name and comment are Langfuse's, verdict is vLLM-SR's."""

    inference_id: str | None = Field(None, max_length=512)
    episode_id: str | None = Field(None, max_length=512)
    metric_name: str | None = Field(None, min_length=1, max_length=128)
    value: Value | dict[str, Any] | list[Any] | None = None
    tags: dict[str, str] | None = Field(None, max_length=64)
    dryrun: bool | None = None
    id: str | None = Field(None, max_length=128)
    trace_id: str | None = Field(None, alias="traceId", max_length=512)
    request_id: str | None = Field(None, max_length=512)
    name: str | None = Field(None, min_length=1, max_length=128)
    comment: str | None = None
    verdict: Verdict | None = None

    @model_validator(mode="after")
    def _of_one_answer(self) -> Self:
        answers = [self.inference_id, self.trace_id, self.request_id]
        if sum(each is not None for each in [*answers, self.episode_id]) != 1:
            raise ValueError(
                "give one of inference_id, episode_id, traceId or request_id: the id of the "
                "answer, or of the conversation"
            )
        if self.verdict is None and (self.value is None or not (self.metric_name or self.name)):
            raise ValueError("give metric_name and value, or name and value, or verdict")
        return self


def feedback_of(body: Mapping[str, Any], key: str) -> tuple[Feedback, bool]:
    """The judgement, and whether it is only to be checked."""
    check(FeedbackBody, body)
    metric = body.get("metric_name") or body.get("name") or "verdict"
    value: Any = body.get("value")
    tags = dict(body.get("tags") or {})
    if body.get("verdict") is not None:
        tags |= {"verdict": body["verdict"]}
        value = _VERDICTS[body["verdict"]]
    if isinstance(value, Mapping | list) and metric != DEMONSTRATION:
        raise invalid("value: give a number, true, false or a text", "value", "invalid_value")
    if metric in (COMMENT, DEMONSTRATION) and isinstance(value, bool | int | float):
        raise invalid(f"value: {metric} is a text", "value", "invalid_value")
    found = Feedback(
        id=body.get("id") or f"fb_{secrets.token_hex(16)}",
        key=key,
        metric=metric,
        value=_text(value) if isinstance(value, Mapping | list) else value,
        answer=unmarked(
            body.get("inference_id") or body.get("traceId") or body.get("request_id") or ""
        ),
        conversation=body.get("episode_id") or "",
        comment=body.get("comment") or "",
        tags=tags,
    )
    return found, bool(body.get("dryrun"))


def _text(demonstration: Mapping[str, Any] | list[Any]) -> str:
    """TensorZero's demonstration may be parts of text, or hold the whole answer."""
    parts = demonstration if isinstance(demonstration, list) else [demonstration]
    texts = []
    for part in parts:
        found = part if isinstance(part, str) else None
        if isinstance(part, Mapping):
            found = part.get("text") or part.get("value") or part.get("content")
        if not isinstance(found, str):
            raise invalid("value: a demonstration is a text", "value", "invalid_value")
        texts.append(found)
    return "\n".join(texts)
