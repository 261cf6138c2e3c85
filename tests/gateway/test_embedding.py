"""Embeddings pass through, and are paid."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from prometheus_client import generate_latest

from understudy.errors import ConfigError
from understudy.gateway.clouds import open_clouds
from understudy.gateway.embedding import Embeddings
from understudy.gateway.metrics import Metrics
from understudy.gateway.recording import event_of
from understudy.gateway.requests import Caller, Refused
from understudy.gateway.settings import ServeSettings
from understudy.gateway.trace import Trace
from understudy.gateway.upstreams.embedding import EmbeddingSettings
from understudy.settings import check_settings
from understudy.store.batches import AsyncLedger
from understudy.store.caps import Cap
from understudy.store.database import open_database
from understudy.store.ledger import Ledger

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BODY = {"model": "small", "input": ["one two", "three"], "dimensions": 2}
SIZE = len(orjson.dumps(BODY))


@dataclass
class Books:
    """A ledger in a file; a cap that is a share counts every question."""

    folder: Path
    dollars: float = 100
    spent: float = 0.0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[AsyncLedger]:
        caps = [Cap.of("total", "dollars", self.dollars), Cap.of("total", "share", 1)]
        ledger = Ledger(open_database(str(self.folder / "ledger.db")), caps)
        try:
            async with AsyncLedger(ledger) as books:
                yield books
        finally:
            self.spent = ledger.spent("total").dollars


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path)


def embedded(
    handler: Handler,
    books: Books,
    body: Any = BODY,
    traces: list[Trace] | None = None,
    **settings: Any,
) -> Any:
    """What becomes of one request against an endpoint that answers so."""
    told = [] if traces is None else traces

    async def run() -> Any:
        app = web.Application()
        app.router.add_post("/v1/embeddings", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        given = {"base_url": f"http://127.0.0.1:{port}/v1", "model": "embed-3", "price": 1e6}
        endpoint = EmbeddingSettings.model_validate(given | settings)
        async with books.opened() as ledger:
            embeddings = Embeddings({"small": endpoint}, ledger, 0.0, None, told.append)
            try:
                return await embeddings.embed(body, Caller("k1"))
            finally:
                await embeddings.close()
                await runner.cleanup()

    return asyncio.run(run())


async def well(request: web.Request) -> web.Response:
    body = await request.json()
    assert request.headers["x-client-request-id"].startswith("call-")
    data = [{"index": n, "embedding": [0.5, 1.0]} for n in range(len(body["input"]))]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    return web.json_response({"data": data, "model": body["model"], "usage": usage, "odd": 1})


async def refusing(request: web.Request) -> web.Response:
    return web.json_response({"error": {"message": "no such size", "code": "size"}}, status=400)


async def broken(request: web.Request) -> web.Response:
    return web.Response(text="<html>", content_type="text/html")


def test_a_ledger_that_does_not_answer_closes_the_endpoint(books: Books) -> None:
    class Silent:
        longest = 0.05

        def see(self, *_: Any) -> None: ...

        async def reserve(self, *_: Any) -> None:
            await asyncio.sleep(60)

    async def run() -> None:
        given = {"base_url": "http://127.0.0.1:9/v1", "model": "embed-3", "price": 1}
        endpoint = EmbeddingSettings.model_validate(given)
        embeddings = Embeddings({"small": endpoint}, Silent(), 0.0)  # type: ignore[arg-type]
        with pytest.raises(Refused) as caught:
            await embeddings.embed(BODY, Caller("k1"))
        assert (caught.value.status, caught.value.code) == (503, "ledger_unavailable")

    asyncio.run(run())


def test_texts_are_embedded_and_cost_what_the_endpoint_counted(books: Books) -> None:
    """A dollar a token, so three dollars."""
    traces = list[Trace]()
    found = embedded(well, books, traces=traces)
    assert found["model"] == "embed-3"
    assert len(found["data"]) == 2
    assert found["odd"] == 1
    assert books.spent == 3
    event = event_of(traces[0])
    assert (event.answered_by, event.cloud, event.model) == ("cloud", "small", "embed-3")
    assert (event.prompt_tokens, event.cost.dollars, event.asked) == (3, 3, True)
    metrics = Metrics()
    metrics.answered(traces[0])
    assert b'understudy_spend_dollars_total{cloud="small"} 3.0' in generate_latest(metrics.registry)


def test_a_kept_connection_that_the_other_side_gave_up_is_no_failure(books: Books) -> None:
    """It began no answer, so nothing is charged for it."""
    whole = orjson.dumps({"data": [], "usage": {"prompt_tokens": 3}})
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    came: list[int] = []  # over each connection

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(came)
        came.append(0)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while came != [2]:
                if came[number]:
                    writer.write(head % len(whole) + whole)
                asked = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(asked.partition(b"content-length:")[2].split()[0]))
                came[number] += 1
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        given = EmbeddingSettings.model_validate({"base_url": url, "model": "e", "price": 1e6})
        async with books.opened() as ledger:
            embeddings = Embeddings({"small": given}, ledger, 0.0)
            for _ in range(2):
                assert (await embeddings.embed(BODY, Caller("k1")))["data"] == []
            await embeddings.close()
        server.close()

    asyncio.run(run())
    assert came == [2, 1]
    assert books.spent == 6


def test_a_refusal_of_the_question_is_passed_on_and_costs_nothing(books: Books) -> None:
    with pytest.raises(Refused, match="no such size") as caught:
        embedded(refusing, books)
    assert (caught.value.status, caught.value.code) == (400, "size")
    assert books.spent == 0


def test_an_answer_that_is_none_costs_what_was_held(books: Books) -> None:
    """Nobody knows what was served: as many tokens as the body has bytes at most."""
    traces = list[Trace]()
    with pytest.raises(Refused, match="no JSON") as caught:
        embedded(broken, books, traces=traces)
    assert caught.value.status == 502
    assert books.spent == SIZE
    assert (traces[0].status, traces[0].failed[0].cost.dollars) == (502, SIZE)


def test_what_does_not_fit_the_budget_is_not_asked(books: Books) -> None:
    with pytest.raises(Refused) as caught:
        embedded(broken, replace(books, dollars=SIZE - 1))
    assert (caught.value.status, caught.value.type) == (429, "budget_exceeded")


def test_an_endpoint_that_is_not_there_costs_nothing(books: Books) -> None:
    with pytest.raises(Refused, match="no connection"):
        embedded(well, books, base_url="http://127.0.0.1:9/v1")
    assert books.spent == 0


def test_a_model_that_is_none_is_refused_by_name(books: Books) -> None:
    with pytest.raises(Refused, match="there is small") as caught:
        embedded(well, books, {"model": "large", "input": "x"})
    assert (caught.value.status, caught.value.param) == (404, "model")


@pytest.mark.parametrize(("dial", "usual"), [(0.0, None), (None, 0.0), (0.0, 0.5)])
def test_a_dial_of_0_embeds_nothing(books: Books, dial: float | None, usual: float | None) -> None:
    settings = {"base_url": "http://127.0.0.1:1/v1", "model": "embed-3", "price": 1.0}
    endpoints = {"small": EmbeddingSettings.model_validate(settings)}

    async def ask() -> None:
        async with books.opened() as ledger:
            embeddings = Embeddings(endpoints, ledger, 0.0, usual)
            await embeddings.embed(BODY, Caller("k1", dial=dial))

    with pytest.raises(Refused, match="the dial is at 0") as caught:
        asyncio.run(ask())
    assert (caught.value.status, caught.value.code) == (403, "never_asks")


def test_an_endpoint_is_not_called_as_a_cloud_is() -> None:
    endpoint = {"base_url": "http://localhost:1/v1", "model": "m"}
    clouds = {"small": {**endpoint, "prices": {"prompt": 1, "completion": 1}}}
    given = {"clouds": clouds, "embeddings": {"small": {**endpoint, "price": 1}}}
    with pytest.raises(ConfigError, match=r"embeddings\.small: is the name of a cloud too"):
        open_clouds(check_settings(ServeSettings, given), lambda text: None)
