"""Small parts: usual latencies, conversations, cascades, names, events of traces."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.gateway.served import ROOT
from understudy.errors import ConfigError
from understudy.gateway.clouds import open_clouds
from understudy.gateway.conversations import Conversations
from understudy.gateway.door.headers import retry_headers
from understudy.gateway.engine import Written
from understudy.gateway.latencies import Usual, quantile
from understudy.gateway.names import Names
from understudy.gateway.policy import Cascade, Verdict
from understudy.gateway.recording import event_of
from understudy.gateway.requests import Caller, ChatRequest, Decision, Refused, of_all
from understudy.gateway.settings import ServeSettings
from understudy.gateway.trace import FailedCall, Trace
from understudy.gateway.upstreams.choice import Choice, candidate_of
from understudy.gateway.upstreams.openai import OpenAIUpstream
from understudy.settings import check_settings
from understudy.types import Cost, Question


def test_a_password_in_the_engines_address_is_refused_and_not_repeated() -> None:
    for path in ("http://ann:s3cret@localhost:1/v1", "http://s3cret@localhost:1/v1"):
        with pytest.raises(ConfigError, match=r"local\.api_key_env") as refused:
            check_settings(ServeSettings, {"local": {"path": path}})
        assert "s3cret" not in str(refused.value)


def test_a_model_that_stands_twice_in_the_table_of_prices_is_refused(tmp_path: Path) -> None:
    """One of its two prices would be ignored."""
    prices = tmp_path / "prices.yaml"
    prices.write_text("big: {prompt: 1, completion: 1}\nbig: {prompt: 9, completion: 9}\n")
    given = {"clouds": {"main": {"base_url": "http://localhost:1/v1", "model": "big"}}}
    settings = check_settings(ServeSettings, given | {"prices": str(prices)})
    with pytest.raises(ConfigError, match="line 2: big is given twice; keep one"):
        open_clouds(settings, lambda text: None)


def test_a_quantile_worked_by_hand() -> None:
    rising = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert [quantile(rising, share) for share in (0.1, 0.2, 0.21, 0.9, 1.0)] == [1, 1, 2, 5, 5]


def test_what_is_usual_is_known_after_five_and_forgets_the_oldest() -> None:
    usual = Usual(0.9)
    for _ in range(4):
        usual.note(10.0)
    assert usual.seconds is None
    assert usual.fits(0.1)
    usual.note(10.0)
    assert usual.seconds == 10.0
    assert not usual.fits(9.9)
    assert not Usual(0.9).fits(0.0)
    for _ in range(200):
        usual.note(1.0)
    assert usual.seconds == 1.0


def test_a_conversation_stays_for_a_while() -> None:
    now = [0.0]
    conversations = Conversations(10.0, lambda: now[0])
    conversations.asked("k", "")
    conversations.asked("k", "c")
    assert not conversations.stays("k", "")
    assert conversations.stays("k", "c")
    assert not conversations.stays("k2", "c")
    now[0] = 10.5
    assert not conversations.stays("k", "c")


def named(others: dict[str, str], *clouds: tuple[str, str, str]) -> Names:
    """clouds: name, model, alias."""
    given = {"base_url": "http://localhost:1/v1", "prices": {"prompt": 1, "completion": 1}}
    found = []
    for name, model, alias in clouds:
        settings = OpenAIUpstream.Settings.model_validate(given | {"model": model})
        found.append(candidate_of(name, settings, 0.9, alias=alias))
    return Names(Choice(found), others)


def test_another_name_stands_for_what_it_is_told_though_a_cloud_has_it() -> None:
    names = named({"gpt-4o": "auto", "mine": "gpt-4o", "lost": "gone"}, ("gpt-4o", "gpt-4o", ""))
    assert names.target("gpt-4o", ["v@1"]).way == "auto"
    assert [each.name for each in names.target("mine", ["v@1"]).among] == ["gpt-4o"]
    with pytest.raises(Refused, match=r"'lost' \(it stands for gone, by policy.models\) does not"):
        names.target("lost", [])
    assert names.dangling(["v@1"]) == ["lost"]
    assert named({"a": "v@7"}).dangling([]) == []


def test_every_name_is_listed_once() -> None:
    clouds = [("gpt-4o", "gpt-4o", "gpt-4o"), ("gpt-4o#2", "served", "gpt-4o"), ("big", "big", "")]
    ids = [card.id for card in named({"gpt-4o": "auto", "*": "auto"}, *clouds).cards(["v@1"])]
    assert ids == ["auto", "local", "cloud", "v@1", "gpt-4o", "served", "big"]


@pytest.mark.parametrize("name", ["auto", "local", "cloud"])
def test_the_gateways_own_names_mean_one_thing(name: str) -> None:
    with pytest.raises(ConfigError, match=f"models: {name} is a name of the gateway's own"):
        check_settings(ServeSettings, {"policy": {"models": {name: "cloud"}}})
    cloud = {"base_url": "http://localhost:1/v1", "model": "m"}
    with pytest.raises(ConfigError, match=f"clouds.{name}: .*call the cloud by another name"):
        check_settings(ServeSettings, {"clouds": {name: cloud}})


def test_the_tiny_model_is_not_put_before_a_cloud_in_silence() -> None:
    price = {"prompt": 1, "completion": 1}
    cloud = {"base_url": "http://localhost:1/v1", "model": "m", "prices": price}
    for local, warned in ((None, True), ("none", False), ("http://localhost:2/v1", False)):
        said: list[str] = []
        given = {"clouds": {"main": cloud}} | ({"local": {"path": local}} if local else {})
        open_clouds(check_settings(ServeSettings, given), said.append)
        told = [each for each in said if "the tiny model that ships answers first" in each]
        assert bool(told) == warned
        for line in told:
            (page,) = re.findall(r"docs/\S+\.md", line)
            assert (ROOT / page).read_text(encoding="utf-8").startswith("# The tiny model\n")
    said = []
    open_clouds(ServeSettings(), said.append)
    assert said == []


def written(mean_logprob: float) -> Written:
    return Written("x", "stop", 1, 0, 1, "v", mean_logprob=mean_logprob)


def test_a_cascade_has_its_dial_over_the_last_questions() -> None:
    cascade = Cascade({"mean_logprob": -1.0})

    def asks(value: float, dial: float | None = None) -> Verdict:
        return asyncio.run(cascade.decide(Question.of("q"), written(value), dial, 0.0))

    assert asks(-1.5).asks
    assert asks(-1.5).why == "the local answer's mean log-probability, -1.50, is worse than -1.00"
    assert not asks(-0.5).asks
    for number in range(100):
        asks(-number / 100, 0.1)  # from sure to unsure
    assert not asks(-0.85, 0.1).asks
    assert asks(-0.95, 0.1).asks


def trace_of(**more: object) -> Trace:
    body = {"model": "auto", "messages": [], "store": True, "metadata": {"a": "b"}}
    caller = Caller("k1", "team", conversation="c1", request_id="r1")
    return Trace(ChatRequest(body), caller, **more)  # type: ignore[arg-type]


def test_a_trace_becomes_an_event() -> None:
    trace = trace_of(at=5.0)
    trace.decide(Decision("cloud", "hard", "big-2026", asked=True))
    trace.verdict = Verdict(True, "hard", 0.5, 0.25)
    trace.answer, trace.answer_id, trace.cloud, trace.asked = "yes", "chatcmpl-1", "main", True
    trace.cloud_cost = Cost(2, 10, 5, dollars=0.5)
    trace.failed.append(FailedCall("first", "HTTP 503", "call-1"))
    event = event_of(trace)
    assert (event.id, event.request_id, event.key, event.team) == ("chatcmpl-1", "r1", "k1", "team")
    assert (event.answered_by, event.model, event.cloud) == ("cloud", "big-2026", "main")
    assert event.cost.dollars == 0.5
    assert event.signals["failed"] == [{"cloud": "first", "reason": "HTTP 503", "dollars": 0.0}]
    assert (event.signals["score"], event.signals["threshold"]) == (0.5, 0.25)
    assert event.stored
    assert event.metadata == {"a": "b"}
    assert isinstance(event.answer, dict)
    assert event.answer["choices"][0]["message"]["content"] == "yes"


def test_several_questions_of_a_request_are_told_as_one() -> None:
    here = Decision("local", "sure", "tiny@2", "tiny@2", left={"dollars/day": 0.5})
    there = [
        Decision("cloud", f"hard {n}", "big", asked=True, dollars=0.25, left={"dollars/day": left})
        for n, left in ((1, 0.25), (2, 0.125))
    ]
    found = of_all([here, *there])
    assert (found.answered_by, found.asked, found.dollars) == ("cloud", True, 0.5)
    assert found.left == {"dollars/day": 0.125}
    assert found.why == "3 questions, 2 of them answered by the cloud; the first of these: hard 1"
    assert (found.model, found.version) == ("tiny@2, big", "tiny@2")
    assert of_all([here]) is here


@pytest.mark.parametrize(
    ("code", "wait", "told"),
    [
        ("budget_exceeded", None, [("x-should-retry", "false")]),
        ("budget_exceeded", 20.0, []),
        ("budget_exceeded", 3600.0, [("x-should-retry", "false")]),
        ("rate_limit_exceeded", 61.0, [("x-should-retry", "false")]),
        ("engine_busy", 2.5, []),
        ("cloud_unavailable", None, []),
    ],
)
def test_who_need_not_try_again_is_told(
    code: str, wait: float | None, told: list[tuple[str, str]]
) -> None:
    headers = dict(retry_headers(Refused(429, "x", "no", code=code, retry_after=wait)))
    assert (b"retry-after" in headers) == (wait is not None)
    found = [(name, headers[name.encode()].decode()) for name, _ in told]
    assert found == told
    assert (b"x-should-retry" in headers) == bool(told)


def test_a_refusal_and_a_hang_up_are_events_too() -> None:
    refused = trace_of()
    refused.refuse(Refused(429, "budget_exceeded", "spent"))
    event = event_of(refused)
    assert (event.id, event.status, event.answered_by, event.why) == ("r1", 429, "refused", "spent")
    gone = event_of(trace_of(hung_up=True))
    assert (gone.status, gone.answered_by) == (499, "refused")
    assert gone.signals == {"hung_up": True}


@pytest.mark.parametrize("dial", [0.0, 1.0])
def test_the_ends_of_a_cascades_dial_are_no_errors(dial: float) -> None:
    cascade = Cascade({"mean_logprob": -1.0})
    for _ in range(30):
        asyncio.run(cascade.decide(Question.of("q"), written(-0.5), dial, 0.0))


def test_a_setting_that_may_be_of_several_types_is_named_without_them() -> None:
    prices = {"prompt": -1, "completion": 4}
    cloud = {"base_url": "http://localhost:9/v1", "model": "m", "prices": prices}
    with pytest.raises(ConfigError, match=r"^clouds\.Main\.prices\.prompt=-1: "):
        check_settings(ServeSettings, {"clouds": {"Main": cloud}})
