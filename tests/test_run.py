"""The run directory: whole files or the old ones, whatever fails in the middle."""

from __future__ import annotations

import json
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.offload.runs import config_of, results_of, run_new, run_on, saved_model
from understudy.errors import CheckpointError, RunError
from understudy.files import write_folder, write_json, write_text
from understudy.run import RunDirectory


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("model"))


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file grows beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def one(folder: Path) -> None:
    (folder / "one").write_text("1")


def fails(folder: Path) -> None:
    one(folder)
    raise KeyboardInterrupt


def test_a_text_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old\n")
    with full_disk(100), pytest.raises(OSError, match="large"):
        write_text(path, "new\n" * 1000)
    assert path.read_text() == "old\n"
    assert names(tmp_path) == ["file"]


def test_what_cannot_be_json_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "file", {"a": [1, 2.5]})
    with pytest.raises(TypeError):
        write_json(tmp_path / "file", {"a": object()})
    assert json.loads((tmp_path / "file").read_text()) == {"a": [1, 2.5]}


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "a", fails)
    assert names(tmp_path) == []
    write_folder(tmp_path / "a", one)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "a", fails)
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["one"]


def test_a_folder_replaces_the_old_one_and_what_a_kill_left(tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / ".a.part"):
        folder.mkdir()
        (folder / "stale").write_text("x")
    write_folder(tmp_path / "a", one)
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["one"]


def test_a_new_run_takes_an_empty_folder_or_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "deep" / "down"):
        run = RunDirectory.create(path, {"seed": 3})
        assert RunDirectory.open(path).settings() == {"seed": 3}
        assert names(run.path) == ["config.yaml", "environment.json"]


@pytest.mark.parametrize("name", ["config.yaml", "notes.txt"])
def test_a_folder_that_holds_anything_is_left_as_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunError, match="another run" if name == "config.yaml" else "other files"):
        RunDirectory.create(tmp_path, {})
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_start_that_failed_gives_its_folder_to_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "run"
    failed = RunDirectory.create(path, {"seed": 3, "cloud": "a"})
    failed.write(failed.matrix, [])
    failed.replies.write_text("paid\n")
    failed.metrics.touch()
    (failed.checkpoints / ".step-000000.part").mkdir(parents=True)
    with failed.held():
        pass
    again = RunDirectory.create(path, {"seed": 4, "cloud": "a"})
    assert again.settings() == {"seed": 4, "cloud": "a"}
    kept = [".lock", "config.yaml", "environment.json", "replies.jsonl"]
    assert names(path) == kept
    RunDirectory.create(path, {"seed": 4, "cloud": "b"})
    assert names(path) == [name for name in kept if name != "replies.jsonl"]


def test_a_start_that_is_under_way_keeps_its_folder(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", {"seed": 3})
    with run.held(), pytest.raises(RunError, match="another process"):
        RunDirectory.create(run.path, {"seed": 4})
    assert run.settings() == {"seed": 3}


@pytest.mark.parametrize("left", ["metrics.jsonl", "checkpoints/step-000001/a", "notes.txt"])
def test_a_run_of_one_step_or_with_files_of_others_is_kept(left: str, tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", {"seed": 3})
    (run.path / left).parent.mkdir(parents=True, exist_ok=True)
    (run.path / left).write_text("{}\n")
    with pytest.raises(RunError, match="another run"):
        RunDirectory.create(run.path, {"seed": 4})
    assert (run.path / left).exists()


@pytest.mark.parametrize("path", ["file/run", "file", "x" * 300])
def test_a_path_that_cannot_be_a_folder_is_refused(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError):
        RunDirectory.create(tmp_path / path, {})
    with pytest.raises(RunError, match="no run there"):
        RunDirectory.open(tmp_path / path)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is unwritable to root")
def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="cannot be written"):
        RunDirectory.create(tmp_path / "run", {})


@pytest.mark.parametrize("content", [b"- 1\n", b"a: [1", b"\xff\xfe", b""])
def test_settings_that_are_none_are_refused_with_their_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(RunError, match=r"config\.yaml") as caught:
        RunDirectory.open(tmp_path).settings()
    assert "\n" not in str(caught.value)


def test_rewinding_forgets_the_later_lines_and_half_a_line(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", {})
    for step in (1, 2, 3):
        run.append({"step": step}, {"step": step, "step_time": 0.1})
    with run.metrics.open("a") as file:
        file.write('{"st')
    run.write(run.summary, {})
    with pytest.raises(RunError, match=r"metrics\.jsonl"):
        run.metric_lines()
    run.rewind(2)
    assert run.metric_lines() == [{"step": 1}, {"step": 2}]
    assert [line["step"] for line in run.timing_lines()] == [1, 2]
    assert not run.summary.exists()


def test_rewinding_forgets_the_later_examinations(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", {})
    for name in ("phase-0", "phase-1", "phase-2", "phase-10", "eval-8-step-4"):
        run.write_examination(name, [{"digest": name}, {"digest": "other"}])
    run.rewind(0, 2)
    assert names(run.examinations) == ["eval-8-step-4.jsonl", "phase-0.jsonl", "phase-1.jsonl"]
    assert run.read_examination("phase-1") == [{"digest": "phase-1"}, {"digest": "other"}]


@pytest.mark.parametrize("content", [None, '{"step": 1}\n', '{"step": 1}\n{"st'])
def test_rewinding_to_a_step_whose_lines_are_missing_changes_nothing(
    content: str | None, tmp_path: Path
) -> None:
    run = RunDirectory.create(tmp_path / "run", {})
    run.write(run.summary, {})
    if content is not None:
        run.metrics.write_text(content)
    with pytest.raises(RunError, match=r"metrics\.jsonl") as caught:
        run.rewind(2)
    assert "\n" not in str(caught.value)
    assert run.summary.exists()
    assert not run.metrics.exists() or run.metrics.read_text() == content


def test_the_last_two_checkpoints_are_kept_in_order(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", {})
    assert not run.has_checkpoint()
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        run.last_checkpoint()
    for step in (0, 9, 10, 100, 999_999, 1_000_000):
        run.save_checkpoint(step, one)
        assert run.last_checkpoint().name == f"step-{step:06d}"
    assert names(run.checkpoints) == ["step-1000000", "step-999999"]


def test_a_checkpoint_that_fails_leaves_the_older_ones(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", {})
    for step in (1, 2):
        run.save_checkpoint(step, one)
    with pytest.raises(KeyboardInterrupt):
        run.save_checkpoint(3, fails)
    (run.checkpoints / ".step-000003.part").mkdir()  # as a kill would leave it
    assert run.last_checkpoint().name == "step-000002"
    assert names(run.checkpoints) == [".step-000003.part", "step-000001", "step-000002"]
    run.save_checkpoint(3, one)
    assert names(run.checkpoints) == ["step-000002", "step-000003"]


def test_an_unfinished_run_has_no_summary_to_read(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", {})
    with pytest.raises(RunError, match=r"summary\.json.*--resume"):
        run.read(run.summary)


FULL = "large|No space left"  # the reply log, too, may have written a part of a line


# Bytes that hold the settings, then the matrix, a model, its optimiser: where each next file fails.
@pytest.mark.parametrize("size", [100, 600, 1500, 20_000, 60_000])
def test_a_full_disk_is_one_line_and_costs_no_result(
    size: int, model: Path, tmp_path: Path
) -> None:
    config = config_of("understudy", model, checkpoint_every=1)
    wanted = results_of(run_new(tmp_path / "whole", config))
    path = tmp_path / "run"
    with full_disk(size), pytest.raises(RunError) as caught:
        run_new(path, config)
    assert "\n" not in str(caught.value)
    assert re.search(FULL, str(caught.value))
    assert not list(tmp_path.rglob("*.part"))
    if not (path / "config.yaml").exists():
        assert results_of(run_new(path, config)) == wanted
        return
    run = RunDirectory.open(path)
    with full_disk(size), pytest.raises(RunError, match=FULL):
        run_on(run, config)
    assert results_of(run_on(run, config)) == wanted


def test_a_run_that_cannot_be_held_is_refused(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", {"seed": 0})
    (run.path / ".lock").mkdir()
    with pytest.raises(RunError, match="cannot be written"), run.held():
        pass


def test_a_second_process_is_kept_off_a_run(tmp_path: Path) -> None:
    first = RunDirectory.create(tmp_path / "run", {"seed": 0})
    second = RunDirectory.open(tmp_path / "run")
    with first.held(), pytest.raises(RunError, match="another process"), second.held():
        pass
    with second.held():  # given back
        pass
