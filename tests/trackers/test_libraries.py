"""The trackers that ship, each with its real library, where that is installed.

Two halves of a run are told, as before and after an interruption, and what the library kept is read
back by the library itself.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from understudy.trackers import TRACKERS
from understudy.trackers.tracker import TrackedRun

CONFIG: Mapping[str, Any] = {
    "model": "tiny",
    "lora": {"rank": 16},
    "stream": [{"families": {"facts": 1.0}}],
    "variants": {"nothing shared, at all": {"seeds": [0, 1]}},
}
LINES = {1: {"loss": 0.5, "cloud/ask_rate": 0.25}, 2: {"loss": 0.25}, 3: {"loss": 0.125}}
EXAMINED = {"eval_facts_local": 0.75}


def tell(kind: str, folder: Path) -> str:
    """Steps 1 and 2 with an examination, then 3 as by a run that was resumed; returns the id."""
    run = TrackedRun("shop", "first", folder)
    tracker = TRACKERS.load(kind)(run)
    known = tracker.start(CONFIG)
    tracker.log(LINES[1], 1)
    tracker.log(LINES[2], 2)
    tracker.log(EXAMINED, 2)
    tracker.finish()
    again = TRACKERS.load(kind)(TrackedRun("shop", "first", folder, known or ""))
    assert (again.start(CONFIG) or "") == (known or "")
    again.log(LINES[3], 3)
    again.finish()
    return known or ""


@pytest.mark.parametrize("kind", list(TRACKERS))
def test_none_is_loaded_before_it_is_used(kind: str) -> None:
    assert isinstance(TRACKERS.load(kind).imports, str)


def test_tensorboard_reads_its_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tell("tensorboard", tmp_path)
    found = EventAccumulator(str(tmp_path)).Reload()
    assert [(each.step, each.value) for each in found.Scalars("loss")] == [
        (1, 0.5),
        (2, 0.25),
        (3, 0.125),
    ]
    assert [each.step for each in found.Scalars("eval_facts_local")] == [2]
    (shown,) = found.Tensors("config/text_summary")
    assert b"rank: 16" in shown.tensor_proto.string_val[0]


@pytest.mark.slow  # MLflow makes its tables one change after the other
def test_mlflow_reads_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    client = mlflow.MlflowClient()
    run = tell("mlflow", tmp_path / "own")
    history = client.get_metric_history(run, "loss")
    assert sorted((each.step, each.value) for each in history) == [(1, 0.5), (2, 0.25), (3, 0.125)]
    found = client.get_run(run)
    assert found.info.run_name == "first"
    assert found.info.status == "FINISHED"
    assert found.data.params["lora.rank"] == "16"
    assert client.get_experiment(found.info.experiment_id).name == "shop"


def test_wandb_keeps_its_files_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = tell("wandb", tmp_path)
    wandb.teardown()  # until all is written
    found: list[tuple[float, str, float]] = []
    for file in sorted(tmp_path.rglob("*.wandb")):
        assert run in file.name
        for content in offline_records(file.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(content)
            items = {
                name: float(item.value_json)
                for item in record.history.item
                if not (name := item.key or "/".join(item.nested_key)).startswith("_")
            }
            step = items.pop("step", math.nan)
            found += [(step, name, value) for name, value in items.items()]
    assert sorted(found) == [
        (1, "cloud/ask_rate", 0.25),
        (1, "loss", 0.5),
        (2, "eval_facts_local", 0.75),
        (2, "loss", 0.25),
        (3, "loss", 0.125),
    ]


def offline_records(content: bytes) -> Iterator[bytes]:
    """The records of W&B's file: LevelDB's log format after a head of 7 bytes."""
    block, place, record = 2**15, 7, b""
    while place + 7 <= len(content):
        if block - place % block < 7:  # the rest of a block holds no head
            place += block - place % block
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def test_trackio_reads_its_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    run = tell("trackio", tmp_path / "own")
    logs = SQLiteStorage.get_logs("shop", run)
    assert [(each["step"], each["loss"]) for each in logs if "loss" in each] == [
        (1, 0.5),
        (2, 0.25),
        (3, 0.125),
    ]
    assert [each["step"] for each in logs if "eval_facts_local" in each] == [2]
