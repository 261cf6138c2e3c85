"""What the local model cannot do: nothing is left out in silence, and no answer is empty."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.gateways import Built, ScriptedEngine, content, streamed
from tests.gateway.test_way import CALLER, EASY, HARD, PRICE, SAID, run, text
from tests.gateway.upstream import Behaviour, MockUpstream
from understudy.gateway.engine import Job, Piece, Written
from understudy.gateway.engine.fields import JOB, more_of, unserved
from understudy.gateway.policy import NeverAsks
from understudy.gateway.requests import Refused
from understudy.store.caps import Cap

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}

# Of vLLM, llama.cpp and OpenAI: each changes an answer.
FIELDS: dict[str, Any] = {
    "guided_json": {"type": "object"},
    "top_k": 5,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "frequency_penalty": 0.1,
    "logit_bias": {"5": 10},
    "min_tokens": 20,
    "ignore_eos": True,
    "web_search_options": {},
    "audio": {"voice": "alloy"},
    "functions": [{"name": "f"}],
    "best_of": 2,
    "made_up": "x",
}
IDLE: dict[str, Any] = {
    "top_k": -1,
    "repetition_penalty": 1.0,
    "frequency_penalty": 0,
    "ignore_eos": False,
    "logit_bias": {},
    "modalities": ["text"],
    "function_call": "none",
    "best_of": 1,
    "user": "ann",
    "service_tier": "auto",
    "prompt_cache_options": {"mode": "explicit"},
    "prediction": {"type": "content", "content": "x"},  # what it may be, so that it comes sooner
    "provider": {"order": ["a"]},
    "usage": {"include": True},
    "reasoning_effort": "low",
    "reasoning": {"effort": "low"},
    "thinking": {"type": "disabled"},
    "parallel_tool_calls": False,
    "web_search_options": None,
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_that_is_not_followed_is_refused_or_goes_to_the_cloud(
    tmp_path: Path, name: str
) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        with pytest.raises(Refused, match=f"does not serve {name}") as caught:
            await built.ask(EASY, model="local", **{name: FIELDS[name]})
        assert (caught.value.status, caught.value.param) == (400, name)
        assert built.engine.jobs == []
        if name not in ("web_search_options", "audio"):  # which cost more than tokens
            outcome = await built.ask(EASY, **{name: FIELDS[name]})
            assert outcome.decision.answered_by == "cloud"
            assert name in outcome.decision.why
            assert clouds[0].bodies[0][name] == FIELDS[name]

    run(work, tmp_path, Behaviour())


def test_a_field_that_asks_for_nothing_is_no_matter(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        assert text(await built.ask(EASY, **IDLE)) == EASY
        passed_on = {name: value for name, value in IDLE.items() if value is not None}
        assert built.engine.jobs[0].more == passed_on  # not every engine takes null

    run(work, tmp_path)


def test_the_fields_of_a_job_and_the_others_are_all_of_them() -> None:
    body = {"model": "auto", "messages": [], "temperature": 0.5, "top_k": 3}
    assert more_of(body) == {"top_k": 3}
    assert unserved(dict.fromkeys(JOB, "x")) == ""


class Silent(ScriptedEngine):
    """Ends each answer before its first word."""

    async def write(self, job: Job) -> AsyncIterator[Piece | Written]:
        self.jobs.append(job)
        calls = ({"id": "1", "type": "function", "function": {}},) if job.tools else ()
        reason = "tool_calls" if calls else "stop"
        yield Written("", reason, 3, 0, 1, job.version, -1.0, 0.5, -0.25, calls)


@pytest.mark.parametrize("draft", ["held", "reasoning"])
@pytest.mark.parametrize("policy", [None, NeverAsks()])
@pytest.mark.parametrize("stream", [False, True])
def test_an_empty_answer_is_asked_of_the_cloud(
    tmp_path: Path, draft: str, policy: Any, stream: bool
) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcome = await built.ask(EASY, stream=stream)
        said = content(await streamed(outcome)) if stream else text(outcome)
        assert said == SAID
        assert outcome.decision.answered_by == "cloud"
        assert "came out empty" in outcome.decision.why

    run(work, tmp_path, Behaviour(), engine=Silent(), policy=policy, draft=draft)


@pytest.mark.parametrize("stream", [False, True])
def test_an_empty_answer_that_no_cloud_helps_is_refused(tmp_path: Path, stream: bool) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        for model in ("local", "auto"):
            with pytest.raises(Refused, match="came out empty") as caught:
                await built.ask(EASY, model=model, stream=stream)
            assert caught.value.status == 400

    run(work, tmp_path, engine=Silent())


def test_an_answer_that_was_wanted_so_short_is_one(tmp_path: Path) -> None:
    """A stop string at its beginning, or a call of a tool."""

    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        assert text(await built.ask(EASY, model="local", stop=["x"])) == ""
        outcome = await built.ask(EASY, model="local", tools=[TOOL])
        assert outcome.completion is not None
        assert outcome.completion["choices"][0]["finish_reason"] == "tool_calls"

    run(work, tmp_path, engine=Silent())


def test_a_task_that_the_model_does_not_have_is_refused_by_name(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        assert text(await built.ask(EASY, metadata={"task": "chess"})) == EASY  # a label
        local = built.gateway.parts.local
        assert local is not None
        local.tasks = ("sums", "stories")
        assert text(await built.ask(EASY, metadata={"task": "sums"})) == EASY
        for where in ("metadata.task", "x-understudy-task"):
            said = {"metadata": {"task": "chess"}} if where == "metadata.task" else {}
            caller = CALLER if said else replace(CALLER, task="chess")
            with pytest.raises(Refused, match="no task 'chess' here; this model knows sums") as no:
                await built.ask(EASY, caller, **said)
            assert no.value.param == where

    run(work, tmp_path)


def test_a_task_that_the_model_does_not_have_is_no_matter_to_a_cloud(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        local = built.gateway.parts.local
        assert local is not None
        local.tasks = ("sums", "stories")
        asked: dict[str, Any] = {"model": "cloud", "metadata": {"task": "chess"}}
        assert text(await built.ask(EASY, **asked)) == SAID
        clouds[0].behaviours = [Behaviour(status=500)]
        with pytest.raises(Refused, match="and the local model has no such task"):
            await built.ask(EASY, **asked)

    run(work, tmp_path, Behaviour())


def test_what_is_left_of_a_cap_is_without_what_came_back(tmp_path: Path) -> None:
    """Held are 1024 tokens of an answer at $10 a million, and five are written."""

    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        first = (await built.ask(HARD)).decision.left["dollars/day"]
        assert first == pytest.approx(1 - PRICE)
        await built.settled()
        outcome = await built.ask(HARD, stream=True)
        assert outcome.decision.left["dollars/day"] < first - 0.01
        await streamed(outcome)
        await built.settled()
        standing = await built.ledger.standing(("total",))
        assert standing[0].left == pytest.approx(1 - 2 * PRICE)

    run(work, tmp_path, Behaviour(), caps=[Cap.of("total", "dollars", 1, "day")])


def test_a_temperature_is_given_or_left_to_the_engine(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        await built.ask(EASY)
        await built.ask(EASY, temperature=0, top_p=1)
        first, second = built.engine.jobs
        assert (first.temperature, first.top_p) == (None, None)
        assert (second.temperature, second.top_p) == (0.0, 1.0)
        assert first.key == CALLER.key

    run(work, tmp_path)
