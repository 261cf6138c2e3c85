"""Headers: read from a request, written onto an answer."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Iterable, Mapping

from understudy.gateway.door.errors import invalid
from understudy.gateway.requests import Decision, Refused
from understudy.store.caps import decimal

Pairs = list[tuple[bytes, bytes]]

_REQUEST_ID = re.compile(rb"[\x20-\x7e]{1,256}")
_MILLISECONDS = re.compile(r"[0-9]{1,9}")
_NOT_PLAIN = re.compile(r"[^\x20-\x7e]+")
_LONGEST_NAME = 256  # of a conversation or a task
_PATIENT = 60.0  # seconds: who waits for longer should hear of it
_YES, _NO = {"1", "true", "yes"}, {"", "0", "false", "no"}

# Nothing of the API is to be kept, framed, sniffed at or run by a browser.
SECURITY: Pairs = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
OVER_TLS: Pairs = [(b"strict-transport-security", b"max-age=31536000")]


class Headers:
    """The headers of a request, by lower-case name; of one that is there twice, the first."""

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._first: dict[bytes, bytes] = {}
        for name, value in pairs:
            self._first.setdefault(name, value)

    def text(self, name: str) -> str:
        return self._first.get(name.encode(), b"").decode("latin-1").strip()

    @property
    def request_id(self) -> str:
        """The caller's own, where it is one that a log can hold, else a new one."""
        given = self._request_id
        return given.decode() if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(16)}"

    def check_request_id(self) -> None:
        """Refuse one of the caller's that would be replaced: they could not find it again."""
        if self._request_id and not _REQUEST_ID.fullmatch(self._request_id):
            raise invalid(
                "x-request-id: use at most 256 printable ASCII characters", "x-request-id"
            )

    @property
    def _request_id(self) -> bytes:
        return self._first.get(b"x-request-id", b"").strip()

    @property
    def secret(self) -> str:
        """The API key that came along, as OpenAI's or as Anthropic's clients send it; ''."""
        scheme, _, value = self.text("authorization").partition(" ")
        if scheme.lower() == "bearer" and value.strip():
            return value.strip()
        return self.text("x-api-key")

    @property
    def deadline_ms(self) -> int | None:
        given = self.text("x-deadline-ms")
        if not given:
            return None
        if not _MILLISECONDS.fullmatch(given) or not int(given):
            raise invalid(
                f"x-deadline-ms: {plain(given)[:40]!r} is no whole number of milliseconds above 0",
                "x-deadline-ms",
            )
        return int(given)

    @property
    def insists(self) -> bool:
        given = self.text("x-understudy-insist").lower()
        if given not in _YES | _NO:
            raise invalid("x-understudy-insist: use true or false", "x-understudy-insist")
        return given in _YES

    def name(self, header: str) -> str:
        """A name of the caller's choice: short and printable."""
        given = self.text(header)
        if len(given) > _LONGEST_NAME or _NOT_PLAIN.search(given):
            raise invalid(
                f"{header}: use at most {_LONGEST_NAME} printable ASCII characters", header
            )
        return given


def decision_headers(decision: Decision) -> Pairs:
    """Who answered, why, which version, and what is left of each cap."""
    found = {
        "x-understudy-answered-by": decision.answered_by,
        "x-understudy-why": decision.why,
        "x-understudy-model": decision.model,
        "x-understudy-version": decision.version,
        "x-understudy-asked": "true" if decision.asked else "false",
        "x-understudy-dollars-at-most": decimal(decision.dollars),
        "x-understudy-left": left_text(decision.left),
    }
    return [(name.encode(), plain(value).encode()) for name, value in found.items() if value]


def left_text(left: Mapping[str, float]) -> str:
    """As `dollars/day=4.25, calls/hour=12`."""
    return ", ".join(f"{cap}={decimal(value)}" for cap, value in left.items())


def retry_headers(refused: Refused) -> Pairs:
    """When to come back, in whole seconds as the header has it and in milliseconds. Official
    clients sleep so long, unless they are told that it is not worth their while."""
    wait, spent = refused.retry_after, refused.code == "budget_exceeded"
    found = [(b"x-should-retry", b"false")] if (spent if wait is None else wait > _PATIENT) else []
    if wait is None:
        return found
    seconds = max(wait, 0.0)
    return [
        *found,
        (b"retry-after", str(math.ceil(seconds)).encode()),
        (b"retry-after-ms", str(math.ceil(seconds * 1000)).encode()),
    ]


def plain(text: str) -> str:
    """Text that a header can hold."""
    return _NOT_PLAIN.sub("?", text)
