"""Embeddings pass through, and are paid."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from understudy.gateway.embedding import Embeddings
from understudy.gateway.requests import Caller, Refused
from understudy.gateway.upstreams.embedding import EmbeddingSettings
from understudy.link import Budget, Hold, Refusal
from understudy.types import Cost

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BODY = {"model": "small", "input": ["one two", "three"], "dimensions": 2}


class PlainLedger:
    """A budget in memory, with the ledger's face."""

    def __init__(self, dollars: float) -> None:
        self.budget = Budget({"dollars": dollars})

    async def reserve(self, scopes: Any, most: Cost, *_: Any, **__: Any) -> Hold | Refusal:
        return self.budget.reserve(most)

    def settle(self, hold: Hold, cost: Cost) -> None:
        self.budget.settle(hold, cost)

    def release(self, hold: Hold) -> None:
        self.budget.release(hold)


def embedded(handler: Handler, ledger: PlainLedger, body: Any = BODY, **settings: Any) -> Any:
    """What becomes of one request against an endpoint that answers so."""

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
        embeddings = Embeddings({"small": endpoint}, ledger, 0.0)  # type: ignore[arg-type]
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


def test_texts_are_embedded_and_cost_what_the_endpoint_counted() -> None:
    """A dollar a token, so three dollars."""
    ledger = PlainLedger(dollars=100)
    found = embedded(well, ledger)
    assert found["model"] == "embed-3"
    assert len(found["data"]) == 2
    assert found["odd"] == 1
    assert ledger.budget.spent("dollars") == 3


def test_a_refusal_of_the_question_is_passed_on_and_costs_nothing() -> None:
    ledger = PlainLedger(dollars=100)
    with pytest.raises(Refused, match="no such size") as caught:
        embedded(refusing, ledger)
    assert (caught.value.status, caught.value.code) == (400, "size")
    assert ledger.budget.spent("dollars") == 0


def test_an_answer_that_is_none_costs_what_was_held() -> None:
    """Nobody knows what was served: ["one two","three"] are 19 bytes, so 19 dollars at most."""
    ledger = PlainLedger(dollars=100)
    with pytest.raises(Refused, match="no JSON") as caught:
        embedded(broken, ledger)
    assert caught.value.status == 502
    assert ledger.budget.spent("dollars") == 19


def test_what_does_not_fit_the_budget_is_not_asked() -> None:
    with pytest.raises(Refused) as caught:
        embedded(broken, PlainLedger(dollars=18))
    assert (caught.value.status, caught.value.type) == (429, "budget_exceeded")


def test_an_endpoint_that_is_not_there_costs_nothing() -> None:
    ledger = PlainLedger(dollars=100)
    with pytest.raises(Refused, match="no connection"):
        embedded(well, ledger, base_url="http://127.0.0.1:9/v1")
    assert ledger.budget.spent("dollars") == 0


def test_a_model_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="there is small") as caught:
        embedded(well, PlainLedger(dollars=100), {"model": "large", "input": "x"})
    assert (caught.value.status, caught.value.param) == (404, "model")


@pytest.mark.parametrize(("dial", "usual"), [(0.0, None), (None, 0.0), (0.0, 0.5)])
def test_a_dial_of_0_embeds_nothing(dial: float | None, usual: float | None) -> None:
    settings = {"base_url": "http://127.0.0.1:1/v1", "model": "embed-3", "price": 1.0}
    endpoints = {"small": EmbeddingSettings.model_validate(settings)}
    ledger: Any = PlainLedger(dollars=100)
    with pytest.raises(Refused, match="the dial is at 0") as caught:
        asyncio.run(Embeddings(endpoints, ledger, 0.0, usual).embed(BODY, Caller("k1", dial=dial)))
    assert (caught.value.status, caught.value.code) == (403, "never_asks")
