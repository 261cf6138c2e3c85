"""Who asks: an API key in the request, found where keys are kept."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from understudy.gateway.door.headers import Headers
from understudy.gateway.requests import Caller, Refused

# What a key may be allowed to do. "admin" may do everything.
SCOPES = {
    "inference": "ask questions and list the models",
    "feedback": "say how good an answer was",
    "stored": "read and delete the completions that it stored",
    "metrics": "read /metrics",
    "dashboard": "look at the dashboard",
    "admin": "everything, for every key",
}
ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Identity:
    """A key as the door needs to know it; never the key itself."""

    id: str
    team: str = ""
    scopes: frozenset[str] = frozenset({"inference", "feedback", "stored"})
    dial: float | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


class Keys(Protocol):
    """Where API keys are kept. It compares hashes, in constant time."""

    async def find(self, secret: str) -> Identity | None:
        """The key that is live; None: unknown, revoked or expired."""
        ...


# Where keys are off everyone is this one.
NOBODY = Identity(ANONYMOUS, scopes=frozenset(SCOPES))


async def identify(keys: Keys | None, headers: Headers, scope: str) -> Identity:
    """Who asks, if they may do that."""
    if keys is None:
        return NOBODY
    secret = headers.secret
    if not secret:
        raise _unauthorised("give an API key, as Authorization: Bearer KEY", "missing_api_key")
    found = await keys.find(secret)
    if found is None:
        raise _unauthorised("this API key is unknown, revoked or expired", "invalid_api_key")
    if not found.may(scope):
        raise Refused(
            403,
            "permission_error",
            f"this API key has {_listed(found.scopes)}; this needs the scope {scope}",
            code="insufficient_scope",
        )
    return found


def caller_of(identity: Identity, headers: Headers, request_id: str) -> Caller:
    return Caller(
        key=identity.id,
        team=identity.team,
        dial=identity.dial,
        deadline_ms=headers.deadline_ms,
        conversation=headers.name("x-conversation-id"),
        insist=headers.insists,
        task=headers.name("x-understudy-task"),
        request_id=request_id,
    )


def _listed(scopes: Collection[str]) -> str:
    return f"the scopes {', '.join(sorted(scopes))}" if scopes else "no scopes"


def _unauthorised(message: str, code: str) -> Refused:
    return Refused(401, "authentication_error", message, code=code)
