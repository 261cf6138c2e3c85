"""Servers that behave as vLLM, llama.cpp and Ollama do, as far as an engine by URL sees."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web


@dataclass
class Elsewhere:
    """kind: vllm, llama.cpp or ollama; seen: the bodies of requests for answers."""

    kind: str = "vllm"
    models: list[str] = field(default_factory=lambda: ["small"])
    key: str = ""
    logprobs: bool = True
    counts_usage: bool = True
    refuses: int = 0  # the status of every answer but the first, which is the probe's
    breaks: bool = False  # off in mid-answer
    pause: float = 0.0
    seen: list[dict[str, Any]] = field(default_factory=list)
    cancelled: int = 0
    adapters: list[str] = field(default_factory=list)

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/v1/models", self.listed),
                web.post("/v1/chat/completions", self.chat),
                web.post("/v1/completions", self.chat),
            ]
        )
        if self.kind == "vllm":
            app.router.add_post("/v1/load_lora_adapter", self.load)
            app.router.add_post("/v1/unload_lora_adapter", self.unload)
        if self.kind == "llama.cpp":
            app.router.add_get("/lora-adapters", self.scales)
        return app

    async def listed(self, request: web.Request) -> web.Response:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response(
                {"error": {"message": f"wrong key: {request.headers.get('Authorization')}"}},
                status=401,
            )
        return web.json_response({"data": [{"id": model} for model in self.models]})

    async def scales(self, request: web.Request) -> web.Response:
        known = enumerate(self.adapters)
        return web.json_response([{"id": n, "path": path, "scale": 0.0} for n, path in known])

    async def load(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not body.get("lora_name"):
            return web.json_response({"message": "lora_name is missing"}, status=400)
        if not (Path(body["lora_path"]) / "adapter_config.json").is_file():
            return web.json_response({"message": "no adapter in that folder"}, status=404)
        self.adapters.append(body["lora_name"])
        return web.Response(text="Success")

    async def unload(self, request: web.Request) -> web.Response:
        self.adapters.remove((await request.json())["lora_name"])
        return web.Response(text="Success")

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.seen.append(body)
        if self.refuses and len(self.seen) > 1:
            headers = {"Retry-After": "7"} if self.refuses == 429 else {}
            error = {"error": {"message": "not this"}}
            return web.json_response(error, status=self.refuses, headers=headers)
        if "stream_options" in body and not self.counts_usage:
            return web.json_response({"message": "stream_options?"}, status=400)
        if not body.get("stream"):
            choice: dict[str, Any] = {"message": {"content": "hi"}, "finish_reason": "length"}
            if self.logprobs:
                choice["logprobs"] = {"content": [{"token": "hi", "logprob": -0.5}]}
            return web.json_response({"choices": [choice]})
        return await self._stream(request, body)

    async def _stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        plain = "prompt" in body
        try:
            for word in ("I", " am", f" {body['model']}", " é🙂"):
                await asyncio.sleep(self.pause)
                choice: dict[str, Any] = {"text": word} if plain else {"delta": {"content": word}}
                if body.get("logprobs"):
                    choice["logprobs"] = _logprobs(word, plain)
                await self._send(response, {"choices": [choice]})
            if self.breaks:
                return response
            await self._send(response, {"choices": [{"delta": {}, "finish_reason": "stop"}]})
            if "stream_options" in body:
                usage = {"prompt_tokens": 9, "completion_tokens": 5}
                await self._send(response, {"choices": [], "usage": usage})
            await response.write(b"data: [DONE]\n\n")
        except (ConnectionError, asyncio.CancelledError):
            self.cancelled += 1
            raise
        return response

    async def _send(self, response: web.StreamResponse, event: dict[str, Any]) -> None:
        await response.write(f"data: {json.dumps(event)}\n\n".encode())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Its address."""
        runner = web.AppRunner(self.app(), handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        try:
            yield f"http://{host}:{port}/v1"
        finally:
            await runner.cleanup()


def _logprobs(word: str, plain: bool) -> dict[str, Any]:
    if plain:
        return {"tokens": [word], "token_logprobs": [-0.25], "top_logprobs": [{word: -0.25}]}
    own = {"token": word, "logprob": -0.25, "bytes": list(word.encode())}
    return {"content": [own | {"top_logprobs": [own]}]}
