"""examples/pair: its questions, and its settings in a run against a real server's answers."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from tests.clouds.endpoint_server import Call, completion, serving
from tests.models.small import write_checkpoint
from tests.offload.runs import run_new, settings_of
from understudy.offload.settled import settled
from understudy.recipes import resolve_config
from understudy.tasks.data import load_data

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "pair"
SMALL = {"steps": 2, "batch_size": 4, "num_generations": 4, "max_completion_length": 10}
SMALL |= {"eval_queries": 4, "calibration_queries": 8, "learning_rate": 0.01, "lora.rank": 2}


def rows() -> dict[str, str]:
    with (FOLDER / "support.csv").open(encoding="utf-8", newline="") as file:
        return {row["text"]: row["label"] for row in csv.DictReader(file)}


def test_its_questions_are_distinct_and_every_label_has_as_many() -> None:
    assert set(Counter(rows().values()).values()) == {50}
    assert len(rows()) == 300


def test_its_settings_run_against_an_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(FOLDER)
    right = rows()

    async def labels(call: Call) -> web.StreamResponse:
        return web.json_response(completion(right[call.prompt]))

    base = write_checkpoint(tmp_path / "base", "qwen2", chat=True, max_position_embeddings=1024)
    with serving(labels) as server:
        given = settings_of(SMALL | {"model": str(base), "cloud.http.base_url": server.url})
        config = settled(resolve_config("understudy", FOLDER / "pair.yaml", given))
        run = run_new(tmp_path / "run", config)
    assert {call.body["model"] for call in server.calls} == {"qwen2.5-coder-1.5b"}
    before, after = run.read(run.matrix)
    assert [row["tasks"][0]["cloud"] for row in (before, after)] == [1.0, 1.0]


def test_the_instruction_names_every_label() -> None:
    data = yaml.safe_load((FOLDER / "pair.yaml").read_text(encoding="utf-8"))["data"]["support"]
    config = resolve_config("understudy", FOLDER / "pair.yaml", []).data["support"]
    path = str(FOLDER / data["path"])
    labels = load_data("support", config.model_copy(update={"path": path})).checker.labels
    assert [label for label in labels if f"{label}:" not in data["instruction"]] == []
