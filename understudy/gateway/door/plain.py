"""Routes beside the answering ones: models, embeddings, feedback, health, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from understudy.gateway.dialects.checking import check
from understudy.gateway.dialects.embeddings import EmbeddingBody
from understudy.gateway.dialects.feedback import feedback_of
from understudy.gateway.dialects.message_parts import estimated_tokens
from understudy.gateway.dialects.messages import CountBody, chat_body
from understudy.gateway.door.auth import ADMIN, caller_of, may
from understudy.gateway.door.bodies import read_json
from understudy.gateway.door.door import Door
from understudy.gateway.door.errors import not_found, too_slow
from understudy.gateway.door.exchange import exchange_of
from understudy.gateway.door.limits import expected_tokens
from understudy.gateway.door.waiting import WhileConnected
from understudy.gateway.requests import ModelCard, Refused


class Json(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


class Plain:
    """Each method is a route."""

    def __init__(self, door: Door) -> None:
        self.door = door

    async def health(self, request: Request) -> Response:
        return Json({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Whether new requests should be sent here."""
        if self.door.flight.draining:
            return Json({"status": "draining"}, 503, {"retry-after": "1"})
        reason = await self.door.ready() if self.door.ready else ""
        if reason:
            return Json({"status": "not ready", "reason": reason}, 503, {"retry-after": "1"})
        return Json({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        if not self.door.settings.open_metrics:
            # No place in flight is taken: a full house is when they are looked at.
            key = await self.door.identify(exchange_of(request.scope), "metrics")
            self.door.limits.admit(key)
        if self.door.metrics is None:
            raise not_found("this gateway has no metrics", "no_metrics")
        page, kind = await self.door.metrics()
        return Response(page, headers={"content-type": kind})

    async def models(self, request: Request) -> Response:
        """What a request may name as its model, as OpenAI's and Anthropic's clients list it."""
        async with self.door.let_in(exchange_of(request.scope), "inference"):
            cards = [_card(each) for each in await self.door.core.models()]
        return Json(
            {
                "object": "list",
                "data": cards,
                "has_more": False,
                "first_id": cards[0]["id"] if cards else None,
                "last_id": cards[-1]["id"] if cards else None,
            }
        )

    async def model(self, request: Request) -> Response:
        name = request.path_params["model"]
        async with self.door.let_in(exchange_of(request.scope), "inference"):
            for card in await self.door.core.models():
                if card.id == name:
                    return Json(_card(card))
        raise not_found(f"there is no model {name[:200]!r}", "model_not_found", "model")

    async def embeddings(self, request: Request) -> Response:
        exchange, door = exchange_of(request.scope), self.door
        exchange.asks = True
        seconds = door.settings.request_seconds
        async with door.let_in(exchange, "inference") as grant:
            body, raw = await self._body(request)
            check(EmbeddingBody, body)
            exchange.model = body["model"]
            if door.embedder is None:
                raise not_found("no cloud here makes embeddings", "model_not_found", "model")
            door.limits.expect(grant, expected_tokens(len(raw), None, 1))
            caller = caller_of(grant.key, exchange.headers, exchange.request_id)
            exchange.reached_core = True
            try:
                async with asyncio.timeout(seconds), WhileConnected(request.receive) as client:
                    found = await door.embedder.embed(body, caller)
                    client.release()
            except TimeoutError:
                raise too_slow(seconds) from None
            except Refused:
                door.limits.settle(grant, 0)
                raise
            usage = found.get("usage")
            exchange.usage = usage if isinstance(usage, Mapping) else None
            if exchange.tokens is not None:
                door.limits.settle(grant, exchange.tokens)
            return Json(found)

    async def feedback(self, request: Request) -> Response:
        """How good an answer was."""
        exchange, door = exchange_of(request.scope), self.door
        async with door.let_in(exchange, "feedback") as grant:
            key = grant.key
            if door.events is None:
                raise not_found("this gateway keeps no events, so no feedback either", "no_events")
            body, _ = await self._body(request)
            given, dry = feedback_of(body, key.id)
            if not dry and not await door.events.judge(given, may(key, ADMIN)):
                shown = given.answer or given.conversation
                raise not_found(f"there is no answer {shown[:200]!r}", "answer_not_found")
            return Json({"feedback_id": given.id, "id": given.id})

    async def count_tokens(self, request: Request) -> Response:
        """An estimate: nobody is asked."""
        async with self.door.let_in(exchange_of(request.scope), "inference"):
            body, _ = await self._body(request)
            check(CountBody, body)
            return Json({"input_tokens": estimated_tokens(chat_body(body))})

    async def _body(self, request: Request) -> tuple[dict[str, Any], bytes]:
        headers = exchange_of(request.scope).headers
        return await read_json(headers, request.receive, self.door.settings)


def _card(card: ModelCard) -> dict[str, Any]:
    created = datetime.fromtimestamp(card.created, UTC)
    return {
        "id": card.id,
        "object": "model",
        "created": card.created,
        "owned_by": card.owned_by,
        "type": "model",
        "display_name": card.description or card.id,
        "created_at": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
