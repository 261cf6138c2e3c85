"""Runs against an endpoint that is down, refuses or dies: said at once, and resumable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.clouds.endpoint_server import Call, Script, answering, completion, ok, refused, serving
from tests.offload.runs import Silent, StoppedError, config_of, run_new, run_on
from understudy.errors import CloudError
from understudy.link import ReplyLog
from understudy.offload.config import Config
from understudy.offload.session import new_run
from understudy.recipes import build_method
from understudy.run import RunDirectory

SECRET = "sk-live-0123456789abcdef"


@pytest.fixture
def settings(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """Of a small run against an endpoint. Every question of an examination is asked there."""
    monkeypatch.setenv("EXAMPLE_KEY", SECRET)
    prices = tmp_path / "prices.yaml"
    prices.write_text("big: {prompt: 2.0, cached_prompt: 0.5, completion: 10}\n")

    def made(url: str, **more: Any) -> Config:
        http = {"base_url": url, "model": "big", "prices": str(prices), "max_retries": 0}
        http |= {"api_key_env": "EXAMPLE_KEY", "circuit_failures": 1000, "timeout_seconds": 30.0}
        cloud = {"kind": "openai", "http": http} | more
        return config_of("dagrpo", model, cloud=cloud, eval_queries=30)

    return made


def spent(run: RunDirectory) -> tuple[int, int]:
    """(calls, failed calls) of training and examinations together."""
    bills = [run.read(run.summary)[name] for name in ("spend", "evaluation_spend")]
    return sum(bill["calls"] for bill in bills), sum(bill["failed_calls"] for bill in bills)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (answering(refused(401)), ["HTTP 401", "the key is refused", "api_key_env"]),
        (answering(refused(404)), ["HTTP 404", "cloud.http.base_url", "cloud.http.model"]),
        (answering(refused(429)), ["HTTP 429", "quota", "max_concurrency"]),
        (answering(refused(500)), ["HTTP 500", "its log"]),
        (None, ["no connection", "is the server running"]),
    ],
)
def test_a_cloud_that_does_not_answer_is_named_before_anything_is_written(
    tmp_path: Path, settings: Callable[..., Config], script: Script | None, words: list[str]
) -> None:
    with serving(script or answering(ok())) as server:
        config = settings(server.url)
        if script is not None:
            with pytest.raises(CloudError) as error:
                run_new(tmp_path / "run", config)
            assert len(server.calls) == 1
    if script is None:  # nobody listens there any more
        with pytest.raises(CloudError) as error:
            run_new(tmp_path / "run", config)
    text = str(error.value)
    assert [word for word in [*words, server.url, "--no-check"] if word not in text] == []
    assert SECRET not in text
    assert "\n" not in text
    assert not (tmp_path / "run").exists()


def test_the_trial_is_paid_once_and_logged(tmp_path: Path, settings: Callable[..., Config]) -> None:
    with serving(answering(ok())) as server:
        run = run_new(tmp_path / "run", settings(server.url))
    assert spent(run) == (len(server.calls), 0)
    logged = [*ReplyLog(run.replies).entries(), *ReplyLog(run.examination_replies).entries()]
    assert len(logged) == len(server.calls)
    first = next(ReplyLog(run.examination_replies).entries())
    assert first.question.prompt == server.calls[0].prompt


def test_a_finished_run_that_is_resumed_makes_no_call(
    tmp_path: Path, settings: Callable[..., Config]
) -> None:
    with serving(answering(ok())) as server:
        run = run_new(tmp_path / "run", settings(server.url))
        calls = len(server.calls)
        run_on(run, settings(server.url))
        assert len(server.calls) == calls


def test_without_a_trial_a_dead_cloud_is_named_at_once_and_stops_the_run(
    tmp_path: Path, settings: Callable[..., Config]
) -> None:
    with serving(answering(refused(401))) as server:
        config, display = settings(server.url), Silent()
        method = build_method(config)
        with pytest.raises(CloudError, match=r"HTTP 401.*continue with --resume") as error:
            new_run(tmp_path / "run", config, method, display, check=False)
    assert "20 of the last 20 calls to the cloud failed" in str(error.value)
    named, *counts = display.warnings
    assert all(word in named for word in ("HTTP 401", server.url, "the key is refused"))
    assert counts == ["10 calls to the cloud have failed so far"]
    assert SECRET not in named + str(error.value)


def test_a_cloud_that_dies_and_comes_back_costs_a_resume(
    tmp_path: Path, settings: Callable[..., Config]
) -> None:
    alive, served = True, 0

    async def script(call: Call) -> web.StreamResponse:
        nonlocal alive, served
        alive = alive and served < 40  # in the examination of the second task
        if not alive:
            return refused(503)()
        served += 1
        return web.json_response(completion())

    with serving(script) as server:
        display = Silent()
        with pytest.raises(CloudError, match=r"503.*--resume"):
            run_new(tmp_path / "run", settings(server.url), display)
        assert "HTTP 503" in display.warnings[0]
        run = RunDirectory.open(tmp_path / "run")
        with pytest.raises(CloudError, match="503"):  # it is tried again before anything long
            run_on(run, settings(server.url))
        alive, served = True, -(10**6)
        display = Silent()
        run = run_on(run, settings(server.url), display)
    # What failed while it was dead was asked again: no figure is over failed calls.
    assert not [text for text in display.warnings if "cloud" in text]
    assert spent(run)[1] == 0
    assert all(cell["cloud_answers"] == 30 for cell in run.read(run.matrix)[0]["tasks"])


def test_a_few_failures_are_named_and_counted_and_the_run_goes_on(
    tmp_path: Path, settings: Callable[..., Config]
) -> None:
    async def script(call: Call) -> web.StreamResponse:
        return refused(500)() if call.number % 5 == 1 else web.json_response(completion())

    with serving(script) as server:
        display = Silent()
        run = run_new(tmp_path / "run", settings(server.url), display)
    calls, failed = spent(run)
    assert calls == len(server.calls)
    assert failed == sum(call.number % 5 == 1 for call in server.calls)
    named, *counts = [text for text in display.warnings if "cloud" in text]
    assert "HTTP 500" in named
    assert counts == ["10 calls to the cloud have failed so far"]
    assert "num_generations" not in " ".join(display.warnings)


@pytest.mark.parametrize("most", [0, 7, 45])
def test_a_cap_of_calls_is_kept_by_training_and_examinations_together(
    tmp_path: Path, settings: Callable[..., Config], most: int
) -> None:
    with serving(answering(ok())) as server:
        config = settings(server.url, max_calls=most)
        stopped = Silent(stop_at=2)
        with pytest.raises(StoppedError):
            run_new(tmp_path / "run", config, stopped)
        display = Silent()
        run = run_on(RunDirectory.open(tmp_path / "run"), config, display)
    assert len(server.calls) == most
    reached = [text for text in display.warnings if "cloud.max_calls is reached" in text]
    assert len(reached) == 1  # said once, though many questions are not asked
    assert spent(run)[0] <= most
