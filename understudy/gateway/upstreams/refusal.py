"""Why an upstream gives no answer, in words of ours.

What an upstream says may quote the key, the account or the address of whoever runs this. So
callers, headers, events and the log are told a status and a code. Only where it refuses the
question itself its own words go along, for whoever asked, without what looks like a secret.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

from understudy.clouds.completions import error_message
from understudy.clouds.failures import shortened
from understudy.clouds.listing import connection_failure
from understudy.clouds.retries import REFUSED_QUESTION, retry_after
from understudy.gateway.upstreams.calls import LATE, UpstreamError

_LARGEST = 64 * 2**10  # bytes of an error
_LONGEST_TOLD = 1000  # characters of an upstream's own words

# Refusals of the question, which another upstream may still take, and those that explain it: the
# others are about the address and the model, which the caller did not choose.
_OF_QUESTION = REFUSED_QUESTION | {404, 405, 415, 451}
_EXPLAINED = REFUSED_QUESTION | {451}

_CODE = re.compile("[a-z]+(?:_[a-z]+)*")
_LONGEST_CODE = 40
# Some refuse a wrong key with 400.
_OF_ACCOUNT = re.compile("api[ _-]?key|credential|authori[sz]|authenti|billing|quota", re.I)
# A digit or a star is looked for so far: to the end of the word it would take the square of the
# length of what an error quotes.
_LIKE_A_KEY = re.compile(
    r"\bbearer\s+\S+"
    r"|\b(?:sk|pk|rk|key|gsk|xai|hf|org|proj|AIza)(?=\S{0,200}[\d*])[-_]?[\w*.-]{8,}",
    re.I,
)


async def refusal_of(response: aiohttp.ClientResponse, key: str | None) -> UpstreamError:
    """Of an answer with another status than 200. key: that it may repeat."""
    status = response.status
    try:
        content = orjson.loads(await read_at_most(response, _LARGEST))
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        content = None
    return UpstreamError(
        with_code(f"HTTP {status}", content, key),
        status=status,
        at_fault=status not in _OF_QUESTION,
        billed=None if status in (504, 524) else False,  # a proxy that lost patience
        retry_after=retry_after(response.headers, time.time()),
        body=_told(content, key) if status in _EXPLAINED else None,
    )


def with_code(what: str, content: Any, key: str | None) -> str:
    """What happened, and an error's code where it is a plain word, as `insufficient_quota`."""
    error = _error(content)
    for code in (error.get("code"), error.get("type")):
        if isinstance(code, str) and len(code) <= _LONGEST_CODE and _CODE.fullmatch(code):
            return f"{what} ({code})" if code != key else what
    return what


def reason_of(error: BaseException) -> str:
    """In words without an address."""
    late = isinstance(error, TimeoutError) and not error.errno
    return LATE if late else connection_failure(error)


async def read_at_most(response: aiohttp.ClientResponse, size: int) -> bytes:
    """The body, or so much of it and a little more."""
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > size:
            break
    return bytes(content)


def _error(content: Any) -> Mapping[str, Any]:
    error = content.get("error") if isinstance(content, Mapping) else None
    return error if isinstance(error, Mapping) else {}


def _told(content: Any, key: str | None) -> dict[str, Any] | None:
    """Its refusal of a question, as whoever asked is told; None: it is about something else."""
    message, error = error_message(content), _error(content)
    if message is None or _OF_ACCOUNT.search(f"{message} {error.get('code')}"):
        return None
    given = {name: error.get(name) for name in ("type", "code", "param")} | {"message": message}
    shown = {name: _hidden(str(value), key) for name, value in given.items() if value is not None}
    return {"error": shown}


def _hidden(text: str, key: str | None) -> str:
    text = text.replace(key, "[key]") if key else text  # whole, so before it is cut
    return shortened(_LIKE_A_KEY.sub("[key]", text), _LONGEST_TOLD)
