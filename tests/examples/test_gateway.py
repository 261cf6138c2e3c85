"""The gateway's examples, as a newcomer runs them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.gateway_servers import free_port, started

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "gateway"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`understudy serve` as README.md has it, on a port of its own."""
    folder, port = tmp_path_factory.mktemp("serve"), free_port()
    command = [sys.executable, "-m", "understudy", "serve", "--port", str(port)]
    place = {"XDG_DATA_HOME": str(folder), "OMP_NUM_THREADS": "1"}
    with started("serve", command, port, folder, environment=place) as server:
        yield server.url
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0


def run(url: str, *command: str) -> str:
    environment = os.environ | {"OPENAI_BASE_URL": f"{url}/v1"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_the_example_says_who_answered(url: str) -> None:
    printed = run(url, sys.executable, str(EXAMPLES / "ask.py"))
    assert "local, since the local model's request for help" in printed
    assert "streamed by the local model" in printed
    assert "feedback_id" in printed
    hard = "max has 41 cards, sells 13, finds 46, eats 4. how many?"
    printed = run(url, sys.executable, str(EXAMPLES / "ask.py"), hard)
    assert "cloud, since the local model's request" in printed


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_line_of_curl_is_answered(url: str) -> None:
    printed = run(url, "sh", str(EXAMPLES / "ask.sh"), url)
    assert "x-understudy-answered-by: local" in printed
    assert "data: [DONE]" in printed
    assert '"usage":{' in printed
    assert '"id":"auto"' in printed
    assert '"error"' not in printed
