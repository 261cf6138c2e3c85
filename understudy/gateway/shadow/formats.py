"""One row of a log, of whichever form, as a logged call.

The forms: OpenAI's stored chat completions, and its batches (input and output joined); LiteLLM's
standard logging payload and spend logs; our own exported events; a request beside its response;
a conversation that ends with the assistant's turn, as for fine-tuning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from understudy.clouds.completions import read_usage
from understudy.gateway.shadow.records import LoggedCall, text_in

Json = Mapping[str, Any]

_MOST_CHARACTERS = 1_000_000  # of a question
_REDACTED = "redacted-by-litellm"
_BODY = (  # what of a request is kept: what the local model is asked by
    *("messages", "tools", "tool_choice", "max_tokens", "max_completion_tokens", "temperature"),
    *("top_p", "stop", "response_format", "seed", "functions", "function_call", "n"),
)


class UnusableError(Exception):
    """A row that says nothing; the message completes "12 rows: ...", and is one of few."""


def logged_call(row: Any, place: str) -> LoggedCall:
    """Raises UnusableError."""
    if not isinstance(row, Mapping):
        raise UnusableError("are no JSON object")
    if isinstance(row.get("standard_logging_object"), Mapping):
        row = row["standard_logging_object"]
    if isinstance(row.get("completion"), list):
        return _event(row, place)
    if "response_cost" in row or ("spend" in row and "request_id" in row):
        return _litellm(row, place)
    request, response = _mapping(row.get("request")), _mapping(row.get("response"))
    if request is not None and response is not None:
        return _pair(request.get("body") or request, response, row, place)
    if isinstance(row.get("choices"), list):
        asked = next((row[name] for name in _ASKED if isinstance(row.get(name), list)), None)
        if asked is None:
            raise UnusableError("have an answer but no question")
        return _pair({**row, "messages": asked}, row, row, place)
    if isinstance(row.get("messages"), list):
        return _conversation(row, place)
    raise UnusableError("have no question")


_ASKED = ("messages", "input_messages", "input", "prompt")  # names of a stored question


def batch_pair(asked: Json, answered: Json, place: str) -> LoggedCall:
    """A line of a batch's input with the line of its output. Raises UnusableError."""
    response = answered.get("response") or {}
    status = response.get("status_code", 200) if isinstance(response, Mapping) else 0
    if answered.get("error") or status != 200:
        raise UnusableError("are calls that failed")
    return _pair(asked.get("body"), response.get("body"), asked, place)


def _pair(request: Any, response: Any, row: Json, place: str) -> LoggedCall:
    request, response = _mapping(request), _mapping(response)
    if request is None or response is None:
        raise UnusableError("have no question")
    status = row.get("status_code", row.get("status"))
    if response.get("error") or (isinstance(status, int) and status >= 400):
        raise UnusableError("are calls that failed")
    answer, not_text = _answer(response)
    usage = _mapping(response.get("usage")) or {}
    return _call(
        id=str(response.get("id") or row.get("id") or ""),
        place=place,
        body=request,
        answer=answer,
        model=str(response.get("model") or request.get("model") or ""),
        prompt_tokens=_count(usage.get("prompt_tokens", usage.get("input_tokens"))),
        completion_tokens=_count(usage.get("completion_tokens", usage.get("output_tokens"))),
        **_of_cache(usage),
        dollars=_dollars(row),
        metadata=_metadata(row.get("metadata")) | _metadata(request.get("metadata")),
        not_text=not_text,
    )


def _conversation(row: Json, place: str) -> LoggedCall:
    """Its last turn is the answer."""
    *asked, last = row["messages"] or [None]
    if not isinstance(last, Mapping) or last.get("role") != "assistant":
        raise UnusableError("have no answer")
    answer, not_text = _answer({"choices": [{"message": last}]})
    usage = _mapping(row.get("usage")) or row
    return _call(
        id=str(row.get("id") or ""),
        place=place,
        body={**row, "messages": asked},
        answer=answer,
        model=str(row.get("model") or ""),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        **_of_cache(usage),
        dollars=_dollars(row),
        metadata=_metadata(row.get("metadata")),
        not_text=not_text,
    )


def _litellm(row: Json, place: str) -> LoggedCall:
    """Columns of the spend table may be JSON in a text."""
    kind = str(row.get("call_type") or "completion")
    if "completion" not in kind or kind.endswith("text_completion"):
        raise UnusableError("are no chat completions")
    if str(row.get("status") or "success") != "success" or row.get("error_str"):
        raise UnusableError("are calls that failed")
    asked, response = _loaded(row.get("messages")), _loaded(row.get("response"))
    request = _mapping(_loaded(row.get("proxy_server_request"))) or {}
    request = _mapping(request.get("body")) or request
    if isinstance(asked, Mapping):
        asked = asked.get("messages")
    asked = asked or request.get("messages")
    if isinstance(asked, str):
        asked = [{"role": "user", "content": asked}]
    if not asked or not response:
        raise UnusableError("were logged without their text (store_prompts_in_spend_logs)")
    if isinstance(response, str):
        response = {"choices": [{"message": {"role": "assistant", "content": response}}]}
    answer, not_text = _answer(response)
    if _REDACTED in (answer, text_in((_mapping(asked[-1]) or {}).get("content"))):
        raise UnusableError("were logged without their text (it is redacted)")
    metadata = _mapping(_loaded(row.get("metadata"))) or {}
    own = metadata.get("spend_logs_metadata") or metadata.get("requester_metadata")
    tags = _loaded(row.get("request_tags")) or []
    parameters = _mapping(_loaded(row.get("model_parameters"))) or {}
    usage = _mapping(response.get("usage")) or {}
    return _call(
        id=str(row.get("id") or row.get("request_id") or ""),
        place=place,
        body={**parameters, **request, "messages": asked},
        answer=answer,
        model=str(row.get("model") or ""),
        prompt_tokens=_count(row.get("prompt_tokens")),
        completion_tokens=_count(row.get("completion_tokens")),
        **_of_cache(usage),
        dollars=_dollars(row),
        free=str(row.get("cache_hit")).lower() == "true",
        metadata=_metadata(own)
        | ({"tag": str(tags[0])} if isinstance(tags, list) and tags else {}),
        route=str(row.get("model_group") or ""),
        not_text=not_text,
    )


def _event(row: Json, place: str) -> LoggedCall:
    """As `understudy events export` writes them."""
    if row.get("answered_by", "cloud") != "cloud":
        raise UnusableError("were answered by a local model, not by a cloud")
    answer, not_text = _answer({"choices": [{"message": each} for each in row["completion"][:1]]})
    copied = _mapping((_mapping(row.get("signals")) or {}).get("shadow")) or {}
    return _call(
        id=str(row.get("id") or ""),
        place=place,
        body={**row, "messages": row.get("prompt")},
        answer=answer,
        model=str(row.get("model") or ""),
        prompt_tokens=_count(row.get("prompt_tokens")),
        completion_tokens=_count(row.get("completion_tokens")),
        cached_tokens=_count(copied.get("cached_tokens")) or 0,
        written_tokens=_count(copied.get("written_tokens")) or 0,
        dollars=_dollars(row),
        metadata=_metadata(row.get("metadata")),
        route=str(row.get("task") or ""),
        not_text=str(copied.get("not_text") or not_text),
    )


def _call(*, body: Json, answer: str, not_text: str, **fields: Any) -> LoggedCall:
    """Checks what every form needs."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise UnusableError("have no question")
    if not all(
        isinstance(each, Mapping) and isinstance(each.get("role"), str) for each in messages
    ):
        raise UnusableError("have a turn without a role")
    if not answer.strip() and not not_text:
        raise UnusableError("have an empty answer")
    size = sum(len(text_in(each.get("content"))) for each in messages)
    if size > _MOST_CHARACTERS:
        raise UnusableError(f"have a question of over {_MOST_CHARACTERS:,} characters")
    kept = {name: body[name] for name in _BODY if body.get(name) is not None}
    return LoggedCall(body=kept, answer=answer, not_text=not_text, **fields)


def _answer(response: Json) -> tuple[str, str]:
    """The first choice's text, and why it is no text if it is none."""
    choices = response.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, Mapping):
        raise UnusableError("have no answer")
    message = _mapping(first.get("message")) or _mapping(first.get("delta")) or {}
    text = text_in(message.get("content")) or str(first.get("text") or "")
    if message.get("tool_calls") or message.get("function_call"):
        return text, "calls a tool"
    if first.get("finish_reason") == "length":
        return text, "was cut short"
    if not text.strip() and message.get("refusal"):
        return "", "is a refusal"
    return text, ""


def _of_cache(usage: Json) -> dict[str, int]:
    """Of the prompt's tokens, those that the endpoint's cache had and took."""
    prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
    used = read_usage({**usage, "prompt_tokens": prompt})
    return {"cached_tokens": used.cached, "written_tokens": used.written}


def _dollars(row: Json) -> float | None:
    for name in ("response_cost", "spend", "dollars", "cost"):
        value = row.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return float(value)
    return None


def _metadata(found: Any) -> dict[str, str]:
    return {
        str(name): str(value)
        for name, value in (_mapping(_loaded(found)) or {}).items()
        if isinstance(value, str | int | float)
    }


def _loaded(value: Any) -> Any:
    """A JSON value that may stand in a text."""
    if not isinstance(value, str) or value[:1] not in "[{" or not value:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _mapping(value: Any) -> Json | None:
    return value if isinstance(value, Mapping) else None


def _count(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and value >= 0 else None
