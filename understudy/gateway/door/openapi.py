"""The description of the gateway in OpenAPI 3.1, made of its routes and the models of bodies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic.json_schema import models_json_schema

from understudy import __version__
from understudy.gateway.dialects.checking import Body
from understudy.gateway.door.exchange import App

Schema = dict[str, Any]

_REF = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")

# Whatever needs a key, a body or a place may be answered with these.
_COMMON = {
    400: "the request cannot be answered as it is; param says which field",
    401: "no API key, or one that is not live",
    403: "the API key lacks the scope",
    404: "there is no such thing",
    408: "the body did not arrive in time",
    413: "the body is too large",
    415: "the body is no JSON in UTF-8",
    421: "the host is no name of this gateway",
    429: "a rate limit, a budget or a full queue; retry-after says when to come back",
    431: "the headers are too large",
    500: "a fault of the gateway",
    502: "a fault of the cloud",
    503: "the gateway is stopping, or what it needs cannot be reached",
    504: "no answer in time",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A route, and what its description says."""

    method: str
    path: str
    run: App
    summary: str
    answer: Schema
    body: type[Body] | None = None
    streams: bool = False
    scope: str = ""  # that a key needs; '': none
    query: tuple[str, ...] = ()
    anthropic: bool = False  # errors in Anthropic's shape


def thing(**properties: str) -> Schema:
    """An object that has at least these properties, of these JSON types."""
    return {
        "type": "object",
        "required": list(properties),
        "properties": {name: {"type": kind} for name, kind in properties.items()},
    }


def described(endpoints: Iterable[Endpoint], with_keys: bool) -> Schema:
    """The whole description."""
    endpoints = list(endpoints)
    bodies = sorted({each.body for each in endpoints if each.body}, key=lambda body: body.__name__)
    _, schemas = models_json_schema([(body, "validation") for body in bodies], ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for each in endpoints:
        paths.setdefault(_path(each.path), {})[each.method.lower()] = _operation(each, with_keys)
    components: Schema = {"schemas": schemas.get("$defs", {}) | _errors()}
    if with_keys:
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "understudy",
            "version": __version__,
            "description": "A local model first, the cloud within your budget.",
        },
        "paths": paths,
        "components": components,
    }


def _operation(endpoint: Endpoint, with_keys: bool) -> Schema:
    content: Schema = {"application/json": {"schema": endpoint.answer}}
    if endpoint.streams:
        content["text/event-stream"] = {}
    if not endpoint.answer:
        content = {"text/plain": {"schema": {"type": "string"}}}
    found: Schema = {
        "summary": endpoint.summary,
        "operationId": _operation_id(endpoint),
        "parameters": _parameters(endpoint),
        "responses": {"200": {"description": "the answer", "content": content}}
        | {str(status): _error(text, endpoint.anthropic) for status, text in _COMMON.items()},
    }
    if endpoint.body is not None:
        schema = {"$ref": _REF.format(model=endpoint.body.__name__)}
        found["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    if endpoint.scope and with_keys:
        found["security"] = [{"bearer": []}, {"key": []}]
        found["description"] = f"Needs the scope {endpoint.scope}."
    return found


def _parameters(endpoint: Endpoint) -> list[Schema]:
    text = {"type": "string"}
    found: list[Schema] = [
        {"name": name, "in": "path", "required": True, "schema": {**text, "minLength": 1}}
        for name in _PARAMETER.findall(endpoint.path)
    ]
    schemas: Mapping[str, Schema] = {
        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
        "order": {"type": "string", "enum": ["asc", "desc"]},
    }
    return found + [
        {"name": name, "in": "query", "required": False, "schema": schemas.get(name, text)}
        for name in endpoint.query
    ]


def _error(text: str, anthropic: bool) -> Schema:
    name = "AnthropicError" if anthropic else "Error"
    schema = {"$ref": _REF.format(model=name)}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _errors() -> Mapping[str, Schema]:
    maybe = {"type": ["string", "null"]}
    error = thing(message="string", type="string")
    error["required"] += ["param", "code"]
    error["properties"] |= {"param": maybe, "code": maybe}
    anthropic = thing(type="string") | {}
    anthropic["required"] = ["type", "error"]
    anthropic["properties"] |= {"error": thing(type="string", message="string")}
    return {
        "Error": {"type": "object", "required": ["error"], "properties": {"error": error}},
        "AnthropicError": anthropic,
    }


def _path(path: str) -> str:
    """Without Starlette's convertors."""
    return _PARAMETER.sub(r"{\1}", path)


def _operation_id(endpoint: Endpoint) -> str:
    words = re.findall(r"\w+", _path(endpoint.path))
    return "_".join([endpoint.method.lower(), *(word for word in words if word != "v1")])
