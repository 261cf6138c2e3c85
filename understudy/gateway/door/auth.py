"""Who asks: the API key of a request, if it is live and may do that."""

from __future__ import annotations

from collections.abc import Collection

from understudy.gateway.door.headers import Headers
from understudy.gateway.requests import Caller, Refused
from understudy.store.keys import Key, Keys

ADMIN = "admin"  # the scope that may do everything

# Where keys are off everyone is this one.
ANYBODY = Key("anonymous", "anonymous", scopes=(ADMIN,))


def may(key: Key, scope: str) -> bool:
    return scope in key.scopes or ADMIN in key.scopes


async def identify(keys: Keys | None, headers: Headers, scope: str) -> Key:
    """Who asks, if they may do that."""
    if keys is None:
        return ANYBODY
    secret = headers.secret
    if not secret:
        raise _unauthorised("give an API key, as Authorization: Bearer KEY", "missing_api_key")
    found = await keys.find(secret)
    if found is None:
        raise _unauthorised("this API key is unknown, revoked or expired", "invalid_api_key")
    if not may(found, scope):
        raise Refused(
            403,
            "permission_error",
            f"this API key has {_listed(found.scopes)}; this needs the scope {scope}",
            code="insufficient_scope",
        )
    return found


def caller_of(key: Key, headers: Headers, request_id: str) -> Caller:
    return Caller(
        key=key.id,
        team=key.team,
        dial=key.dial,
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
