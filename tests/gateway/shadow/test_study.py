"""From a log to the figures and the page, with the model that ships and with an engine by URL."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.served import ROOT, child_environment
from tests.gateway.shadow import logged
from tests.gateway.shadow.endpoint import endpoint
from understudy.errors import CloudError, ConfigError
from understudy.gateway.shadow.logs import read_logs
from understudy.gateway.shadow.settings import ShadowSettings
from understudy.gateway.shadow.study import (
    Study,
    answer_log,
    study,
    verdicts_of,
    write_report,
)
from understudy.gateway.shadow.words import (
    assumptions,
    headline,
    kind_table,
    next_commands,
    repeated,
)
from understudy.settings import check_settings, gathered_settings
from understudy.tasks import FAMILIES
from understudy.tasks.family import draw_problem


def settings_of(**given: Any) -> ShadowSettings:
    named = {name.replace("__", "."): value for name, value in given.items()}
    return check_settings(ShadowSettings, gathered_settings({}, None, named))


def studied(path: Path, out: Path | None = None, **given: Any) -> Study:
    settings, log = settings_of(**given), read_logs([str(path)])
    verdicts = verdicts_of(log.calls, settings)
    return study(log, answer_log(log, settings, out), settings, [str(path)], verdicts)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cloud answers sums and units of time, always right."""
    drawn, rows = random.Random(3), []
    for number in range(120):
        family = FAMILIES[("sums", "calendar")[number % 2]]
        problem = draw_problem(family, drawn.randint(1, 2), "test", drawn)
        rows.append(logged.standard_payload(problem.prompt, problem.worked, str(number)))
        rows[-1]["metadata"] = {"requester_metadata": {"task": family.name}}
    picture = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    rows.append(
        logged.standard_payload("", "a cat", "p", messages=[{"role": "user", "content": picture}])
    )
    rows.append(logged.standard_payload("1+1", "", "failed", status="failure"))
    return logged.write(tmp_path_factory.mktemp("log") / "log.jsonl", rows)


@pytest.fixture(scope="module")
def done(log: Path) -> Study:
    return studied(log)


def test_the_model_that_ships_is_held_against_a_log(done: Study) -> None:
    found = done.found
    assert (found.calls, found.answered) == (121, 121)
    assert found.paid == pytest.approx(121 * 0.002)
    assert 0 < found.would_pay < found.paid
    assert found.wrong.low <= found.wrong.share <= found.wrong.high
    assert found.wrong.share <= found.alone_wrong.share
    assert {kind.name for kind in found.kinds} == {"sums", "calendar", "(none)"}
    assert dict(found.unable) == {
        "the local model reads text only, not a part of type image_url": 1
    }
    assert done.source.left_out == ("1 are calls that failed (first: log.jsonl:122)",)


def test_what_is_said_names_the_figures_and_what_they_rest_on(done: Study) -> None:
    said = headline(done.found)
    assert re.match(
        r"You would have paid \$0\.\d+ ± \$0\.\d+ instead of \$0\.2420 \(\d+ % less\)", said
    )
    assert "taken for right" in assumptions(done.found, done.source)[0]
    assert len(kind_table(done.found).rows) == 3
    commands = [command for _, command in next_commands(done.found, done.source)]
    assert any("policy.cascade={" in command for command in commands)


def test_the_recommended_setting_is_one_that_serve_takes(done: Study) -> None:
    from understudy.gateway.settings import PolicySettings

    command = next(line for _, line in next_commands(done.found, done.source) if "cascade" in line)
    setting = re.search(r"'(policy\.cascade=.*?)'", command)
    assert setting is not None
    given = gathered_settings({}, None, [setting[1]])["policy"]
    assert set(check_settings(PolicySettings, given).cascade) == {done.found.signal}


def test_a_report_names_the_command_that_makes_it_again(done: Study, log: Path) -> None:
    assert repeated(done.source) == f"understudy shadow {log}"
    given = settings_of(prices="1/2", local__path="a b", max_wrong=0.1, local__threads=2)
    source = replace(done.source, settings=given, logs=("log.jsonl",))
    assert repeated(source, max_wrong=0.02) == (
        "understudy shadow log.jsonl --local 'a b' --set local.threads=2 --cloud-prices 1/2 "
        "--max-wrong 0.02"
    )


def test_a_checker_measures_the_cloud_too(log: Path) -> None:
    found = studied(log, checker="tasks").found
    assert found.cloud_wrong is not None
    assert found.cloud_wrong.share == 0.0


def test_a_checker_of_ones_own_gets_the_clouds_answer_and_the_metadata(
    log: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def same(prompts, completions, solution, task, **_):\n"
        "    assert set(task) <= {'sums', 'calendar', None}, task\n"
        "    return [float(a == b) for a, b in zip(completions, solution)]\n",
        encoding="utf-8",
    )
    found = studied(log, checker=f"{file}:same").found
    assert found.cloud_wrong is not None
    assert found.cloud_wrong.share == 0.0
    assert found.alone_wrong.share > 0.0


def test_kept_answers_are_not_asked_again_and_a_page_is_written(log: Path, tmp_path: Path) -> None:
    first = studied(log, tmp_path)
    kept = (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "answers.jsonl").write_text(
        "\n".join([kept[0], *(line.replace('"text": "', '"text": "never ') for line in kept[1:])]),
        encoding="utf-8",
    )
    again = studied(log, tmp_path, max_wrong=1.0)
    assert again.found.examples[0].local.startswith("never")
    page = write_report(first, tmp_path).read_text(encoding="utf-8")
    _Whole().feed(page)
    figures = json.loads((tmp_path / "findings.json").read_text(encoding="utf-8"))
    assert figures["paid"] == pytest.approx(0.242)
    assert figures["source"]["rows"] == 122


class _Whole(HTMLParser):
    """Refuses whatever a page would load."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe")
        assert not {"src", "href"} & {name for name, _ in attrs}


def test_hostile_text_stays_text_on_the_page(tmp_path: Path) -> None:
    rows = [
        logged.standard_payload(f"<script>{n}+1", f"</td><img src=x>{n}", str(n)) for n in range(30)
    ]
    page = write_report(studied(logged.write(tmp_path / "l.jsonl", rows)), tmp_path / "out")
    _Whole().feed(page.read_text(encoding="utf-8"))


def test_too_little_to_say_anything_is_refused(tmp_path: Path) -> None:
    rows = [logged.standard_payload("1+1", "#2", str(n)) for n in range(9)]
    with pytest.raises(ConfigError, match="only 9 calls could be compared"):
        studied(logged.write(tmp_path / "l.jsonl", rows))


def test_a_sample_stands_for_the_log_where_time_or_a_bound_ends(log: Path) -> None:
    done = studied(log, questions=60)
    assert done.found.answered < 121
    assert done.found.calls == 121
    assert done.found.paid == pytest.approx(121 * 0.002)
    assert any("drawn by chance" in line for line in assumptions(done.found, done.source))


def _answer(body: dict[str, Any]) -> dict[str, Any]:
    """Right for even numbers, and sure of it."""
    number = int(re.sub(r"\D", "", body["messages"][-1]["content"]) or 0)
    even = number % 2 == 0
    found = logged.completion(str(number if even else number + 1))
    token = {"token": "x", "logprob": -0.01 if even else -1.0, "bytes": None, "top_logprobs": []}
    found["choices"][0]["logprobs"] = {"content": [token]}
    return found


def options(url: str, folder: Path) -> list[str]:
    return ["--local", url, "--json", "--max-wrong", "0.01", "--out", str(folder / "out")]


def test_an_engine_by_url_needs_no_torch(tmp_path: Path) -> None:
    rows = [logged.standard_payload(f"echo {n}", str(n), str(n)) for n in range(60)]
    path = logged.write(tmp_path / "log.jsonl", rows)
    script = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'matplotlib'): sys.modules[name] = None\n"
        "from understudy.__main__ import main\n"
        "main()\n"
    )
    with endpoint(_answer) as url:
        ran = subprocess.run(
            [sys.executable, "-c", script, "shadow", str(path), *options(url, tmp_path)],
            cwd=ROOT,
            env=child_environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["signal"] == "mean_logprob"
    assert (found["asked"], found["wrong"]["share"]) == (0.5, 0.0)
    assert found["would_pay"] == pytest.approx(found["paid"] / 2)
    assert -1.0 < -found["threshold"] < -0.01


def test_an_engine_without_log_probabilities_cannot_know_when_to_ask(tmp_path: Path) -> None:
    rows = [logged.standard_payload(f"echo {n}", str(n), str(n)) for n in range(20)]
    path = logged.write(tmp_path / "log.jsonl", rows)

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return logged.completion("7")

    with (
        endpoint(answer) as url,
        pytest.raises(ConfigError, match="gives no log-probabilities"),
    ):
        studied(path, local__path=url)


def test_an_engine_that_fails_is_said_to(tmp_path: Path) -> None:
    rows = [logged.standard_payload(f"echo {n}", str(n), str(n)) for n in range(40)]
    path = logged.write(tmp_path / "log.jsonl", rows)

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if "echo" in body["messages"][-1]["content"]:
            return {"error": {"message": "out of memory"}}
        return _answer(body)

    with endpoint(answer) as url, pytest.raises(CloudError, match="the local engine fails"):
        studied(path, local__path=url)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"agree": "text", "checker": "sums"}, "agree and checker each say what is right"),
        ({"judge__base_url": "http://x/v1"}, "a judge errs"),
        ({"local__path": "none"}, "shadow mode needs a local model"),
        ({"max_wrong": 2}, "max_wrong=2"),
        ({"checker": "nonsense"}, "--checker nonsense: use file.py:function"),
    ],
)
def test_settings_that_clash_are_refused(given: dict[str, Any], reason: str, log: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(reason)):
        studied(log, **given)
