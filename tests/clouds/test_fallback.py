"""Several clouds: the next is asked where one fails, and the bill says what each took."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from tests.clouds.endpoint_server import (
    Call,
    EndpointServer,
    answering,
    chunk,
    events,
    ok,
    refused,
    send_stream,
    serving,
)
from understudy.clouds import MeteredCloud
from understudy.clouds.building import build_cloud
from understudy.clouds.settings import CloudSettings
from understudy.errors import ConfigError
from understudy.link import Budget, ReplyLog
from understudy.offload.config import Config
from understudy.settings import check_settings
from understudy.tasks import KeyOfDrawn
from understudy.types import Question, Reply, Request

PRICES = {"big": {"prompt": 2.0, "cached_prompt": 0.5, "completion": 10}}
SUM = Question.of("6+7")  # the simulated cloud knows it


def endpoint(folder: Path, server: EndpointServer, **http: Any) -> dict[str, Any]:
    path = folder / "prices.yaml"
    path.write_text(yaml.safe_dump(PRICES))
    given = {"base_url": server.url, "model": "big", "prices": str(path), "max_retries": 0}
    return {"kind": "openai", "http": given | http}


def settings_of(*clouds: Any, **more: Any) -> CloudSettings:
    cloud = {"kind": "fallback", "clouds": list(clouds)} | more
    return check_settings(Config, {"cloud": cloud}).cloud


def metered(*clouds: Any) -> MeteredCloud:
    return MeteredCloud(build_cloud(settings_of(*clouds), KeyOfDrawn()))


SURE = {"kind": "simulated", "accuracy": 1.0}


def test_the_next_cloud_answers_where_one_fails(tmp_path: Path) -> None:
    cut = ok(choice={"finish_reason": "length"})
    with serving(answering(ok(), refused(500), cut)) as server:
        cloud = metered(endpoint(tmp_path, server), SURE)
        questions = [SUM, Question.of("7+8"), Question.of("8+9")]
        replies = [cloud.replies([question])[0] for question in questions]
        cloud.close()
    assert [reply.cloud for reply in replies] == ["1 openai", "2 simulated", "2 simulated"]
    assert [len(reply.tried) for reply in replies] == [0, 1, 1]
    assert replies[1].tried[0].error == "HTTP 500: status 500"
    spend, by_cloud = cloud.spend, cloud.cost_by_cloud
    assert (spend.calls, spend.failed_calls) == (5, 2)
    paid = 310 / 1e6  # an answer of the endpoint; one that was cut short costs as much
    assert by_cloud["1 openai"].dollars == pytest.approx(2 * paid)
    assert by_cloud["2 simulated"].calls == 2
    total = sum(cost.dollars for cost in by_cloud.values())
    assert spend.dollars == pytest.approx(total)
    assert sum(reply.cost.dollars for reply in replies) == pytest.approx(total)
    again = cloud.restored(cloud.state())
    assert (again.spend, again.cost_by_cloud) == (spend, by_cloud)


def test_several_clouds_within_several_keep_their_lines_in_the_bill(tmp_path: Path) -> None:
    cut = ok(choice={"finish_reason": "length"})  # paid for, and of no use
    with serving(answering(cut)) as server:
        cutting = endpoint(tmp_path, server)
        within = {"kind": "fallback", "clouds": [cutting, cutting]}
        cloud = metered(within, SURE)
        (reply,) = cloud.replies([SUM])
        cloud.close()
    assert (reply.error, reply.cloud) == (None, "2 simulated")
    names = ["1 fallback: 1 openai", "1 fallback: 2 openai", "2 simulated"]
    assert list(cloud.cost_by_cloud) == names
    assert [cost.calls for cost in cloud.cost_by_cloud.values()] == [1, 1, 1]
    paid = sum(cost.dollars for cost in cloud.cost_by_cloud.values())
    assert paid > cloud.cost_by_cloud["2 simulated"].dollars
    assert paid == pytest.approx(reply.cost.dollars)


def test_a_cap_counts_no_call_that_an_open_circuit_spares(tmp_path: Path) -> None:
    with serving(answering(refused(500))) as server:
        first = endpoint(tmp_path, server, circuit_failures=1, circuit_pause_seconds=3600)
        cloud = build_cloud(settings_of(first, SURE), KeyOfDrawn())
        log = ReplyLog(tmp_path / "replies.jsonl")
        budget = Budget({"calls": 6})
        metering = MeteredCloud(cloud, log=log, budget=budget)
        questions = [SUM, *(Question.of(f"{n}+9") for n in range(1, 5))]
        replies = [metering.replies([question])[0] for question in questions]
        metering.close()
    assert [reply.error for reply in replies[:4]] == [None] * 4
    assert (len(server.calls), budget.spent("calls")) == (1, 5)
    assert "max_calls" in str(replies[4].error)  # both clouds might have been called
    spend = metering.spend
    assert (spend.calls, spend.failed_calls, spend.refused_calls) == (5, 1, 4)
    assert [entry.reply.cost.calls for entry in log.entries()] == [2, 1, 1, 1]


def test_where_all_fail_the_last_reply_says_so(tmp_path: Path) -> None:
    with serving(answering(refused(401))) as server:
        cloud = metered(endpoint(tmp_path, server), endpoint(tmp_path, server))
        (reply,) = cloud.replies([SUM])
        cloud.close()
    assert (reply.error, reply.cloud) == ("HTTP 401: status 401", "2 openai")
    assert [each.cloud for each in reply.tried] == ["1 openai"]
    assert (cloud.spend.calls, cloud.spend.failed_calls) == (2, 2)


def test_an_open_circuit_goes_on_at_once_though_every_slot_is_taken(tmp_path: Path) -> None:

    over = threading.Event()

    async def script(call: Call) -> web.StreamResponse:
        while call.prompt == "hang" and not over.is_set():
            await asyncio.sleep(0.01)
        return refused(500)()

    with serving(script) as server:
        first = endpoint(
            tmp_path, server, max_concurrency=2, circuit_failures=2, circuit_pause_seconds=3600
        )
        cloud = build_cloud(settings_of(first, SURE), KeyOfDrawn())

        async def ask() -> list[Reply]:
            hanging = asyncio.create_task(cloud.answer(Request(Question.of("hang"))))
            while not server.calls:
                await asyncio.sleep(0.01)
            for question in ("1+1", "1+2"):  # open the circuit
                await cloud.answer(Request(Question.of(question)))
            stuck = asyncio.create_task(cloud.answer(Request(Question.of("hang"))))
            replies = [await cloud.answer(Request(SUM)) for _ in range(3)]
            for each in (hanging, stuck):
                each.cancel()
            return replies

        replies = asyncio.run(ask())
        over.set()
    assert [reply.cloud for reply in replies] == ["2 simulated"] * 3
    assert [reply.tried[0].error for reply in replies] == ["circuit open"] * 3
    assert [reply.cost.calls for reply in replies] == [1] * 3  # none was made where it is open


def test_a_stream_falls_back_before_its_first_piece_and_not_after(tmp_path: Path) -> None:
    async def script(call: Call) -> web.StreamResponse:
        if call.prompt == "7+8":  # breaks off after its first pieces
            return await send_stream(call, [events(chunk("one "))], whole=False, pause=0.05)
        return refused(503)()

    with serving(script) as server:
        cloud = build_cloud(settings_of(endpoint(tmp_path, server), SURE), KeyOfDrawn())

        async def parts(question: Question) -> list[str | Reply]:
            return [part async for part in cloud.stream(Request(question))]  # type: ignore[attr-defined]

        *pieces, last = asyncio.run(parts(SUM))
        assert isinstance(last, Reply)
        assert ("".join(map(str, pieces)), last.cloud) == (last.text, "2 simulated")
        *pieces, last = asyncio.run(parts(Question.of("7+8")))
        assert isinstance(last, Reply)
        assert pieces
        assert (last.text, last.error, last.cloud) == (None, "broken stream", "1 openai")


@pytest.mark.parametrize(
    ("cloud", "words"),
    [
        ({"kind": "fallback"}, ["clouds is empty"]),
        ({"kind": "fallback", "clouds": [{"kind": "simulated", "max_calls": 3}]}, ["max_calls"]),
        ({"kind": "fallback", "clouds": ["simulatet"]}, ["simulatet", "did you mean simulated"]),
        ({"kind": "fallback", "accuracy": 1.0}, ["accuracy", "cloud simulated"]),
    ],
)
def test_what_cannot_be_is_refused_by_name(cloud: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        check_settings(Config, {"cloud": cloud})
    assert [word for word in words if word not in str(error.value)] == []


def test_settings_come_back_from_a_run_s_directory() -> None:
    config = check_settings(Config, {"cloud": {"kind": "fallback", "clouds": ["simulated", SURE]}})
    saved = yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))
    assert check_settings(Config, saved) == config
