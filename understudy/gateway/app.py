"""The gateway as a Starlette application: its routes, each with what its description says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, request_response

from understudy.gateway.dialects.chat import Chat
from understudy.gateway.dialects.completions import Completions
from understudy.gateway.dialects.dialect import Dialect
from understudy.gateway.dialects.embeddings import EmbeddingBody
from understudy.gateway.dialects.feedback import FeedbackBody
from understudy.gateway.dialects.messages import CountBody, Messages
from understudy.gateway.dialects.responses import Responses
from understudy.gateway.dialects.stored import MetadataBody
from understudy.gateway.door.answering import Answering
from understudy.gateway.door.door import Door
from understudy.gateway.door.doorway import Doorway, error_of
from understudy.gateway.door.exchange import App, Receive, Scope, Send, exchange_of
from understudy.gateway.door.keeping import Keeping
from understudy.gateway.door.openapi import Endpoint, described, thing
from understudy.gateway.door.plain import Json, Plain
from understudy.gateway.requests import Refused

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]

_LIST = thing(data="array", has_more="boolean")
_OF_A_LIST = ("after", "limit", "order")
_SHOWN = [  # headers that a page of an allowed origin may read
    "x-request-id",
    "retry-after",
    "x-should-retry",
    "x-understudy-answered-by",
    "x-understudy-why",
    "x-understudy-model",
    "x-understudy-version",
    "x-understudy-asked",
    "x-understudy-left",
]


def create_app(
    door: Door, pages: Sequence[BaseRoute] = (), lifespan: Lifespan | None = None
) -> Starlette:
    """The whole gateway. pages: more routes, such as those of the dashboard."""
    endpoints = [*_answering(door), *_plain(door), *_stored(door)]
    description = described(endpoints, door.keys is not None)

    async def openapi(request: Request) -> Response:
        return Json(description)

    routes: list[BaseRoute] = [
        Route(each.path, _Routed(each.path, each.run), methods=[each.method]) for each in endpoints
    ]
    shown = Route("/openapi.json", _Routed("/openapi.json", request_response(openapi)))
    shown.methods = {"GET", "HEAD"}
    app = Starlette(
        routes=[*routes, shown, *pages],
        middleware=_middleware(door),
        exception_handlers={HTTPException: _routing_error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # it would send callers to whatever host they named
    return app


class _Routed:
    """An endpoint that tells the exchange which route it is."""

    def __init__(self, path: str, app: App) -> None:
        self.path, self.app = path, app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange_of(scope).route = self.path
        await self.app(scope, receive, send)


def _middleware(door: Door) -> list[Middleware]:
    """Pages of other origins are let in, where the settings name them, around everything else:
    so they can read errors too."""
    found = [Middleware(Doorway, door=door)]
    if door.settings.cors_origins:
        cors: Any = Middleware(
            CORSMiddleware,
            allow_origins=door.settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=_SHOWN,
        )
        found.insert(0, cors)
    return found


async def _routing_error(request: Request, error: Exception) -> Response:
    """What the router refuses: a path or a method that there is not."""
    assert isinstance(error, HTTPException)
    code = {404: "unknown_url", 405: "method_not_allowed"}.get(error.status_code)
    detail = f"{request.method[:20]} on this path: {error.detail.lower()}"
    if error.status_code == 404 and (meant := _meant(request)):
        detail += f"; {meant} is here: a base URL of OpenAI's clients ends in /v1, one of "
        detail += "Anthropic's before it"
    refused = Refused(error.status_code, "invalid_request_error", detail, code=code)
    content = error_of(exchange_of(request.scope), refused)
    return Json(content, error.status_code, error.headers)


def _meant(request: Request) -> str:
    """The path that was meant, where /v1 is left out or there twice; '': none."""
    path = f"/v1{request.url.path.replace('/v1', '')}"
    known = {route.path for route in request.app.routes if isinstance(route, Route)}
    return path if path in known else ""


def _answering(door: Door) -> list[Endpoint]:
    kinds: list[tuple[str, type[Dialect], str, dict[str, Any]]] = [
        (
            "/v1/chat/completions",
            Chat,
            "OpenAI's chat completions",
            thing(id="string", choices="array"),
        ),
        ("/v1/responses", Responses, "OpenAI's responses", thing(id="string", output="array")),
        ("/v1/messages", Messages, "Anthropic's messages", thing(id="string", content="array")),
        (
            "/v1/completions",
            Completions,
            "OpenAI's older completions",
            thing(id="string", choices="array"),
        ),
    ]
    return [
        Endpoint(
            "POST",
            path,
            Answering(door, kind),
            summary,
            answer,
            body=kind.body_kind,
            streams=True,
            scope="inference",
            anthropic=kind is Messages,
        )
        for path, kind, summary, answer in kinds
    ]


def _plain(door: Door) -> list[Endpoint]:
    plain, scope = Plain(door), "inference"
    feedback = request_response(plain.feedback)
    said, model = thing(feedback_id="string"), thing(id="string", object="string")
    found: list[Endpoint] = [
        Endpoint("GET", "/v1/models", request_response(plain.models), "models", _LIST, scope=scope),
        Endpoint(
            "GET",
            "/v1/models/{model:path}",
            request_response(plain.model),
            "one model",
            model,
            scope=scope,
        ),
        Endpoint(
            "POST",
            "/v1/messages/count_tokens",
            request_response(plain.count_tokens),
            "about how many tokens a message has",
            thing(input_tokens="integer"),
            body=CountBody,
            anthropic=True,
            scope=scope,
        ),
        Endpoint(
            "POST",
            "/v1/embeddings",
            request_response(plain.embeddings),
            "embeddings, passed through to the cloud",
            thing(data="array"),
            body=EmbeddingBody,
            scope=scope,
        ),
    ]
    for path in ("/feedback", "/api/public/scores"):  # TensorZero's path, and Langfuse's
        about = "how good an answer was"
        found.append(Endpoint("POST", path, feedback, about, said, FeedbackBody, scope="feedback"))
    status = thing(status="string")
    return [
        *found,
        Endpoint("GET", "/health", request_response(plain.health), "whether it runs", status),
        Endpoint("GET", "/ready", request_response(plain.ready), "whether it takes more", status),
        Endpoint(
            "GET",
            "/metrics",
            request_response(plain.metrics),
            "metrics of Prometheus",
            {},
            scope="" if door.settings.open_metrics else "metrics",
        ),
    ]


def _stored(door: Door) -> list[Endpoint]:
    if door.events is None:
        return []
    keeping, base = Keeping(door, door.events), "/v1/chat/completions"
    one = f"{base}/{{completion}}"
    completion = thing(id="string", object="string")
    return [
        Endpoint(
            "GET",
            base,
            request_response(keeping.list),
            "stored completions",
            _LIST,
            scope="stored",
            query=(*_OF_A_LIST, "model"),
        ),
        Endpoint("GET", one, request_response(keeping.get), "one", completion, scope="stored"),
        Endpoint(
            "GET",
            f"{one}/messages",
            request_response(keeping.messages),
            "what was asked",
            _LIST,
            scope="stored",
            query=("after", "limit"),
        ),
        Endpoint(
            "POST",
            one,
            request_response(keeping.update),
            "new metadata",
            completion,
            MetadataBody,
            scope="stored",
        ),
        Endpoint(
            "DELETE",
            one,
            request_response(keeping.delete),
            "delete it",
            thing(id="string", deleted="boolean"),
            scope="stored",
        ),
    ]
