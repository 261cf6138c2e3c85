"""The ids of answers: each is ours and unique, whatever a cloud calls its own, and has the mark of
the dialect that it is told in."""

from __future__ import annotations

import re
import secrets

import orjson

CHAT, MESSAGE, RESPONSE = "chatcmpl-", "msg_", "resp_"

_MARKED = re.compile(f"(?:{MESSAGE}|{RESPONSE})([0-9a-f]{{24}})")
_FIRST = re.compile(rb'\s*\{\s*"id"\s*:\s*("[^"\\]*")')  # the field that clouds begin with


def new_id() -> str:
    return f"{CHAT}{secrets.token_hex(12)}"


def marked(answer_id: str, mark: str) -> str:
    """The id of a completion as another dialect tells it."""
    return f"{mark}{answer_id.removeprefix(CHAT)}"


def unmarked(given: str) -> str:
    """The id by which the store has the answer that a caller names."""
    found = _MARKED.fullmatch(given)
    return f"{CHAT}{found[1]}" if found else given


def with_id(payload: bytes, answer_id: str) -> bytes:
    """A completion or a chunk under that id, every other byte as it came."""
    if found := _FIRST.match(payload):
        return payload[: found.start(1)] + f'"{answer_id}"'.encode() + payload[found.end(1) :]
    content = orjson.loads(payload)
    if "error" in content and not content.get("choices"):
        return payload
    return orjson.dumps({**content, "id": answer_id})
