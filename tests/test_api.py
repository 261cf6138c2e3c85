"""The Python face: the same functions, records and refusals as the command line."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import understudy
from tests.offload.runs import SMALL, config_of, results_of, run_new, saved_model
from understudy import api
from understudy.run import RunDirectory

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"
FACTS = [{"families": "facts", "levels": [1, 1], "steps": 1}]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("model"))


def settings(model: Path, **more: Any) -> dict[str, Any]:
    return SMALL | {"model": str(model), "stream": FACTS} | more


@pytest.fixture(scope="module")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> understudy.Run:
    """A run whose router always lets the cloud answer."""
    out = tmp_path_factory.mktemp("runs") / "run"
    given = settings(model, budget=1.0, cloud={"accuracy": 1.0}, price={"spare": False})
    return understudy.train("understudy", out=out, config=given)


def test_all_is_what_imports_and_what_the_page_describes() -> None:
    assert understudy.__all__ == sorted(understudy.__all__)
    assert set(understudy.__all__) == set(api.__all__)
    assert all(getattr(understudy, name) is not None for name in understudy.__all__)
    assert set(understudy.__all__) <= set(dir(understudy))
    table = PAGE.read_text().partition("## Names")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(understudy.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        understudy.nothing  # noqa: B018


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for block in blocks:
            exec(block, names)
    lines = printed.getvalue().splitlines()
    assert len(blocks) >= 5
    assert f"{Path('runs/mine')} 2" in lines
    assert "budgte: there is no such setting; did you mean budget?" in lines
    assert Path("runs/mine/report.html").exists()


def test_training_gives_what_the_settings_of_the_command_line_give(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = run_new(tmp_path / "wanted", config_of("dagrpo", model, stream=FACTS, seed=3))
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(settings(model, seed=5, learning_rate=0.003)))
    run = understudy.train("dagrpo", out=tmp_path / "run", config=file, seed=3)
    found = RunDirectory.open(run.path)
    assert results_of(found) == results_of(wanted)
    assert found.report.exists()
    assert capsys.readouterr() == ("", "")
    assert run.summary["steps"] == len(run.metrics) == 1


def test_a_run_is_resumed_and_its_settings_kept(model: Path, tmp_path: Path) -> None:
    given = settings(model, seed=3)
    run = understudy.train("dagrpo", out=tmp_path / "run", config=given)
    before = results_of(RunDirectory.open(run.path))
    assert understudy.train("dagrpo", out=run.path, resume=True).path == run.path
    assert results_of(RunDirectory.open(run.path)) == before
    with pytest.raises(understudy.UnderstudyError, match="seed=4, but"):
        understudy.train("dagrpo", out=run.path, resume=True, seed=4)
    with pytest.raises(understudy.UnderstudyError, match="the command says gapg"):
        understudy.train("gapg", out=run.path, resume=True)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"budgte": 0.3}, "did you mean budget"),
        ({"price.rte": 0.3}, "did you mean price.rate"),
        ({"price": {"rte": 0.3}}, "did you mean price.rate"),
        ({"budget": 1.5}, "budget=1.5"),
        ({"config": {"recipe": "gapg"}}, "the command says dagrpo"),
        ({"config": "nowhere.yaml"}, "nowhere.yaml"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused_before_anything_is_written(
    given: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(understudy.UnderstudyError, match=words):
        understudy.train("dagrpo", out=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "raised",
    [
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried"),
        RuntimeError("CUDA out of memory. Tried"),
        MemoryError(),
    ],
    ids=["processor", "gpu", "python"],
)
def test_memory_that_is_exhausted_is_one_line(raised: Exception) -> None:
    with pytest.raises(understudy.UnderstudyError, match="batch_size"), api._enough_memory():
        raise raised


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="something else"), api._enough_memory():
        raise RuntimeError("something else")


def test_warnings_are_those_of_python_where_nothing_is_displayed(
    model: Path, tmp_path: Path
) -> None:
    wrong = settings(model, learning_rate=1e-9, stream=[{"families": "sums", "steps": 60}])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        understudy.train("grpo", out=tmp_path / "run", config=wrong)
    assert any("no signal" in str(each.message) or "groups" in str(each.message) for each in caught)


def test_an_answer_says_who_gave_it_why_and_what_it_cost(finished: understudy.Run) -> None:
    answer = finished.answer("3+4")
    assert (answer.text, answer.answered_by) == ("7", "cloud")
    assert answer.cost.calls == 1
    assert answer.cost.dollars > 0
    assert answer.why


def test_a_notebook_has_an_event_loop_of_its_own(model: Path, tmp_path: Path) -> None:
    async def cell() -> tuple[understudy.Run, str]:
        given = settings(model, budget=1.0, cloud={"accuracy": 1.0}, price={"spare": False})
        run = understudy.train("understudy", out=tmp_path / "run", config=given)
        with run:
            return run, run.answer("3+4").answered_by

    run, by = asyncio.run(cell())
    assert (run.summary["steps"], by) == (1, "cloud")


def test_the_model_is_loaded_once_and_let_go(finished: understudy.Run) -> None:
    finished.answer("3+4")
    kept = finished._model
    finished.answer("3+5")
    assert finished._model is kept
    finished.close()
    assert finished._model is not kept
    with understudy.load(finished.path) as run:
        assert run.answer("3+4").text == "7"
    assert "_model" not in vars(run)


def test_a_conversation_may_be_given_in_any_form(finished: understudy.Run) -> None:
    turn = {"role": "user", "content": "3+4"}
    forms: list[Any] = [
        "3+4",
        [turn],
        [understudy.Turn("user", "3+4")],
        understudy.Question.of("3+4"),
    ]
    answers = {finished.answer(form) for form in forms}
    assert len({answer.text for answer in answers}) == 1
    earlier = [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"}]
    assert finished.answer([*earlier, turn]).local_text is not None


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "no turns"),
        ([{"role": "assistant", "content": "7"}], "ends with the user's"),
        ([{"role": "user", "content": "1"}, {"role": "system", "content": "2"}], "may begin"),
        ([{"role": "user"}], "role and content"),
        ([3], "role and content"),
        ([{"role": "user", "content": 3}], "are texts"),
        ("", "empty"),
        ([{"role": "user", "content": "<ask>"}, {"role": "user", "content": "3+4"}], "<ask>"),
    ],
)
def test_what_is_no_conversation_is_refused(
    messages: Any, words: str, finished: understudy.Run
) -> None:
    with pytest.raises(understudy.UnderstudyError, match=words):
        finished.answer(messages)


def test_an_examination_by_any_router_leaves_typed_results(finished: understudy.Run) -> None:
    (own,) = understudy.examine(finished, questions=6)
    (random,) = understudy.examine(finished.path, questions=6, router="random")
    assert own.task == random.task
    assert own.cell.local == random.cell.local
    assert (own.cell.ask_rate, random.cell.ask_rate) == (1.0, 1.0)
    assert {row.split for row in finished.rows} == {"validation", "test"}


def test_an_examination_on_nothing_is_refused(finished: understudy.Run) -> None:
    with pytest.raises(
        understudy.UnderstudyError, match="questions=0: an examination needs at least 1"
    ):
        finished.examine(0)
    with pytest.raises(understudy.UnderstudyError, match="3 is no question"):
        finished.answer(3)  # type: ignore[arg-type]


def test_runs_are_compared_by_path_or_as_they_are(finished: understudy.Run) -> None:
    one, other = understudy.compare(finished, str(finished.path))
    assert one == other
    assert one["recipe"] == "understudy"


def test_what_is_no_run_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(understudy.UnderstudyError, match="no run there"):
        understudy.load(tmp_path)


def test_agents_share_from_python_and_do_not_answer(tmp_path: Path) -> None:
    given: dict[str, Any] = {"agents": 2, "tasks": 2, "epochs": 2, "seeds": [0]}
    run = understudy.share({"epochs": 9}, out=tmp_path / "run", **given)
    assert run.settings["epochs"] == 2
    assert run.summary["variants"]
    assert run.report_path.exists()
    assert understudy.compare(run)[0]["run"] == str(run.path)
    with pytest.raises(understudy.UnderstudyError, match="understudy share"):
        run.answer("3+4")
    with pytest.raises(understudy.UnderstudyError, match="did you mean agents"):
        understudy.share(out=tmp_path / "other", agnts=2)


def test_share_is_a_function_and_a_package(tmp_path: Path) -> None:
    program = (
        "import understudy, understudy.share.settings\n"
        "from understudy import share\n"
        "try: understudy.share(out='x', agnts=1)\n"
        "except understudy.UnderstudyError as error: print(error)\n"
        "print(share is understudy.share, understudy.share.settings.__name__)\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True
    ).stdout.splitlines()
    assert printed[0].startswith("agnts: there is no such setting")
    assert printed[1] == "True understudy.share.settings"
