"""Who answers a question, and what a caller is told: mock clouds on sockets, a ledger in a file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.gateways import Built, ScriptedEngine, content, gateway, routed, streamed
from tests.gateway.upstream import Behaviour, MockUpstream
from understudy.gateway.engine import Written
from understudy.gateway.policy import Cascade, NeverAsks
from understudy.gateway.requests import Caller, Outcome, Refused
from understudy.store.caps import Cap
from understudy.types import Question

EASY, HARD = "what is easy", "what is margin=3 hard"
CALLER = Caller("k1", request_id="r1")
SAID = "word0 word1 word2 word3 word4"
PRICE = (4 * 1.0 + 5 * 10.0) / 1e6  # of a hard question: four words and five

Work = Callable[[Built, list[MockUpstream]], Awaitable[Any]]


def run(work: Work, folder: Path, *clouds: Behaviour | list[Behaviour], **settings: Any) -> Any:
    async def go() -> Any:
        mocks = [MockUpstream(each if isinstance(each, list) else [each]) for each in clouds]
        for mock in mocks:
            await mock.__aenter__()
        if settings.pop("tells_usage", False):
            settings["cloud"] = {**settings.get("cloud", {}), "usage_url": mocks[0].usage_url}
        try:
            async with gateway(folder, mocks, **settings) as built:
                return await asyncio.wait_for(work(built, mocks), 60)
        finally:
            for mock in mocks:
                await mock.__aexit__()

    return asyncio.run(go())


def text(outcome: Outcome) -> str:
    assert outcome.completion is not None
    return str(outcome.completion["choices"][0]["message"]["content"])


def test_an_easy_question_is_answered_here(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcome = await built.ask(EASY)
        assert text(outcome) == EASY
        decision = outcome.decision
        assert (decision.answered_by, decision.asked, decision.dollars) == ("local", False, 0.0)
        assert decision.model == decision.version == "tiny@2"
        assert outcome.completion is not None
        assert outcome.completion["model"] == "tiny@2"
        assert outcome.completion["usage"]["completion_tokens"] == 3
        assert "-1.00, is not above the threshold, 0.00" in decision.why
        assert clouds[0].bodies == []
        trace = await built.settled()
        assert (trace.answer, trace.cloud, trace.cloud_cost.calls) == (EASY, "", 0)

    run(work, tmp_path, Behaviour())


def test_a_hard_question_is_answered_by_the_cloud(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcome = await built.ask(HARD)
        assert text(outcome) == SAID
        assert outcome.raw is not None
        assert outcome.decision.answered_by == "cloud"
        assert outcome.decision.model == "big-2026"
        assert "3.00, is above the threshold, 0.00" in outcome.decision.why
        assert clouds[0].headers[0]["x-client-request-id"].startswith("call-")
        trace = await built.settled()
        assert built.dollars() == pytest.approx(PRICE)
        assert (trace.cloud, trace.answer, trace.prompt_tokens) == ("c0", SAID, 4)
        assert trace.finish_reason == "stop"
        assert trace.draft is None  # it asked before it had written all
        assert built.engine.running == 0

    run(work, tmp_path, Behaviour())


@pytest.mark.parametrize("draft", ["held", "reasoning"])
@pytest.mark.parametrize("question", [EASY, HARD])
def test_a_stream_shows_no_draft_as_the_answer(tmp_path: Path, draft: str, question: str) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcome = await built.ask(question, stream=True)
        chunks = await streamed(outcome)
        who = "local" if question == EASY else "cloud"
        assert content(chunks) == (EASY if question == EASY else SAID)
        assert [c["choices"][0]["finish_reason"] for c in chunks][-1] == "stop"
        if draft == "held":
            assert outcome.decision.answered_by == who
            assert content(chunks, "reasoning_content") == ""
        else:
            assert outcome.decision.answered_by == "undecided"
            assert question.startswith(content(chunks, "reasoning_content"))
            assert content(chunks, "reasoning_content") != ""
            (said,) = [chunk["understudy"] for chunk in chunks if "understudy" in chunk]
            assert said["answered_by"] == who
        trace = await built.settled()
        assert trace.decision is not None
        assert trace.decision.answered_by == who
        assert built.dollars() == pytest.approx(0 if question == EASY else PRICE)

    run(work, tmp_path, Behaviour(), draft=draft)


def test_the_model_forces_who_answers(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        assert text(await built.ask(HARD, model="local")) == HARD
        assert text(await built.ask(EASY, model="cloud")) == SAID
        assert text(await built.ask(EASY, model="big")) == SAID
        assert text(await built.ask(EASY, model="c1")) == "other0"
        one = await built.ask(HARD, model="tiny@1")
        assert one.decision.version == built.engine.jobs[-1].version == "tiny@1"
        assert text(await built.ask(EASY, model="gpt-9")) == SAID
        with pytest.raises(Refused, match=r"'gpt-8' does not exist here; use auto, local, cloud"):
            await built.ask(EASY, model="gpt-8")
        ids = [card.id for card in await built.gateway.models()]
        assert ids[:5] == ["auto", "local", "cloud", "tiny@1", "tiny@2"]
        assert {"c0", "c1", "big", "gpt-9"} < set(ids)

    other = Behaviour(words=1, prefix="other")
    run(work, tmp_path, Behaviour(), other, models={"gpt-9": "cloud"})


@pytest.mark.parametrize(
    ("dial", "question", "who"),
    [
        (0.0, "margin=99 x", "local"),
        (1.0, EASY, "cloud"),
        (0.5, "margin=49 x", "local"),  # of the scores 0..99 half lie above 49
        (0.5, "margin=50 x", "cloud"),
        (None, "margin=50 x", "cloud"),
        (0.01, "margin=98 x", "local"),
        (0.01, "margin=98.5 x", "cloud"),
    ],
)
def test_the_dial_of_a_key_is_a_share_of_the_calibration(
    tmp_path: Path, dial: float | None, question: str, who: str
) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcome = await built.ask(question, replace(CALLER, dial=dial))
        assert outcome.decision.answered_by == who

    run(work, tmp_path, Behaviour())


def test_a_router_that_needs_no_draft_decides_first(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        for _ in range(8):
            outcome = await built.ask("a b slow", stream=True)
            if outcome.decision.answered_by == "local":
                # The answer is streamed as it is written: it has not ended yet.
                assert built.engine.finished < len(built.engine.jobs)
            await streamed(outcome)
        await built.settled()
        asked = sum(trace.decision.asked for trace in built.traces if trace.decision)
        assert len(built.engine.jobs) == 8 - asked  # nothing was drafted for those that ask

    engine = ScriptedEngine(seconds=0.02)
    run(work, tmp_path, Behaviour(), policy=routed(kind="random"), engine=engine)


def test_a_cascade_asks_by_what_the_local_answer_says_of_itself(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcome = await built.ask(EASY)
        assert outcome.decision.answered_by == "cloud"
        assert outcome.decision.why == "the local answer's mean entropy, 0.50, is worse than 0.40"

    policy = Cascade({"mean_logprob": -0.8, "mean_entropy": 0.4})
    run(work, tmp_path, Behaviour(), policy=policy)


def test_nobody_decides(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        assert (await built.ask(HARD)).decision.answered_by == "local"

    run(work, tmp_path, Behaviour(), policy=NeverAsks())


def test_a_conversation_that_asked_once_may_stay_with_the_cloud(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        one, two = (replace(CALLER, conversation=each) for each in ("one", "two"))
        assert (await built.ask(EASY, one)).decision.answered_by == "local"
        assert (await built.ask(HARD, one)).decision.answered_by == "cloud"
        assert (await built.ask(EASY, one)).decision.why == "this conversation asked before"
        assert (await built.ask(EASY, two)).decision.answered_by == "local"
        other = replace(one, key="k2")
        assert (await built.ask(EASY, other)).decision.answered_by == "local"

    run(work, tmp_path, Behaviour(), sticky=True)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour(status=500), "HTTP 500"),
        (Behaviour(status=429), "HTTP 429"),
        (Behaviour(drop_after=0), "closed the connection"),
        (Behaviour(not_json=True), "wrong content type"),
        (Behaviour(status=400), "HTTP 400"),
    ],
)
def test_where_the_cloud_fails_the_local_answer_stands(
    tmp_path: Path, behaviour: Behaviour, reason: str, stream: bool
) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcome = await built.ask(HARD, stream=stream)
        assert outcome.decision.answered_by == "local"
        assert outcome.decision.asked
        assert reason in outcome.decision.why
        said = content(await streamed(outcome)) if stream else text(outcome)
        assert said == HARD
        assert built.engine.finished == 1  # the draft that was there was finished, not written anew
        assert len(built.engine.jobs) == 1
        trace = await built.settled()
        assert [call.cloud for call in trace.failed] == ["c0"]

    run(work, tmp_path, behaviour)


def test_who_insists_gets_an_error(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        with pytest.raises(Refused) as caught:
            await built.ask(HARD, replace(CALLER, insist=True))
        assert (caught.value.status, caught.value.type) == (502, "upstream_error")
        trace = await built.settled()
        assert (trace.status, trace.decision.answered_by) == (502, "refused")  # type: ignore[union-attr]

    run(work, tmp_path, Behaviour(status=503))


def test_a_fault_of_the_question_is_told_to_who_named_the_cloud(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        with pytest.raises(Refused, match="too long") as caught:
            await built.ask(EASY, model="cloud")
        refused = caught.value
        assert (refused.status, refused.type, refused.code) == (400, "mock_error", "mock")

    run(work, tmp_path, Behaviour(status=400, message="too long"))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("failing", [Behaviour(status=503), Behaviour(drop_after=0)])
def test_another_cloud_is_asked_where_one_fails(
    tmp_path: Path, failing: Behaviour, stream: bool
) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcome = await built.ask(HARD, stream=stream)
        assert outcome.decision.answered_by == "cloud"
        said = content(await streamed(outcome)) if stream else text(outcome)
        assert said == "second0"
        trace = await built.settled()
        assert trace.cloud == "c1"
        assert [call.cloud for call in trace.failed] == ["c0"]
        assert {body["model"] for body in clouds[0].bodies} == {"big"}

    run(work, tmp_path, failing, Behaviour(words=1, prefix="second"))


def test_a_cloud_that_fails_again_and_again_rests(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        for _ in range(4):
            await built.ask(HARD)
        assert len(clouds[0].bodies) == 2
        assert len(clouds[1].bodies) == 4

    cloud = {"circuit_failures": 2, "circuit_pause_seconds": 100}
    run(work, tmp_path, Behaviour(status=503), Behaviour(), cloud=cloud)


def test_what_the_local_model_cannot_do_goes_to_the_cloud(tmp_path: Path) -> None:
    picture = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]

    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        messages = [{"role": "user", "content": picture}]
        outcome = await built.ask(messages=messages)
        assert outcome.decision.answered_by == "cloud"
        assert "reads text only, not a part of type image_url" in outcome.decision.why
        outcome = await built.ask(EASY, logit_bias={"1": 5})
        assert "does not serve logit_bias" in outcome.decision.why
        with pytest.raises(Refused, match="reads text only") as caught:
            await built.ask(messages=messages, model="local")
        assert caught.value.status == 400

    run(work, tmp_path, Behaviour(), cloud={"part_tokens": 1000})


@pytest.mark.parametrize("model", ["auto", "cloud"])
def test_what_nothing_bounds_is_a_clear_400(tmp_path: Path, model: str) -> None:
    picture = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]

    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        with pytest.raises(Refused, match="give the cloud part_tokens") as caught:
            await built.ask(messages=[{"role": "user", "content": picture}], model=model)
        assert (caught.value.status, caught.value.code) == (400, "unbounded_cost")
        if model == "cloud":
            with pytest.raises(Refused, match="n_predict") as caught:
                await built.ask(EASY, model=model, n_predict=10**6)
            assert caught.value.param == "n_predict"
        assert not clouds[0].bodies

    run(work, tmp_path, Behaviour())


def test_an_endpoint_gets_the_bound_by_its_own_name(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        await built.ask(EASY, model="cloud", max_completion_tokens=3)
        assert clouds[0].bodies[0]["max_tokens"] == 3
        assert "max_completion_tokens" not in clouds[0].bodies[0]

    run(work, tmp_path, Behaviour())


@pytest.mark.parametrize("forward", [[], ["store"], ["store", "metadata"]])
def test_what_the_gateway_keeps_itself_goes_to_a_cloud_only_where_it_is_named(
    tmp_path: Path, forward: list[str]
) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        await built.ask(HARD, store=True, metadata={"task": "t"}, user="u", odd=1)
        sent = clouds[0].bodies[0]
        assert {*sent} & {"store", "metadata"} == {*forward}
        assert (sent["user"], sent["odd"]) == ("u", 1)
        trace = await built.settled()
        assert trace.request.store
        assert trace.request.metadata == {"task": "t"}

    run(work, tmp_path, Behaviour(), cloud={"forward": forward})


def test_what_nobody_here_can_do_is_a_clear_400(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        with pytest.raises(Refused, match="does not serve logit_bias; no cloud can") as caught:
            await built.ask(EASY, logit_bias={"1": 5})
        assert caught.value.status == 400

    run(work, tmp_path)


def test_an_answer_without_a_lead_asks_nobody(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        written = Written("x", "stop", 1, 0, 1, "v")
        verdict = await routed(-5.0).decide(Question.of("q"), written, None, 0.0)
        assert not verdict.asks
        assert "did not say how much" in verdict.why

    run(work, tmp_path)


def test_an_engine_that_is_full_refuses_for_a_while_and_one_that_is_gone_asks(
    tmp_path: Path,
) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        with pytest.raises(Refused) as caught:
            await built.ask("busy")
        assert (caught.value.status, caught.value.retry_after) == (429, 2.5)
        assert (await built.ask("broken")).decision.answered_by == "cloud"
        with pytest.raises(Refused, match="broken by the test") as caught:
            await built.ask("broken", model="local")
        assert caught.value.status == 503

    run(work, tmp_path, Behaviour())


def test_a_full_engine_may_spill_to_the_cloud(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        assert (await built.ask("busy")).decision.why == "the local engine is busy"

    run(work, tmp_path, Behaviour(), when_busy="cloud")


def test_a_local_stream_that_breaks_says_so(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        chunks = await streamed(await built.ask("one broken", model="local", stream=True))
        assert content(chunks) == "one"
        assert "broken by the test" in chunks[-1]["error"]["message"]

    run(work, tmp_path)


def test_several_answers_are_numbered(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcome = await built.ask(EASY, n=3, seed=5)
        assert outcome.completion is not None
        assert [each["index"] for each in outcome.completion["choices"]] == [0, 1, 2]
        assert [job.seed for job in built.engine.jobs] == [5, 6, 7]
        assert outcome.completion["usage"] == {
            "prompt_tokens": 3,
            "completion_tokens": 9,
            "total_tokens": 12,
        }
        options = {"include_usage": True}
        outcome = await built.ask(EASY, n=2, stream=True, model="local", stream_options=options)
        chunks = await streamed(outcome)
        assert {c["choices"][0]["index"] for c in chunks if c["choices"]} == {0, 1}
        assert chunks[-1]["usage"]["completion_tokens"] == 6

    run(work, tmp_path)


def test_a_gateway_without_a_local_model(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        assert text(await built.ask(EASY)) == SAID
        with pytest.raises(Refused, match="there is no local model here"):
            await built.ask(EASY, model="local")

    run(work, tmp_path, Behaviour(), local=False)


def test_over_budget_is_answered_here_and_says_so(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        assert (await built.ask(HARD)).decision.left == {"calls/day": 0}
        await built.settled()
        outcome = await built.ask(HARD)
        assert outcome.decision.answered_by == "local"
        assert "the budget is spent (total: 1 call at most per day" in outcome.decision.why
        assert outcome.decision.left == {"calls/day": 0}
        with pytest.raises(Refused) as caught:
            await built.ask(HARD, replace(CALLER, insist=True))
        assert (caught.value.status, caught.value.type) == (429, "budget_exceeded")
        assert caught.value.retry_after is not None

    run(work, tmp_path, Behaviour(), caps=[Cap.of("total", "calls", 1, "day")])


def test_what_others_hold_is_soon_settled_and_a_refusal_says_so(tmp_path: Path) -> None:
    """Not at the day's end, when the budget begins anew."""

    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        under_way = await built.ask(HARD, stream=True)
        with pytest.raises(Refused, match="other calls hold what is left") as caught:
            await built.ask(HARD, replace(CALLER, insist=True))
        assert (caught.value.status, caught.value.code) == (429, "budget_exceeded")
        assert caught.value.retry_after == 1.0
        (candidate,) = built.gateway.parts.asking.choice.candidates
        for _ in range(5):
            candidate.usual.note(7.0)  # seconds that a call took
        with pytest.raises(Refused) as caught:
            await built.ask(HARD, replace(CALLER, insist=True))
        assert caught.value.retry_after == 7.0
        await streamed(under_way)
        await built.settled()
        with pytest.raises(Refused, match="the budget is spent") as caught:
            await built.ask(HARD, replace(CALLER, insist=True))
        assert caught.value.retry_after not in (None, 7.0)

    caps, spending = [Cap.of("total", "calls", 1, "day")], {"wait_seconds": 0.01}
    run(work, tmp_path, Behaviour(), caps=caps, spending=spending)


def test_a_cap_that_pays_no_call_says_so_and_names_the_setting(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        with pytest.raises(Refused, match=r"a cap of \$0.00002 per day is smaller") as caught:
            await built.ask(HARD, replace(CALLER, insist=True))
        assert "spending.least_tokens" in caught.value.message
        assert "is spent" not in caught.value.message
        assert (caught.value.code, caught.value.retry_after) == ("budget_exceeded", None)

    run(work, tmp_path, Behaviour(), caps=[Cap.of("total", "dollars", 0.00002, "day")])


def test_an_unreachable_ledger_closes_the_cloud(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        built.gateway.parts.asking.ledger = Unreachable()  # type: ignore[assignment]
        outcome = await built.ask(HARD)
        assert outcome.decision.answered_by == "local"
        assert "the ledger cannot be reached, so the cloud is closed" in outcome.decision.why
        with pytest.raises(Refused) as caught:
            await built.ask(HARD, replace(CALLER, insist=True))
        assert (caught.value.status, caught.value.code) == (503, "ledger_unavailable")
        assert clouds[0].bodies == []

    run(work, tmp_path, Behaviour(), spending={"wait_seconds": 0, "ledger_seconds": 0.05})


@pytest.mark.parametrize(
    ("question", "model", "least"),
    [("slow a b c d e slow slow slow slow", "local", 1), (HARD, "auto", 5)],
)
def test_tokens_are_told_of_whoever_hung_up(
    tmp_path: Path, question: str, model: str, least: int
) -> None:
    told: list[tuple[int, int]] = []
    caller = replace(CALLER, told=lambda *tokens: told.append(tokens))

    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcome = await built.ask(question, caller, stream=True, model=model)
        assert outcome.chunks is not None
        await anext(outcome.chunks)
        await outcome.chunks.aclose()  # type: ignore[attr-defined]
        await built.settled()
        ((_, written),) = told
        assert least <= written <= 7
        with pytest.raises(Refused):
            await built.ask(HARD, replace(caller, insist=True), model="nobody")
        assert len(told) == 1

    run(work, tmp_path, Behaviour(), engine=ScriptedEngine(0.05))


@pytest.mark.parametrize("by_key", [True, False])
def test_a_dial_of_0_never_asks_a_cloud(tmp_path: Path, by_key: bool) -> None:
    """Neither for what the local model cannot do, nor by name, nor because it is busy."""
    caller = replace(CALLER, dial=0.0 if by_key else None, conversation="c")
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}

    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        built.gateway.parts.conversations.asked(caller.key, "c")
        assert (await built.ask(HARD, caller)).decision.answered_by == "local"
        messages = [{"role": "user", "content": [picture]}]
        for body in (
            {"frequency_penalty": 0.1},
            {"messages": messages},
            {"model": "cloud"},
            {"model": "c0"},
        ):
            with pytest.raises(Refused, match="the dial is at 0") as caught:
                await built.ask(EASY, caller, **body)
            assert (caught.value.status, caught.value.code) == (403, "never_asks")
        with pytest.raises(Refused) as caught:
            await built.ask("busy", caller)
        assert caught.value.code == "engine_busy"
        assert clouds[0].bodies == []
        await built.settled()
        assert built.dollars() == 0

    more = {} if by_key else {"dial": 0.0}
    run(work, tmp_path, Behaviour(), sticky=True, when_busy="cloud", **more)


def test_a_fault_of_ours_leaves_an_event(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        with pytest.raises(RuntimeError):
            await built.ask(EASY)
        (trace,) = built.traces
        assert trace.decision is not None
        assert (trace.status, trace.decision.answered_by) == (500, "refused")
        assert "secret words" not in trace.error

    run(work, tmp_path, Behaviour(), engine=Faulty())


class Faulty(ScriptedEngine):
    def versions(self) -> list[str]:
        raise RuntimeError("secret words")


class Unreachable:
    def see(self, *_: Any) -> None: ...

    async def reserve(self, *_: Any, **__: Any) -> None:
        await asyncio.sleep(60)


def test_an_answer_that_breaks_on_the_way_is_told_and_paid(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        chunks = await streamed(await built.ask(HARD, stream=True))
        assert content(chunks) == "word0 word1"
        assert chunks[-1]["error"]["type"] == "upstream_error"
        trace = await built.settled()
        assert not trace.estimated
        assert built.dollars() == pytest.approx((4 * 1.0 + 2 * 10.0) / 1e6)

    run(work, tmp_path, Behaviour(drop_after=2), tells_usage=True)
