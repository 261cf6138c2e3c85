"""Refusals of the door, and how each dialect writes them."""

from __future__ import annotations

from typing import Any

from understudy.gateway.requests import Refused

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def invalid(message: str, param: str | None = None, code: str | None = None) -> Refused:
    """A request that cannot be answered as it is."""
    return Refused(400, "invalid_request_error", message, param=param, code=code)


def unsupported(param: str, message: str) -> Refused:
    """A wish that nobody here can fulfil."""
    return invalid(message, param, "unsupported_parameter")


def not_found(message: str, code: str | None = None, param: str | None = None) -> Refused:
    return Refused(404, "not_found_error", message, code=code, param=param)


def internal_error() -> Refused:
    """What a caller is told of a fault of ours; the log knows more."""
    return Refused(
        500,
        "server_error",
        "the gateway failed on this request; its log has the request id",
        code="internal_error",
    )


def unreachable() -> Refused:
    """The database is away: nothing that needs it is done, and nothing is let in unseen."""
    return Refused(
        503,
        "server_error",
        "the gateway's store cannot be reached",
        code="store_unavailable",
        retry_after=1.0,
    )


def too_slow(seconds: float) -> Refused:
    return Refused(
        504, "timeout_error", f"no whole answer within {seconds:g} seconds", code="timeout"
    )


def openai_error(refused: Refused, request_id: str = "") -> dict[str, Any]:
    return {
        "error": {
            "message": refused.message,
            "type": refused.type,
            "param": refused.param,
            "code": refused.code,
        }
    }


def anthropic_error(refused: Refused, request_id: str = "") -> dict[str, Any]:
    fallback = "invalid_request_error" if refused.status < 500 else "api_error"
    message, param = refused.message, refused.param
    if param and not message.startswith(param):  # it has no field of its own for that
        message = f"{param}: {message}"
    found = {"type": _ANTHROPIC_TYPES.get(refused.status, fallback), "message": message}
    if refused.code:
        found["code"] = refused.code
    return {"type": "error", "error": found, "request_id": request_id or None}
