"""A recorded cloud: paid once, answered from files; what is not there fails or goes on."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.offload.runs import Silent, StoppedError, config_of, run_new, run_on
from understudy.clouds import MeteredCloud
from understudy.clouds.building import build_cloud
from understudy.clouds.recorded import RecordedCloud
from understudy.errors import CloudError, ConfigError
from understudy.link import Budget, ReplyLog
from understudy.offload.config import Config
from understudy.run import RunDirectory
from understudy.settings import check_settings
from understudy.tasks import KeyOfDrawn
from understudy.types import Cost, Options, Question, Reply, Request, Turn

CAPITAL = Question.of("The capital of France?")
SUM = Question.of("6+7")  # the simulated cloud knows it
PRICE = {"prompt_tokens": 5, "completion_tokens": 1, "dollars": 0.25}
LINE = {"question": CAPITAL.prompt, "reply": "Paris", "seconds": 2.0} | PRICE
LIVE = {"kind": "simulated", "accuracy": 1.0}


def written(path: Path, *lines: dict[str, Any], end: str = "\n") -> Path:
    content = "\n".join(map(json.dumps, lines)) + end
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content.encode()))
    else:
        path.write_text(content)
    return path


def recorded(*files: Path, **settings: Any) -> RecordedCloud:
    cloud = {"kind": "recorded", "files": list(map(str, files)), **settings}
    built = build_cloud(check_settings(Config, {"cloud": cloud}).cloud, KeyOfDrawn())
    assert isinstance(built, RecordedCloud)
    return built


def answer(cloud: RecordedCloud, question: Question) -> Reply:
    return asyncio.run(cloud.answer(Request(question)))


def test_a_reply_of_nothing_is_a_failed_call(tmp_path: Path) -> None:
    cloud = recorded(written(tmp_path / "record.jsonl", LINE | {"reply": None}))
    assert answer(cloud, CAPITAL).error == "failed when it was recorded: no answer"


@pytest.mark.parametrize("name", ["record.jsonl", "record.jsonl.gz"])
def test_a_question_costs_what_it_cost_once(tmp_path: Path, name: str) -> None:
    cloud = MeteredCloud(recorded(written(tmp_path / name, LINE)))
    replies = cloud.replies([CAPITAL, CAPITAL])
    cloud.close()
    assert replies == [Reply("Paris", 5, 1, 0.25, 2.0)] * 2
    assert (cloud.spend.calls, cloud.spend.cache_hits, cloud.spend.dollars) == (1, 1, 0.25)


def test_a_question_is_found_by_all_that_it_holds(tmp_path: Path) -> None:
    asked = Question((Turn("system", "Be brief."), Turn("user", "Hello")), Options(temperature=0.0))
    told = {"question": "Hello", "instruction": "Be brief.", "reply": "told"} | PRICE
    whole = asked.to_json() | {"text": "whole"} | PRICE
    digest = {"digest": Question.of("Hello").digest, "text": "bare"} | PRICE
    cloud = recorded(written(tmp_path / "record.jsonl", told, whole, digest))
    assert answer(cloud, Question.of("Hello", "Be brief.")).text == "told"
    assert answer(cloud, asked).text == "whole"
    assert answer(cloud, Question.of("Hello")).text == "bare"
    other = answer(cloud, Question.of("Hello", "Be long."))
    assert "another instruction" in str(other.error)


def test_of_several_files_the_first_reply_that_succeeded_counts(tmp_path: Path) -> None:
    failed = {**CAPITAL.to_json(), "text": None, "error": "timeout", **PRICE}
    first = written(tmp_path / "first.jsonl", failed)
    second = written(tmp_path / "second.jsonl.gz", LINE, LINE | {"reply": "Lyon"})
    third = written(tmp_path / "third.jsonl", LINE | {"question": "2+2", "reply": "4"})
    cloud = recorded(first, second, third)
    assert (answer(cloud, CAPITAL).text, len(cloud)) == ("Paris", 2)
    assert answer(cloud, Question.of("2+2")).text == "4"


def test_what_is_not_there_is_a_failed_call_that_names_it(tmp_path: Path) -> None:
    cloud = recorded(written(tmp_path / "record.jsonl", LINE))
    reply = answer(cloud, Question.of("Of\nSpain?"))
    assert (reply.text, reply.cost) == (None, Cost(calls=1))
    assert reply.error is not None
    assert reply.error.startswith("not in the record: question ")
    assert "'Of Spain?'" in reply.error


def test_a_call_that_failed_fails_again_at_its_price_or_is_asked_live(tmp_path: Path) -> None:
    failed = {**SUM.to_json(), "text": None, "error": "timeout", **PRICE}
    path = written(tmp_path / "record.jsonl", failed)
    reply = answer(recorded(path), SUM)
    assert (reply.error, reply.dollars) == ("failed when it was recorded: timeout", 0.25)
    assert answer(recorded(path, live=LIVE), SUM).error is None


@pytest.mark.parametrize(
    ("name", "end"), [("record.jsonl", "\n"), ("record.jsonl", ""), ("record.jsonl.gz", "\n")]
)
def test_what_a_live_cloud_answers_is_added_and_not_asked_again(
    tmp_path: Path, name: str, end: str
) -> None:
    path = written(tmp_path / name, LINE, end=end)
    first = recorded(path, live=LIVE, add=True)
    live = answer(first, SUM)
    assert (live.cloud, live.error) == ("simulated", None)
    assert answer(first, SUM).cloud == answer(first, CAPITAL).cloud == "recorded"
    again = answer(recorded(path), SUM)
    assert (again.text, again.cost) == (live.text, live.cost)
    assert answer(recorded(path), CAPITAL).text == "Paris"


def test_a_record_may_begin_empty_and_is_left_alone_without_add(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    answer(recorded(path, live=LIVE, add=True), SUM)
    content = path.read_bytes()
    assert len(recorded(path)) == 1
    answer(recorded(path, live=LIVE), Question.of("7+8"))
    assert path.read_bytes() == content


def test_failures_of_the_live_cloud_are_not_added(tmp_path: Path) -> None:
    path = written(tmp_path / "record.jsonl", LINE)
    cloud = recorded(path, live=LIVE | {"faults": {"failure_rate": 1.0}}, add=True)
    assert answer(cloud, SUM).error == "timeout"
    assert len(path.read_text().splitlines()) == 1


def test_a_stream_comes_from_the_record_or_on_from_the_live_cloud(tmp_path: Path) -> None:
    cloud = recorded(written(tmp_path / "record.jsonl", LINE), live=LIVE)

    async def parts(question: Question) -> list[str | Reply]:
        return [part async for part in cloud.stream(Request(question))]

    assert asyncio.run(parts(CAPITAL))[0] == "Paris"
    *pieces, last = asyncio.run(parts(SUM))
    assert isinstance(last, Reply)
    assert ("".join(map(str, pieces)), last.cloud) == (last.text, "simulated")


def test_caps_count_recorded_replies_as_they_count_calls(tmp_path: Path) -> None:
    path = written(tmp_path / "record.jsonl", LINE, LINE | {"question": "2+2"})
    cloud = MeteredCloud(recorded(path), budget=Budget({"dollars": 0.3}))
    first, second = cloud.replies([CAPITAL, Question.of("2+2")])
    cloud.close()
    assert first.error is None
    assert "max_dollars" in str(second.error)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "a line is a mapping"),
        (json.dumps({"reply": "x"} | PRICE), "no question"),
        (json.dumps({"question": "x"} | PRICE), "reply is missing"),
        (json.dumps({"question": "x", "reply": "y", "prompt_tokens": 1}), "completion_tokens"),
        (json.dumps({k: v for k, v in LINE.items() if k != "dollars"}), "no price is guessed"),
        (json.dumps(LINE | {"dollars": -1}), "dollars=-1"),
        (json.dumps(LINE | {"reply": 42}), "reply=42 is no text"),
        (json.dumps(LINE | {"digest": "0" * 32}), "its digest is 000"),
    ],
)
def test_a_broken_line_is_named_by_its_number(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "record.jsonl"
    path.write_text(f"{json.dumps(LINE)}\n\n{line}\n{json.dumps(LINE)}\n")
    with pytest.raises(ConfigError) as error:
        recorded(path)
    assert "record.jsonl: line 3 is no recorded reply" in str(error.value)
    assert words in str(error.value)


def test_a_last_line_that_was_cut_short_is_left_out_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    path.write_text(f'{json.dumps(LINE)}\n{{"messages": [')
    assert len(recorded(path)) == 1
    answer(recorded(path, live=LIVE, add=True), SUM)
    assert len(path.read_text().splitlines()) == len(recorded(path)) == 2


def test_a_compressed_file_that_was_cut_short_is_refused_and_kept(tmp_path: Path) -> None:
    path = written(tmp_path / "record.jsonl.gz", LINE)
    path.write_bytes(content := path.read_bytes()[:-12])
    with pytest.raises(ConfigError, match="cannot be decompressed"):
        recorded(path, live=LIVE, add=True)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ["cloud", "files is empty"]),
        ({"files": ["a.jsonl"], "add": True}, ["add=true", "set live"]),
        ({"files": ["a.jsonl"], "live": LIVE | {"max_calls": 3}}, ["set cloud.max_calls"]),
        ({"files": ["a.jsonl"], "live": LIVE | {"accurac": 1}}, ["mean cloud.live.accuracy"]),
        ({"files": ["a.jsonl"], "accuracy": 1.0}, ["accuracy", "cloud simulated"]),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(
    settings: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        check_settings(Config, {"cloud": {"kind": "recorded"} | settings})
    assert [word for word in words if word not in str(error.value)] == []


def test_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        recorded(tmp_path / "no.jsonl")
    with pytest.raises(ConfigError, match="without a log of replies"):
        recorded(tmp_path)


def test_settings_come_back_from_a_run_s_directory() -> None:
    for live in (None, LIVE, "simulated"):
        cloud = {"kind": "recorded", "files": ["a.jsonl"], "live": live}
        config = check_settings(Config, {"cloud": cloud})
        saved = yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))
        assert check_settings(Config, saved) == config


PARALLEL = """
import asyncio, sys
from tests.clouds.test_recorded import *
cloud = recorded(Path(sys.argv[1]), live=LIVE, add=True)
for number in range(50):
    answer(cloud, Question.of(f"{sys.argv[2]}+{number}"))
"""


def test_processes_that_add_to_one_record_do_not_spoil_each_other_s_lines(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl.gz"
    command = [sys.executable, "-c", PARALLEL, str(path)]
    started = [subprocess.Popen([*command, str(number)]) for number in (1, 2)]
    assert [each.wait() for each in started] == [0, 0]
    assert len(recorded(path)) == 100


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return run_new(tmp_path_factory.mktemp("recorded") / "live", small("simulated"))


def small(cloud: Any, **settings: Any) -> Config:
    sizes = {"eval_queries": 4, "calibration_queries": 8, "steps": 2, "stream": "demo"}
    sizes |= {"batch_size": 4, "num_generations": 4}
    return config_of("understudy", Path("tiny"), **sizes | settings, cloud=cloud)


def of_run(run: RunDirectory, **settings: Any) -> dict[str, Any]:
    return {"kind": "recorded", "files": [str(run.path)], **settings}


def figures(run: RunDirectory) -> tuple[Any, ...]:
    return run.read(run.matrix), run.read(run.summary), list(run.metric_lines())


def test_a_run_from_the_record_of_another_is_that_run(run: RunDirectory, tmp_path: Path) -> None:
    again = run_new(tmp_path / "again", small(of_run(run)))
    assert figures(again) == figures(run)


def test_a_run_from_a_record_is_resumed_to_the_same_figures(
    run: RunDirectory, tmp_path: Path
) -> None:
    record = tmp_path / "record.jsonl"
    results = []
    for name, stop_at in (("whole", None), ("killed", 4)):
        record.unlink(missing_ok=True)
        cloud = {"kind": "recorded", "files": [str(run.path), str(record)]}
        cloud |= {"live": "simulated", "add": True}
        config = small(cloud, steps=4, checkpoint_every=2, seed=1)
        if stop_at is not None:
            with pytest.raises(StoppedError):
                run_new(tmp_path / name, config, Silent(stop_at))
            results.append(figures(run_on(RunDirectory(tmp_path / name), config)))
        else:
            results.append(figures(run_new(tmp_path / name, config)))
    assert results[0] == results[1]
    assert record.exists()


def test_a_first_question_that_is_not_recorded_is_said_in_one_line(
    run: RunDirectory, tmp_path: Path
) -> None:
    display = Silent()
    record = written(tmp_path / "record.jsonl", LINE)
    cloud = {"kind": "recorded", "files": [str(record)], "max_failed_share": 1.0}
    config = small(cloud)
    again = run_new(tmp_path / "again", config, display)
    first = display.warnings[0]
    assert first.startswith("the first question has no recorded reply: the record")
    assert str(record) in first
    assert "\n" not in first
    assert again.read(again.summary)["evaluation_spend"]["failed_calls"] > 0


def test_too_many_questions_that_are_not_recorded_stop_a_run(tmp_path: Path) -> None:
    record = written(tmp_path / "record.jsonl", LINE)
    config = small({"kind": "recorded", "files": [str(record)]}, eval_queries=30)
    with pytest.raises(CloudError, match=r"set cloud\.live"):
        run_new(tmp_path / "run", config)


def test_a_log_of_replies_can_be_the_record(run: RunDirectory) -> None:
    entry = next(iter(ReplyLog(run.examination_replies).entries()))
    cloud = recorded(run.examination_replies)
    assert answer(cloud, entry.question).text == entry.reply.text
