"""What Prometheus and OpenTelemetry are told, by a core that answers over real sockets."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.gateways import Built, gateway, streamed
from tests.gateway.serving import serving
from tests.gateway.upstream import Behaviour, MockUpstream
from understudy.gateway.door.exchange import Exchange
from understudy.gateway.door.headers import Headers
from understudy.gateway.metrics import Metrics
from understudy.gateway.requests import Caller, ChatRequest, Refused
from understudy.gateway.telemetry import Telemetry, attributes_of, chosen_names
from understudy.gateway.trace import Trace
from understudy.store.caps import Cap

EASY, HARD = "what is easy", "what is margin=3 hard"
PRICE = (4 * 1.0 + 5 * 10.0) / 1e6  # of a hard question: four words and five
Sample = tuple[str, frozenset[tuple[str, str]]]


def samples(page: bytes) -> dict[Sample, float]:
    return {
        (sample.name.removeprefix("understudy_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def asked_for(found: dict[Sample, float], name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


async def told(built: Built, metrics: Metrics) -> dict[Sample, float]:
    await built.settled()
    for trace in built.traces:
        metrics.answered(trace)
    return samples((await metrics.page())[0])


def test_answers_are_counted_by_who_gave_them(tmp_path: Path) -> None:
    async def go() -> dict[Sample, float]:
        caps = [Cap.of("total", "dollars", 1, "day")]
        async with MockUpstream() as cloud, gateway(tmp_path, [cloud], caps) as built:
            metrics = Metrics()
            metrics.engine, metrics.ledger = built.engine, built.ledger
            for text in (EASY, HARD, EASY):
                await built.ask(text)
            await streamed(await built.ask(EASY, stream=True))
            return await told(built, metrics)

    found = asyncio.run(go())
    assert asked_for(found, "requests_total", answered_by="local") == 3
    assert asked_for(found, "requests_total", answered_by="cloud") == 1
    assert asked_for(found, "asked_total") == 1
    assert asked_for(found, "generation_tokens_total", answered_by="local") == 9
    assert asked_for(found, "generation_tokens_total", answered_by="cloud") == 5
    assert asked_for(found, "spend_dollars_total", cloud="c0") == pytest.approx(PRICE)
    assert asked_for(found, "cloud_calls_total", cloud="c0", outcome="answered") == 1
    assert asked_for(found, "cloud_tokens_total", cloud="c0", type="completion") == 5
    assert asked_for(found, "e2e_request_latency_seconds_count", answered_by="cloud") == 1
    assert asked_for(found, "request_success_total", finished_reason="stop") >= 3
    cap = {"scope": "total", "cap": "dollars/day"}
    assert asked_for(found, "max_budget", **cap) == 1
    assert asked_for(found, "remaining_budget", **cap) == pytest.approx(1 - PRICE)
    assert 0 < asked_for(found, "budget_reset_seconds", **cap) <= 86_400
    assert asked_for(found, "ledger_up") == 1
    assert asked_for(found, "num_requests_running") == 0
    assert asked_for(found, "version_info", version="tiny@2") == 1


def test_a_cloud_that_fails_is_counted_beside_the_one_that_answers(tmp_path: Path) -> None:
    async def go() -> dict[Sample, float]:
        async with (
            MockUpstream([Behaviour(status=500)]) as broken,
            MockUpstream() as cloud,
            gateway(tmp_path, [broken, cloud]) as built,
        ):
            await built.ask(HARD)
            return await told(built, Metrics())

    found = asyncio.run(go())
    assert asked_for(found, "cloud_calls_total", cloud="c0", outcome="failed") == 1
    assert asked_for(found, "cloud_calls_total", cloud="c1", outcome="answered") == 1
    assert asked_for(found, "spend_dollars_total", cloud="c0") == 0
    assert asked_for(found, "spend_dollars_total", cloud="c1") == pytest.approx(PRICE)


def test_refusals_are_no_answers(tmp_path: Path) -> None:
    async def go() -> dict[Sample, float]:
        async with gateway(tmp_path) as built:
            with pytest.raises(Refused):
                await built.ask(HARD, Caller("k1", insist=True), model="cloud")
            return await told(built, Metrics())

    found = asyncio.run(go())
    assert asked_for(found, "requests_total", answered_by="refused") == 1
    assert (
        "e2e_request_latency_seconds_count",
        frozenset({("answered_by", "refused")}),
    ) not in found


def test_names_and_labels_are_those_that_people_scrape(tmp_path: Path) -> None:
    page = asyncio.run(Metrics().page())[0].decode()
    for family in text_string_to_metric_families(page):
        if not family.name.startswith("understudy_"):
            continue
        assert family.documentation
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
        labels = {name for sample in family.samples for name in sample.labels}
        assert not labels & {"key", "user", "model", "request_id"}


def test_what_clients_make_up_makes_no_series() -> None:
    metrics = Metrics()
    for number in range(50):
        exchange = Exchange("r", f"M{number}", f"/made/up/{number}", Headers([]))
        exchange.status = 404
        metrics.finished(exchange)
    found = samples(asyncio.run(metrics.page())[0])
    assert (
        asked_for(found, "http_requests_total", route="other", method="other", status="404") == 50
    )


def test_the_door_serves_them() -> None:
    metrics = Metrics()
    with serving(metrics=metrics.page, finished=metrics.finished) as served:
        import urllib.request

        for _ in range(2):
            with urllib.request.urlopen(f"{served.url}/metrics", timeout=60) as response:
                page, kind = response.read(), response.headers["content-type"]
    assert kind.startswith("text/plain; version=")
    found = samples(page)
    assert (
        asked_for(found, "http_requests_total", route="/metrics", method="GET", status="200") == 1
    )


class Recorder:
    """A meter that keeps what it is told."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, float, dict[str, Any]]] = []

    def create_histogram(self, name: str, unit: str, description: str) -> Any:
        kept = self.kept

        class Histogram:
            def record(self, value: float, attributes: dict[str, Any]) -> None:
                kept.append((name, value, attributes))

        return Histogram()


def test_opentelemetry_is_told_in_its_older_or_newer_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.metrics")

    async def go() -> Trace:
        async with MockUpstream() as cloud, gateway(tmp_path, [cloud]) as built:
            await built.ask(HARD)
            return await built.settled()

    trace = asyncio.run(go())
    older = Recorder()
    Telemetry(older).answered(trace)  # type: ignore[arg-type]
    usage = {
        about["gen_ai.token.type"]: value
        for name, value, about in older.kept
        if "token.usage" in name
    }
    assert usage == {"input": 4, "output": 5}
    assert {name for name, _, _ in older.kept} == {
        "gen_ai.client.operation.duration",
        "gen_ai.server.time_to_first_token",
        "gen_ai.client.token.usage",
    }
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http, gen_ai_latest_experimental")
    newer = Recorder()
    Telemetry(newer).answered(trace)  # type: ignore[arg-type]
    assert {name for name, _, _ in newer.kept} == {
        "gen_ai.client.operation.duration",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.inference.usage.input_tokens",
        "gen_ai.client.inference.usage.output_tokens",
    }
    assert older.kept[0][2]["gen_ai.response.model"] == "big-2026"
    assert older.kept[0][2]["gen_ai.provider.name"] == "c0"


def test_which_names_opentelemetry_gets() -> None:
    assert chosen_names("") == (False, True)
    assert chosen_names("gen_ai_latest_experimental") == (True, False)
    assert chosen_names("http,gen_ai/dup") == (True, True)


def test_a_model_that_a_caller_makes_up_is_no_attribute() -> None:
    trace = Trace(ChatRequest({"model": "made-up", "messages": []}), Caller("k"))
    trace.refuse(Refused(404, "invalid_request_error", "there is no such model"))
    assert "made-up" not in attributes_of(trace).values()
    assert attributes_of(trace)["error.type"] == "404"


def test_the_page_of_metrics_names_each_of_them() -> None:
    page = (Path(__file__).parents[2] / "docs" / "dashboard.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`(understudy_\w+)`", page))
    kinds = {"counter": "_total"}
    families = text_string_to_metric_families(asyncio.run(Metrics().page())[0].decode())
    found = {
        family.name + kinds.get(family.type, "")
        for family in families
        if family.name.startswith("understudy_")
    }
    assert found == names
