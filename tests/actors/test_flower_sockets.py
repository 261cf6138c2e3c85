"""A real SuperLink, real SuperNodes and processes that Flower starts, over sockets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.actors.same import same
from understudy.actors.crew import Together
from understudy.actors.loop import run
from understudy.actors.saved import load_states
from understudy.share.clock import moments_of
from understudy.share.population import begin_in_common, carriers_of, populations_of
from understudy.share.settings import ShareConfig
from understudy.tasks.instance_sets import load_instances

SETTINGS: dict[str, Any] = {
    "data_options": {"per_class": 50},
    "agents": 3,
    "tasks": 6,
    "learner": "monolithic",
    "epochs": 2,
    "train_per_class": 8,
    "validation_per_class": 8,
    "evaluate_every": 2,
    "width": 8,
    "share_parameters": {"mode": "fedavg", "every": 2},
}
NODES = 2
START = Path(__file__).resolve().parents[2] / "examples" / "flower" / "start.py"


@pytest.mark.slow
def test_flower_gives_the_numbers_of_one_process(tmp_path: Path) -> None:
    pytest.importorskip("flwr")
    settings, out, place = tmp_path / "own.yaml", tmp_path / "result.json", tmp_path / "place"
    settings.write_text(yaml.safe_dump(SETTINGS))
    words = [sys.executable, START, "--nodes", str(NODES), "--settings", settings, "--out", out]
    done = subprocess.run([*words, "--place", place], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    result, config = json.loads(out.read_text()), ShareConfig(**SETTINGS)
    data = load_instances(config.data, config.data_options)
    populations, carriers = populations_of(config, data), carriers_of(config)
    begin_in_common([agent for row in populations for agent in row])
    run(Together(populations), carriers, moments_of(config))
    found: dict[tuple[int, int], Any] = {}
    for path in place.glob("[0-9]/run-*/states.safetensors"):
        found |= load_states(path)["actors"]
    assert same(
        [found[0, agent] for agent in range(3)], [agent.state() for agent in populations[0]]
    )
    assert result["events"] == {}
    crossed = sum(carriers[0].totals().bytes.values())
    assert sum(sum(edge["bytes"].values()) for edge in result["seeds"][0]["edges"]) == crossed
    assert min(result["relay_bytes"].values()) > crossed / 2  # what goes to several, once
