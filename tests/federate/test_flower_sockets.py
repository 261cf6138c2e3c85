"""A federation over a real SuperLink with TLS and SuperNodes with keys, each with its own data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.actors.same import same
from tests.federate.test_flower import own_data
from tests.federate.tiny import SMALL, config_of
from understudy.actors.crew import together
from understudy.actors.loop import run
from understudy.actors.saved import load_states
from understudy.federate.clock import moments_of
from understudy.federate.population import Federation, carriers_of
from understudy.federate.summary import federation_result
from understudy.plain import to_plain

START = Path(__file__).resolve().parents[2] / "examples" / "flower" / "start.py"


@pytest.mark.slow
@pytest.mark.parametrize("safety", [[], ["--secure"]], ids=["insecure", "tls"])
def test_processes_of_flower_give_the_numbers_of_one_process(
    tmp_path: Path, safety: list[str]
) -> None:
    pytest.importorskip("flwr")
    (data := tmp_path / "data").mkdir()
    told = SMALL | {"tasks": 1, "rounds": 2} | own_data(data)
    settings, out, place = tmp_path / "own.yaml", tmp_path / "result.json", tmp_path / "place"
    settings.write_text(yaml.safe_dump({"recipe": "federate"} | told))
    words = [sys.executable, START, "--nodes", "2", "--settings", settings, "--out", out, *safety]
    done = subprocess.run([*words, "--place", place], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    result, config = json.loads(out.read_text()), config_of(**told)
    crew, carriers = together(Federation(config)), carriers_of(config)
    run(crew, carriers, moments_of(config))
    wanted = federation_result(config, 0, crew.reports()[0], crew.logs()[0], carriers[0])
    assert result["seeds"] == json.loads(json.dumps([to_plain(wanted)]))
    found = {}
    for path in place.glob("[0-9]/run-*/states.safetensors"):
        found |= load_states(path)["actors"]
    clients = crew.populations[0][1:]
    assert same([found[0, n] for n in (1, 2, 3)], [client.state() for client in clients])
    assert result["events"] == {}


@pytest.mark.slow
def test_a_node_whose_key_is_not_registered_is_not_let_in(tmp_path: Path) -> None:
    pytest.importorskip("flwr")
    settings = tmp_path / "own.yaml"
    settings.write_text(yaml.safe_dump({"recipe": "federate"} | SMALL))
    words = [sys.executable, START, "--nodes", "1", "--settings", settings, "--secure"]
    words += ["--out", tmp_path / "out.json", "--strangers", "--patience", "60"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode != 0
    assert not (tmp_path / "out.json").exists()
