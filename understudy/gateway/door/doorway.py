"""The outermost layer: ids, hosts, draining, headers of every answer, refusals, the log."""

from __future__ import annotations

import logging
import time
from typing import Any

from understudy.errors import LedgerUnavailable
from understudy.gateway.door import log
from understudy.gateway.door.bodies import Arriving, HungUpError
from understudy.gateway.door.door import Door
from understudy.gateway.door.errors import (
    anthropic_error,
    internal_error,
    openai_error,
    unreachable,
)
from understudy.gateway.door.exchange import (
    HUNG_UP,
    App,
    Exchange,
    Message,
    Receive,
    Scope,
    Send,
    send_json,
)
from understudy.gateway.door.flight import closing
from understudy.gateway.door.headers import (
    OVER_TLS,
    SECURITY,
    Headers,
    Pairs,
    decision_headers,
    plain,
    retry_headers,
)
from understudy.gateway.requests import Refused

# Answered while the gateway stops, too.
_WHILE_DRAINING = {"/health", "/ready", "/metrics"}
_ANTHROPIC = "/v1/messages"
# Asked by whatever watches over it, by its address.
_BY_ANY_NAME = {"/health", "/ready"}
_CLOSES = {408, 431}  # the rest of such a request is not read


class Doorway:
    """Wraps the routes. Whatever they raise becomes an error in the caller's dialect."""

    def __init__(self, app: App, door: Door) -> None:
        self.app, self.door = app, door
        self._hosts = _hosts(door)
        self._security = SECURITY + (OVER_TLS if door.settings.tls_certificate else [])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope["headers"])
        exchange = Exchange(headers.request_id, scope["method"], scope["path"], headers)
        scope.setdefault("state", {})["exchange"] = exchange
        arriving = Arriving(receive)
        closes = _closes(scope, headers)

        async def send_out(message: Message) -> None:
            if message["type"] == "http.response.start":
                refuses = message["status"] >= 400 and message["status"] not in _CLOSES
                if refuses and (closes or self.door.flight.draining):
                    await arriving.drop_rest(headers)
                exchange.status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    *self._headers(exchange, message),
                ]
            elif exchange.first_byte_seconds is None:
                exchange.first_byte_seconds = time.perf_counter() - exchange.started
            await send(message)

        try:
            await self._answer(exchange, scope, arriving, send_out)
        finally:
            self._finish(exchange)

    async def _answer(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._check(exchange, scope)
            await self.app(scope, receive, send)
        except Refused as refused:
            await self._refuse(exchange, refused, send)
        except LedgerUnavailable:
            log.event("store unreachable", logging.WARNING, request_id=exchange.request_id)
            await self._refuse(exchange, unreachable(), send)
        except HungUpError:
            exchange.status = HUNG_UP
        except Exception as error:
            log.fault(error, exchange.request_id, self.door.settings.log_text)
            if exchange.status:
                raise  # the server breaks the connection: the answer is not whole
            await self._refuse(exchange, internal_error(), send)

    def _check(self, exchange: Exchange, scope: Scope) -> None:
        settings = self.door.settings
        size = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
        if size + len(scope.get("query_string", b"")) > settings.max_header_bytes:
            raise Refused(
                431,
                "invalid_request_error",
                f"the headers are larger than {settings.max_header_bytes} bytes",
                code="headers_too_large",
            )
        if exchange.path in _BY_ANY_NAME:
            return
        exchange.headers.check_request_id()
        by_name = bool(settings.hosts) or self.door.is_open
        if self._hosts is not None and by_name:
            host = _without_port(exchange.headers.text("host").lower())
            if host not in self._hosts:
                raise Refused(
                    421,
                    "invalid_request_error",
                    f"host {plain(host)[:80]!r} is no name of this gateway; the setting hosts "
                    "says which are",
                    code="unknown_host",
                )
        if self.door.flight.draining and exchange.path not in _WHILE_DRAINING:
            raise closing()

    async def _refuse(self, exchange: Exchange, refused: Refused, send: Send) -> None:
        headers = retry_headers(refused)
        if refused.status in _CLOSES:
            headers.append((b"connection", b"close"))
        if refused.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await send_json(send, error_of(exchange, refused), refused.status, headers)

    def _headers(self, exchange: Exchange, message: Message) -> Pairs:
        """What every answer has, but for what it has already."""
        given = {name for name, _ in message.get("headers", [])}
        request_id = exchange.request_id.encode()
        found = [(b"x-request-id", request_id), *self._security]
        if exchange.path.startswith(_ANTHROPIC):
            found.append((b"request-id", request_id))
        if exchange.decision is not None:
            found += decision_headers(exchange.decision)
        if exchange.key is not None:
            found += self.door.limits.headers(exchange.key)
        if self.door.flight.draining:
            found.append((b"connection", b"close"))
        return [pair for pair in found if pair[0] not in given]

    def _finish(self, exchange: Exchange) -> None:
        exchange.seconds = time.perf_counter() - exchange.started
        exchange.status = exchange.status or HUNG_UP
        if self.door.finished is not None:
            try:
                self.door.finished(exchange)
            except Exception as error:  # who watches must not break what is watched
                log.fault(error, exchange.request_id, self.door.settings.log_text)
        if not self.door.settings.log_requests:
            return
        decision, key = exchange.decision, exchange.key
        first = exchange.first_byte_seconds
        log.event(
            "request",
            request_id=exchange.request_id,
            method=exchange.method,
            path=exchange.route or plain(exchange.path)[:200],
            status=exchange.status,
            milliseconds=round(exchange.seconds * 1000, 2),
            first_byte_milliseconds=None if first is None else round(first * 1000, 2),
            key=key.id if key else None,
            model=plain(exchange.model)[:200],
            streamed=exchange.streamed or None,
            answered_by=decision.answered_by if decision else None,
            answering_model=decision.model if decision else None,
            version=decision.version if decision else None,
            tokens=exchange.tokens,
            error=exchange.error,
            question=exchange.question,
        )


def error_of(exchange: Exchange, refused: Refused) -> dict[str, Any]:
    """The refusal in the dialect of the path; the exchange keeps it."""
    exchange.refused, exchange.error = refused, refused.code or refused.type
    write = anthropic_error if exchange.path.startswith(_ANTHROPIC) else openai_error
    return write(refused, exchange.request_id)


def _hosts(door: Door) -> frozenset[str] | None:
    """The names by which it may be called while it asks for no key; None: any.

    A gateway that asks for no key is called by its machine's own names only: else a page in a
    browser here could make a name of its own point to this machine, and spend the budget.
    """
    settings = door.settings
    if settings.hosts:
        return frozenset(name.lower() for name in settings.hosts)
    if settings.keys != "required" and settings.is_loopback:
        return frozenset({"localhost", "127.0.0.1", "[::1]", settings.host.lower()})
    return None


def _closes(scope: Scope, headers: Headers) -> bool:
    """Whether the connection ends with the answer, as its client wants it."""
    return scope.get("http_version") == "1.0" or "close" in headers.text("connection").lower()


def _without_port(host: str) -> str:
    name, mark, port = host.rpartition(":")
    return name if mark and port.isdigit() and (name.endswith("]") or ":" not in name) else host
