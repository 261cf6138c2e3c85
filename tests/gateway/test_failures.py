"""What callers, whoever runs the gateway, and its log are told of clouds that fail."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.gateway.gateways import Built, ScriptedEngine, streamed
from tests.gateway.test_relay import KEY, call, relayed
from tests.gateway.test_way import CALLER, EASY, HARD, run
from tests.gateway.upstream import Behaviour, MockUpstream
from understudy.gateway.engine import EngineBusy, Job, JobRefused, Piece, Written
from understudy.gateway.not_asked import (
    NotAskedError,
    gave_none,
    neither,
    of_several,
    over_budget,
    unavailable,
)
from understudy.gateway.requests import Refused
from understudy.gateway.upstreams.calls import UpstreamError, of_question
from understudy.gateway.upstreams.failing import Failures
from understudy.gateway.upstreams.openai import OpenAIUpstream
from understudy.gateway.upstreams.refusal import _hidden
from understudy.store.caps import Refusal

PICTURE = [{"type": "image_url", "image_url": {"url": "data:,"}}]


@pytest.mark.parametrize(
    ("status", "message", "told"),
    [
        (400, "at most 100 tokens, and there are 200", "at most 100 tokens, and there are 200"),
        (422, f"no tool of {KEY} fits", "no tool of [key] fits"),
        (400, "not in the plan of org-aB3dE5fG7h", "not in the plan of [key]"),
        (400, "Incorrect API key provided: xa***9z", None),
        (404, "deployment east-7 is not there", None),
        (403, "account 1234 may not", None),
        (500, "host db-7.internal is down", None),
    ],
)
def test_only_a_refusal_of_the_question_is_told_in_the_clouds_words(
    status: int, message: str, told: str | None
) -> None:
    async def work(upstream: OpenAIUpstream, mock: MockUpstream) -> None:
        mock.key = None
        with pytest.raises(UpstreamError) as caught:
            await upstream.send(call(False))
        assert str(caught.value) == f"HTTP {status} (mock)"
        body = caught.value.body
        assert (None if body is None else body["error"]["message"]) == told

    relayed(work, Behaviour(status=status, message=message), key=KEY)


def test_a_long_error_takes_no_longer_than_its_length() -> None:
    """Clouds quote what they were asked: eight times as long takes eight times as long."""

    def seconds(words: int) -> float:
        started = time.process_time()
        assert _hidden("a.b/" * words + "sk-" * words, None).endswith("...")
        return time.process_time() - started

    short, long = (min(seconds(words) for _ in range(3)) for words in (250, 2000))
    assert long < 24 * short


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("insist", [False, True])
@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_a_clouds_own_words_are_in_no_header_event_or_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int, insist: bool, stream: bool
) -> None:
    """Of a question that the caller did not send there by name."""
    words = "the secret is sk-live-1234567890"

    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        told = ""
        try:
            outcome = await built.ask(HARD, replace(CALLER, insist=insist), stream=stream)
            told = outcome.decision.why
            if stream:
                await streamed(outcome)
        except Refused as refused:
            told = refused.message
        trace = await built.settled()
        for shown in (told, trace.failed[0].reason, caplog.text):
            assert shown
            assert "sk-live" not in shown
        assert f"HTTP {status} (mock)" in trace.failed[0].reason

    run(work, tmp_path, Behaviour(status=status, message=words))


@pytest.mark.parametrize("stream", [False, True])
def test_an_outage_is_not_hidden_by_what_the_local_model_cannot(
    tmp_path: Path, stream: bool
) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        with pytest.raises(Refused) as caught:
            await built.ask(messages=[{"role": "user", "content": PICTURE}], stream=stream)
        refused = caught.value
        assert (refused.status, refused.code, refused.retry_after) == (502, "upstream_error", 7)
        assert "c0 gave no answer: HTTP 503 (mock); and the local model reads text only" in str(
            refused
        )
        with pytest.raises(Refused, match="c0 asked to be left alone") as caught:
            await built.ask("cannot", stream=stream)
        assert "and the local model cannot: say so" in caught.value.message
        assert caught.value.status == 503
        assert 0 < (caught.value.retry_after or 0) <= 7

    class Unable(ScriptedEngine):
        async def write(self, job: Job) -> AsyncIterator[Piece | Written]:
            if str(job.messages[-1]["content"]) == "cannot":
                raise JobRefused("say so", "messages")
            async for part in super().write(job):
                yield part

    how = Behaviour(status=503, retry_after=7)
    run(work, tmp_path, how, cloud={"part_tokens": 10}, engine=Unable())


def test_a_cloud_that_was_asked_first_is_named_where_the_local_model_fails_after_it(
    tmp_path: Path,
) -> None:
    caller = replace(CALLER, dial=1.0)

    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        with pytest.raises(
            Refused, match=r"HTTP 500.*; and the local model failed: broken"
        ) as caught:
            await built.ask("broken", caller)
        assert caught.value.status == 502
        with pytest.raises(Refused, match=r"HTTP 500.*; and the local model is busy") as caught:
            await built.ask("busy", caller)
        assert (caught.value.status, caught.value.retry_after) == (502, 2.5)

    run(work, tmp_path, Behaviour(status=500))


def test_every_cloud_that_failed_is_named(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcome = await built.ask(HARD)
        assert "c0 gave no answer: HTTP 503 (mock); c1 gave no answer: HTTP 429" in (
            outcome.decision.why
        )

    run(work, tmp_path, Behaviour(status=503), Behaviour(status=429))


def test_who_insists_while_a_cloud_rests_is_told_when_to_come_back(tmp_path: Path) -> None:
    insisting = replace(CALLER, insist=True)

    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        with pytest.raises(Refused):
            await built.ask(HARD, insisting)
        with pytest.raises(Refused, match="failed too often, and rests") as caught:
            await built.ask(HARD, insisting)
        assert caught.value.status == 503
        assert 90 < (caught.value.retry_after or 0) <= 100
        assert len(clouds[0].bodies) == 1

    cloud = {"circuit_failures": 1, "circuit_pause_seconds": 100}
    run(work, tmp_path, Behaviour(status=500), cloud=cloud)


def test_an_endpoint_that_says_nothing_in_time_is_a_504(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        with pytest.raises(Refused, match="no answer in time") as caught:
            await built.ask(HARD, replace(CALLER, insist=True))
        assert (caught.value.status, caught.value.type) == (504, "timeout_error")

    run(work, tmp_path, Behaviour(first_seconds=30), cloud={"timeout_seconds": 0.2})


def test_of_several_the_one_that_may_answer_another_time_says_which_error_it_is() -> None:
    refused = gave_none("a", of_question("too long", "messages", "long"))
    down = gave_none("b", UpstreamError("HTTP 500", status=500))
    spent = over_budget(Refusal("dollars/day", "no room", True))
    resting = unavailable("c rests", after=3.0)
    both = of_several([down, refused])
    assert (both.refused.status, both.at_fault) == (502, True)
    assert both.reason == "b gave no answer: HTTP 500; a gave no answer: too long"
    assert of_several([down, spent, resting, resting]).refused.retry_after == 3.0
    assert of_several([down, spent]).refused.status == 429
    alone = of_several([refused, refused])
    assert (alone.refused.status, alone.refused.message, alone.at_fault) == (400, "too long", False)
    assert isinstance(alone, NotAskedError)


def test_neither_says_both_and_the_sooner_of_two_times() -> None:
    cloud = Refused(503, "service_unavailable", "c rests", code="cloud_unavailable", retry_after=9)
    found = neither("is busy: full", cloud, EngineBusy("full", 2.0))
    assert found.message == "c rests; and the local model is busy: full"
    assert (found.status, found.code, found.retry_after) == (503, "cloud_unavailable", 2.0)
    assert neither("cannot: x", cloud, JobRefused("x")).retry_after == 9


def test_the_log_names_each_kind_of_failure_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    failures = Failures(lambda: now[0])
    caplog.set_level(logging.INFO)

    def said() -> list[tuple[int, str]]:
        found = [(each.levelno, each.getMessage()) for each in caplog.records]
        caplog.clear()
        return found

    for _ in range(4):
        failures.failed("main", UpstreamError("HTTP 401 (invalid_api_key)", status=401))
        failures.failed("main", UpstreamError("HTTP 503", status=503))
        failures.failed("spare", UpstreamError("no connection: connection refused"))
    key, down, nobody = said()
    assert key[0] == logging.ERROR
    assert "the cloud main gave no answer: HTTP 401 (invalid_api_key); its key is refused" in key[1]
    assert down == (logging.WARNING, "the cloud main gave no answer: HTTP 503")
    assert "spare gave no answer: no connection: connection refused" in nobody[1]
    failures.rests("main", 10.0, "failed too often")
    assert said() == [(logging.WARNING, "the cloud main rests for 10 s: it failed too often")]
    now[0] = 61.0
    failures.failed("main", UpstreamError("HTTP 503", status=503))
    assert "(3 more of its kind since it was last told)" in said()[0][1]
    failures.answered("main")
    failures.answered("main")
    failures.answered("spare")
    assert said() == [(logging.INFO, "the cloud main answers again")]


def test_failures_of_calls_are_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        await built.ask(HARD)
        assert "the cloud c0 gave no answer: HTTP 401 (mock); its key is refused" in caplog.text
        assert "the cloud c0 rests for 100 s: it failed too often" in caplog.text
        await streamed(await built.ask(HARD, stream=True))
        await built.settled()
        assert "the cloud c1 broke off: the stream broke" in caplog.text

    cloud = {"circuit_failures": 1, "circuit_pause_seconds": 100}
    broken = [Behaviour(), Behaviour(drop_after=2)]
    run(work, tmp_path, Behaviour(status=401), broken, cloud=cloud)


def test_a_call_that_no_ledger_counts_is_one_clear_refusal(tmp_path: Path) -> None:
    """A million dollars for a million tokens, and as many tokens."""

    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        with pytest.raises(Refused, match="more than the ledger counts of one, \\$9007") as caught:
            await built.ask(EASY, model="cloud", max_tokens=1_000_000)
        refused = caught.value
        assert (refused.status, refused.code, refused.param) == (
            400,
            "uncountable_cost",
            "max_tokens",
        )
        outcome = await built.ask(HARD, max_tokens=1_000_000)
        assert outcome.decision.answered_by == "local"
        assert "more than the ledger counts" in outcome.decision.why
        assert not clouds[0].bodies

    prices = {"prompt": 1.0, "completion": 1e6}
    run(work, tmp_path, Behaviour(), cloud={"prices": prices})
