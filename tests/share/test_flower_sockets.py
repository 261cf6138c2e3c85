"""A real SuperLink, real SuperNodes and processes that Flower starts, over sockets."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.share.alike import same
from understudy.share.crew import Together
from understudy.share.loop import run
from understudy.share.population import begin_alike, carriers_of, moments_of, populations_of
from understudy.share.saved import load_states
from understudy.share.settings import ShareConfig
from understudy.tasks.instances import load_instances

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
PATIENCE = 1800.0  # seconds for all of it
PROJECT = Path(__file__).resolve().parents[2] / "examples" / "flower"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a program of Flower's; all of them end with the test."""
    bin_ = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT.parents[1]),
        "FLWR_HOME": str(tmp_path / "flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }
    with ExitStack() as ends:

        def started(name: str, *arguments: str) -> subprocess.Popen[bytes]:
            log = ends.enter_context((tmp_path / "log").open("ab"))
            process = subprocess.Popen(
                [bin_ / name, *arguments],
                stdout=log,
                stderr=log,
                env=environment,
                cwd=tmp_path,
                start_new_session=True,
            )
            ends.callback(process.wait)
            ends.callback(end, process)
            return process

        yield started


@pytest.mark.slow
def test_flower_gives_the_numbers_of_one_process(
    tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    pytest.importorskip("flwr")
    project, link, out = tmp_path / "project", free_port(), tmp_path / "result.json"
    shutil.copytree(PROJECT, project)
    (project / "settings.yaml").write_text(yaml.safe_dump(SETTINGS))
    (tmp_path / "flwr").mkdir()
    (tmp_path / "flwr" / "config.toml").write_text(
        f'[superlink.here]\naddress = "127.0.0.1:{link}"\ninsecure = true\n'
    )
    start(
        "flower-superlink", "--insecure", "--port", str(link),
        "--disable-runtime-dependency-installation",
    )  # fmt: skip
    for number in range(NODES):
        start(
            "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{link}",
            "--port", str(free_port()), "--node-config",
            f'partition-id={number} num-partitions={NODES} place="{tmp_path}/{number}"',
        )  # fmt: skip
    until(lambda: reachable(link), tmp_path)
    told = f'nodes={NODES} seconds=600.0 wait={PATIENCE} out="{out}"'
    command = start("flwr", "run", str(project), "here", "--run-config", told)
    assert command.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
    until(out.exists, tmp_path)

    result, config = json.loads(out.read_text()), ShareConfig(**SETTINGS)
    data = load_instances(config.data, config.data_options)
    populations, carriers = populations_of(config, data), carriers_of(config)
    begin_alike(config, populations)
    run(Together(populations), carriers, moments_of(config))
    found: dict[tuple[int, int], Any] = {}
    for path in tmp_path.glob("[0-9]/run-*/states.safetensors"):
        found |= load_states(path)["agents"]
    assert same(
        [found[0, agent] for agent in range(3)], [agent.state() for agent in populations[0]]
    )
    assert result["events"] == {}
    crossed = sum(carriers[0].totals().bytes.values())
    assert sum(sum(edge["bytes"].values()) for edge in result["seeds"][0]["edges"]) == crossed
    assert min(result["relay_bytes"].values()) > crossed / 2  # what goes to several, once


def end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(process.pid, signal.SIGKILL)


def reachable(port: int) -> bool:
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


def until(done: Callable[[], bool], place: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, (place / "log").read_text()
        time.sleep(1)
