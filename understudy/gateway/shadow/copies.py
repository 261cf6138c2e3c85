"""A copy of live traffic as a logged call, and as an event of the store."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any

from understudy.clouds.completions import Assembly
from understudy.clouds.events import DONE, EventData, OverlongEventError
from understudy.gateway.shadow.formats import UnusableError, logged_call
from understudy.gateway.shadow.passing import Copied
from understudy.gateway.shadow.records import LoggedCall
from understudy.store.events import Event
from understudy.types import Cost

KEY = "shadow"  # whose events they are, to export and to delete
_MOST_UNPACKED = 64 * 2**20
_CUT = "have an answer that did not come to its end, or is too long to copy"


def call_of(copied: Copied, place: str) -> LoggedCall:
    """Raises UnusableError."""
    if not copied.whole:
        raise UnusableError(_CUT)
    if copied.status != 200:
        raise UnusableError("are calls that failed")
    content = _unpacked(copied)
    try:
        asked = json.loads(copied.asked)
        streamed = copied.type == "text/event-stream"
        response = _assembled(content) if streamed else json.loads(content)
    except OverlongEventError:
        raise UnusableError(_CUT) from None
    except (ValueError, RecursionError):
        raise UnusableError("are no JSON") from None
    if not isinstance(asked, Mapping) or not isinstance(response, Mapping):
        raise UnusableError("are no JSON object")
    return logged_call({"request": asked, "response": response}, place)


def event_of(copied: Copied, call: LoggedCall, dollars: float) -> Event:
    """With what its export does not have as columns in `signals`."""
    more = {
        "not_text": call.not_text,
        "cached_tokens": call.cached_tokens,
        "written_tokens": call.written_tokens,
    }
    prompt, completion = call.prompt_tokens or 0, call.completion_tokens or 0
    message = {"role": "assistant", "content": call.answer}
    return Event(
        id=call.id or f"copy-{hashlib.blake2b(copied.asked, digest_size=8).hexdigest()}",
        at=copied.at,
        key=KEY,
        answered_by="cloud",
        why="shadow mode passes every request through",
        model=call.model,
        asked=True,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cost=Cost(1, prompt, completion, dollars=dollars),
        seconds=copied.seconds,
        signals={"shadow": {name: value for name, value in more.items() if value}},
        metadata=call.metadata,
        request=call.body,
        answer={"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]},
    )


def _unpacked(copied: Copied) -> bytes:
    encoding = copied.encoding.lower()
    if encoding in ("", "identity"):
        return copied.answered
    if encoding not in ("gzip", "deflate"):
        raise UnusableError(f"have an answer that is packed as {encoding[:20]}")
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        content = reader.decompress(copied.answered, _MOST_UNPACKED)
    except zlib.error:
        content = b""
    if not reader.eof:
        raise UnusableError("have an answer that cannot be unpacked")
    return content


def _assembled(content: bytes) -> dict[str, Any]:
    """The chunks of a stream as one completion."""
    events, whole = EventData(), Assembly()
    first: Mapping[str, Any] = {}
    usage: Any = None
    calls: list[Any] = []
    for data in (*events.feed(content), *events.end()):
        if data.strip() == DONE:
            continue
        chunk = json.loads(data)
        if not isinstance(chunk, Mapping):
            continue
        if chunk.get("error"):
            raise UnusableError("are calls that failed")
        first, usage = first or chunk, chunk.get("usage") or usage
        whole.add(chunk)
        calls += _tool_calls(chunk)
    if whole.finish_reason is None:
        raise UnusableError(_CUT)
    message = {"role": "assistant", "content": "".join(whole.texts), "tool_calls": calls}
    return {
        "id": first.get("id"),
        "model": first.get("model"),
        "choices": [{"index": 0, "message": message, "finish_reason": whole.finish_reason}],
        "usage": usage,
    }


def _tool_calls(chunk: Mapping[str, Any]) -> list[Any]:
    """Whatever else the chunk may have in their place."""
    choices = chunk.get("choices")
    found: list[Any] = []
    for choice in choices if isinstance(choices, list) else ():
        delta = choice.get("delta") if isinstance(choice, Mapping) else None
        calls = delta.get("tool_calls") if isinstance(delta, Mapping) else None
        found += calls if isinstance(calls, list) else []
    return found
