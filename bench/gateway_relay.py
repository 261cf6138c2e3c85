"""The least that a gateway in Python does: Starlette takes a call, aiohttp passes it on.

    python bench/gateway_relay.py --port 9001 --to http://127.0.0.1:9000/v1/chat/completions

No checks, no keys, no ledger, no events: what bench/gateway.py measures the others against.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route


def relay(url: str) -> Starlette:
    session: aiohttp.ClientSession

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        nonlocal session
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield

    async def passed(request: Request) -> Response:
        body = await request.body()
        kind = {"content-type": "application/json"}
        answer = await session.post(url, data=body, headers=kind)
        if answer.content_type != "text/event-stream":
            content = await answer.read()
            return Response(content, answer.status, media_type=answer.content_type)
        return StreamingResponse(answer.content.iter_any(), media_type=answer.content_type)

    async def ready(request: Request) -> Response:
        return Response("ready")

    routes = [
        Route("/v1/chat/completions", passed, methods=["POST"]),
        Route("/ready", ready),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--to", required=True, help="where calls are passed on")
    given = parser.parse_args()
    uvicorn.run(
        relay(given.to),
        host="127.0.0.1",
        port=given.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
