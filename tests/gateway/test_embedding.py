"""Embeddings pass through, and are paid."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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
from understudy.link import Budget, Hold
from understudy.settings import check_settings
from understudy.store.caps import Refusal
from understudy.types import Cost

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BODY = {"model": "small", "input": ["one two", "three"], "dimensions": 2}
SIZE = len(orjson.dumps(BODY))


@dataclass(frozen=True)
class Held:
    hold: Hold
    request_id: str


class PlainLedger:
    """A budget in memory, with the ledger's face."""

    def __init__(self, dollars: float) -> None:
        self.budget = Budget({"dollars": dollars})
        self.seen = 0

    def see(self, scopes: Any) -> None:
        self.seen += 1

    async def reserve(
        self, scopes: Any, most: Cost, least: Cost, request_id: str, **_: Any
    ) -> Held | Refusal:
        assert self.seen  # a cap that is a share counts this question too
        found = self.budget.reserve(most)
        if isinstance(found, Hold):
            return Held(found, request_id)
        return Refusal(found.what, found.reason, found.final)

    def settle(self, held: Held, cost: Cost) -> None:
        self.budget.settle(held.hold, cost)

    def release(self, held: Held) -> None:
        self.budget.release(held.hold)


def embedded(
    handler: Handler,
    ledger: PlainLedger,
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
        embeddings = Embeddings({"small": endpoint}, ledger, 0.0, None, told.append)  # type: ignore[arg-type]
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
    ledger, traces = PlainLedger(dollars=100), list[Trace]()
    found = embedded(well, ledger, traces=traces)
    assert found["model"] == "embed-3"
    assert len(found["data"]) == 2
    assert found["odd"] == 1
    assert ledger.budget.spent("dollars") == 3
    event = event_of(traces[0])
    assert (event.answered_by, event.cloud, event.model) == ("cloud", "small", "embed-3")
    assert (event.prompt_tokens, event.cost.dollars, event.asked) == (3, 3, True)
    metrics = Metrics()
    metrics.answered(traces[0])
    assert b'understudy_spend_dollars_total{cloud="small"} 3.0' in generate_latest(metrics.registry)


def test_a_refusal_of_the_question_is_passed_on_and_costs_nothing() -> None:
    ledger = PlainLedger(dollars=100)
    with pytest.raises(Refused, match="no such size") as caught:
        embedded(refusing, ledger)
    assert (caught.value.status, caught.value.code) == (400, "size")
    assert ledger.budget.spent("dollars") == 0


def test_an_answer_that_is_none_costs_what_was_held() -> None:
    """Nobody knows what was served: as many tokens as the body has bytes at most."""
    ledger, traces = PlainLedger(dollars=100), list[Trace]()
    with pytest.raises(Refused, match="no JSON") as caught:
        embedded(broken, ledger, traces=traces)
    assert caught.value.status == 502
    assert ledger.budget.spent("dollars") == SIZE
    assert (traces[0].status, traces[0].failed[0].cost.dollars) == (502, SIZE)


def test_what_does_not_fit_the_budget_is_not_asked() -> None:
    with pytest.raises(Refused) as caught:
        embedded(broken, PlainLedger(dollars=SIZE - 1))
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


def test_an_endpoint_is_not_called_as_a_cloud_is() -> None:
    endpoint = {"base_url": "http://localhost:1/v1", "model": "m"}
    clouds = {"small": {**endpoint, "prices": {"prompt": 1, "completion": 1}}}
    given = {"clouds": clouds, "embeddings": {"small": {**endpoint, "price": 1}}}
    with pytest.raises(ConfigError, match=r"embeddings\.small: is the name of a cloud too"):
        open_clouds(check_settings(ServeSettings, given), lambda text: None)
