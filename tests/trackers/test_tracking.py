"""The seam of trackers on whole runs: each step told once, whatever happens to run and tracker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.offload.runs import Silent, StoppedError, config_of, results_of, run_new, run_on
from tests.share import test_session as sharing
from tests.trackers.stand_in import HERE, events, told
from understudy.errors import ConfigError
from understudy.offload.config import Config
from understudy.recipes import check_config, resumed_config
from understudy.run import RunDirectory
from understudy.settings import check_settings
from understudy.share.session import new_share, resume_share
from understudy.share.variants import ShareRun

EXAMS = {"eval_facts_local", "eval_strings_system"}


def tracked(model: Path, *kinds: str) -> Config:
    return config_of("grpo", model, report_to=[f"{HERE}:{kind}" for kind in kinds])


def folder_of(run: RunDirectory) -> Path:
    return run.trackers / "stand_in"


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return run_new(tmp_path_factory.mktemp("runs") / "whole", tracked(model, "Remembers"))


def test_every_step_and_examination_is_told_once_in_order(whole: RunDirectory) -> None:
    found = told(folder_of(whole))
    assert [step for step, _ in found] == [0, 1, 2, 2, 3, 4, 4]
    examined = [keys for _, keys in found if keys >= EXAMS]
    assert len(examined) == 3
    lines = [
        {name for name, value in line.items() if value is not None} - {"step", "task"}
        for line in whole.metric_lines()
    ]
    assert [keys for _, keys in found if not keys >= EXAMS] == lines
    assert {"loss", "reward", "cloud/ask_rate", "completions/mean_length"} <= lines[0]
    last = next(each for each in events(folder_of(whole)) if each.get("step") == 3)
    assert last["metrics"]["loss"] == whole.metric_lines()[2]["loss"]


def test_it_is_told_the_settings_and_the_end(whole: RunDirectory) -> None:
    first, *_, last = events(folder_of(whole))
    assert (first["event"], first["name"], first["id"]) == ("start", "whole", None)
    assert first["config"] == whole.settings()
    assert last == {"event": "finish"}


@pytest.mark.parametrize("stop_at", [1, 3, 4, 6])
def test_a_resumed_run_continues_and_tells_nothing_twice(
    stop_at: int, whole: RunDirectory, model: Path, tmp_path: Path
) -> None:
    config = tracked(model, "Remembers")
    with pytest.raises(StoppedError):
        run_new(tmp_path / "run", config, Silent(stop_at))
    run = run_on(RunDirectory.open(tmp_path / "run"), config)
    assert told(folder_of(run)) == told(folder_of(whole))
    started = [each["id"] for each in events(folder_of(run)) if each["event"] == "start"]
    assert started == [None, "understudy-7"]
    run_on(run, config)
    assert told(folder_of(run)) == told(folder_of(whole))


def test_a_tracker_that_comes_later_is_told_what_was_before(
    whole: RunDirectory, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(StoppedError):
        run_new(tmp_path / "run", config_of("grpo", model), Silent(5))
    run = RunDirectory.open(tmp_path / "run")
    config = resumed_config(run, None, {"report_to": f"{HERE}:Remembers", "project": "mine"})
    run_on(run, config)
    assert told(folder_of(run)) == told(folder_of(whole))
    assert events(folder_of(run))[0]["id"] is None
    assert json.loads((run.trackers / "told.json").read_text())[0]["id"] == "mine-7"


@pytest.mark.parametrize(("kind", "says"), [("Fails", "step 2"), ("Unfinished", "its end")])
def test_a_tracker_that_fails_is_one_warning(
    kind: str, says: str, whole: RunDirectory, model: Path, tmp_path: Path
) -> None:
    display = Silent()
    run = run_new(tmp_path / "run", tracked(model, kind), display)
    wanted = results_of(whole) | {"config.yaml": b""}
    assert results_of(run) | {"config.yaml": b""} == wanted
    (warning,) = (text for text in display.warnings if "report_to" in text)
    assert says in warning
    assert warning.endswith("the run goes on without it")


def test_a_step_that_failed_is_told_on_resuming(
    whole: RunDirectory, model: Path, tmp_path: Path
) -> None:
    run = run_new(tmp_path / "run", tracked(model, "Fails"))
    mended = run.trackers / "told.json"
    mended.write_text(mended.read_text().replace(":Fails", ":Remembers"))
    run_on(run, tracked(model, "Remembers"))
    assert told(folder_of(run)) == told(folder_of(whole))


def test_one_that_cannot_start_is_refused_at_first_and_a_warning_later(
    model: Path, tmp_path: Path
) -> None:
    config = tracked(model, "NotStarting")
    with pytest.raises(ConfigError, match=r"cannot be started \(PermissionError: nobody"):
        run_new(tmp_path / "new", config)
    run_new(tmp_path / "new", config_of("grpo", model))  # the folder is free again
    with pytest.raises(StoppedError):
        run_new(tmp_path / "begun", config_of("grpo", model), Silent(5))
    display = Silent()
    run = run_on(RunDirectory.open(tmp_path / "begun"), config, display)
    assert run.summary.exists()
    assert ["cannot be started" in text for text in display.warnings] == [True]


def test_a_library_that_is_missing_is_said_before_anything_is_written(
    model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="a_library_that_nobody_has is not installed; pip inst"):
        run_new(tmp_path / "run", tracked(model, "NotInstalled"))
    assert not (tmp_path / "run").exists()


def test_what_a_library_prints_is_no_result(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_new(tmp_path / "run", tracked(model, "Remembers"))
    printed = capsys.readouterr()
    assert "talkative" not in printed.out
    assert "talkative" in printed.err


def test_each_variant_of_agents_has_a_run_of_its_own(tmp_path: Path) -> None:
    given = {"report_to": f"{HERE}:Remembers", "run_name": "agents"}
    config = check_settings(ShareRun, sharing.SMALL | {"seeds": [0]} | given)
    whole = new_share(tmp_path / "whole", config, sharing.Quiet())
    assert {path.name for path in folder_of(whole).iterdir()} == {"alone", "modules", "both"}
    found = told(folder_of(whole) / "both")
    assert [step for step, _ in found] == list(range(1, 13))
    assert all(
        keys == {"task", "epoch", "accuracy", "current", "floats", "bytes"} for _, keys in found
    )
    assert events(folder_of(whole) / "both")[0]["name"] == "agents, both"
    with pytest.raises(KeyboardInterrupt):
        new_share(tmp_path / "stopped", config, sharing.Quiet(16))
    stopped = RunDirectory.open(tmp_path / "stopped")
    resume_share(stopped, config, sharing.Quiet())
    for name in ("alone", "modules", "both"):
        assert told(folder_of(stopped) / name) == told(folder_of(whole) / name)


@pytest.mark.parametrize("given", ["none", ["none"], None, []])
def test_none_is_no_tracker(given: object) -> None:
    assert check_config({"report_to": given}).report_to == []


def test_a_name_and_a_list_of_one_are_the_same() -> None:
    assert check_config({"report_to": "wandb"}).report_to == ["wandb"]
