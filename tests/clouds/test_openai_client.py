"""The wire format, held to the official client: it hears and sends what ours does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_type_hints

import pytest
from aiohttp import web
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from pydantic import TypeAdapter

from tests.clouds.endpoint_server import USAGE, Call, completion, send_stream, serving, streamed
from tests.clouds.http_client import KEY, QUESTION, ask_one, cloud_of


def faults_of(body: dict[str, Any]) -> Iterator[str]:
    """What OpenAI's own types do not allow in a request."""
    form: Any = CompletionCreateParamsStreaming if "stream" in body else None
    form = form or CompletionCreateParamsNonStreaming
    yield from (f"unknown: {name}" for name in body if name not in allowed(form))
    yield from (f"missing: {name}" for name in form.__required_keys__ if name not in body)
    for name, value in body.items():
        kind: Any = allowed(form).get(name, Any)
        kind = list[ChatCompletionMessageParam] if name == "messages" else kind
        try:
            TypeAdapter(kind).validate_python(value, strict=True)
        except ValueError as error:
            yield f"{name}: {error}"


def allowed(form: Any) -> dict[str, Any]:
    return get_type_hints(form)


async def strict(call: Call) -> web.StreamResponse:
    faults = list(faults_of(call.body))
    if faults:
        return web.json_response({"error": {"message": "; ".join(faults)}}, status=400)
    if call.body.get("stream"):
        usage = USAGE if call.body.get("stream_options") else None
        return await send_stream(call, [streamed(["fo", "ur"], usage)])
    return web.json_response(completion())


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_sent_is_what_openai_documents(stream: bool) -> None:
    extra = {"reasoning_effort": "low", "top_p": 0.9, "seed": 7}
    with serving(strict) as server:
        cloud = cloud_of(server, stream=stream, max_tokens=9, temperature=0.0, extra_body=extra)
        reply = ask_one(cloud)
        wrong = ask_one(cloud_of(server, extra_body={"reasoning_efort": "low"}))
    assert (reply.error, reply.text) == (None, "four")
    assert wrong.error == "HTTP 400: unknown: reasoning_efort"  # the server is strict indeed


@pytest.mark.parametrize("stream", [False, True])
def test_the_official_client_hears_and_sends_the_same(stream: bool) -> None:
    with serving(strict) as server:
        reply = ask_one(cloud_of(server, stream=stream, max_tokens=9))
        client = OpenAI(base_url=server.url, api_key=KEY)
        asked: Any = {
            "model": "big",
            "max_tokens": 9,
            "messages": [
                {"role": "system", "content": QUESTION.messages[0].content},
                {"role": "user", "content": QUESTION.prompt},
            ],
        }
        if stream:
            options: Any = {"include_usage": True}
            chunks = list(
                client.chat.completions.create(**asked, stream=True, stream_options=options)
            )
            text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
            usage = chunks[-1].usage
        else:
            whole = client.chat.completions.create(**asked)
            text, usage = whole.choices[0].message.content or "", whole.usage
        client.close()
    assert usage is not None
    assert (reply.text, reply.prompt_tokens) == (text, usage.prompt_tokens)
    assert reply.completion_tokens == usage.completion_tokens
    ours, theirs = server.calls
    assert ours.body == theirs.body
    assert ours.path == theirs.path
    assert ours.headers["authorization"] == theirs.headers["authorization"]
    assert ours.headers["content-type"] == theirs.headers["content-type"]
