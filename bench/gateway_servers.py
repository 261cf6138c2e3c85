"""Processes that the gateway's measurements start: upstream, relay, understudy, LiteLLM."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from understudy.environment import environment

ROOT = Path(__file__).resolve().parents[1]
MODEL = "mock"
PRICES = {"prompt": 1.0, "completion": 10.0}  # dollars per million tokens
LITELLM_VERSION = "1.91.5"
LITELLM_KEY = "sk-measured"

_TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Server:
    """A process that listens, and what it takes."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self, path: str, seconds: float = 300.0) -> None:
        """Until it answers there."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError, urllib.error.HTTPError):
                urllib.request.urlopen(self.url + path, timeout=5).close()
                return
            time.sleep(0.05)
        tail = self.log.read_text(errors="replace")[-2000:]
        raise SystemExit(
            f"{self.name} does not answer at {self.url}{path}; its last words:\n{tail}"
        )

    def cpu_seconds(self) -> float:
        """Of the process and of those that it started."""
        found = 0.0
        for pid in self._family():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                found += sum(map(int, fields[11:15])) / _TICKS
        return found

    def resident_bytes(self) -> int:
        found = 0
        for pid in self._family():
            with contextlib.suppress(OSError):
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                found += pages * os.sysconf("SC_PAGE_SIZE")
        return found

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 30.0) -> None:
        """As a service manager does it: SIGTERM, then patience."""
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def _family(self) -> list[int]:
        found = [self.process.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found.extend(map(int, task.read_text().split()))
        return found


@contextmanager
def started(
    name: str,
    command: Sequence[str],
    port: int,
    folder: Path,
    *,
    ready: str = "/ready",
    core: int | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[Server]:
    server = start(name, command, port, folder, core=core, environment=environment)
    try:
        server.wait(ready)
        yield server
    finally:
        server.stop()


def start(
    name: str,
    command: Sequence[str],
    port: int,
    folder: Path,
    *,
    core: int | None = None,
    environment: dict[str, str] | None = None,
) -> Server:
    """core: the only one that it may run on."""
    log = folder / f"{name}.log"
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | (environment or {}),
            cwd=folder,
        )
    if core is not None:
        os.sched_setaffinity(process.pid, {core})
    return Server(name, process, port, log)


def upstream_command(port: int, tokens: str, *more: str) -> list[str]:
    script = str(ROOT / "bench" / "gateway_upstream.py")
    return [sys.executable, script, "--port", str(port), "--tokens", tokens, *more]


def relay_command(port: int, upstream: str) -> list[str]:
    script = str(ROOT / "bench" / "gateway_relay.py")
    return [
        *(sys.executable, script, "--port", str(port)),
        *("--to", f"{upstream}/v1/chat/completions"),
    ]


def understudy_command(
    port: int,
    upstream: str,
    store: dict[str, Any],
    folder: Path,
    name: str,
    *,
    keys: str = "off",
    spending: dict[str, Any] | None = None,
) -> list[str]:
    """`understudy serve` without a local model, in front of the upstream."""
    cloud = {"base_url": f"{upstream}/v1", "model": MODEL, "prices": PRICES}
    cloud["usage_url"] = f"{upstream}/usage/{{request_id}}"
    settings = {
        "local": {"path": "none"},
        "clouds": {"upstream": cloud},
        "door": {"port": port, "log_requests": False, "keys": keys},
        "spending": spending or {},
        "store": store,
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(settings))
    return [sys.executable, "-m", "understudy", "serve", "--config", str(file)]


def made_key(store: str) -> str:
    """A key of the gateway."""
    command = ["-m", "understudy", "keys", "create", "measured", "--store", store, "--json"]
    found = subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return str(json.loads(found.stdout)["key"])


def litellm_command(python: str, port: int, upstream: str, folder: Path) -> list[str]:
    """LiteLLM's proxy with one worker and without a database: a key, no spending kept."""
    model = {"model": f"openai/{MODEL}", "api_base": f"{upstream}/v1", "api_key": "sk-nobody"}
    settings = {
        "model_list": [{"model_name": "cloud", "litellm_params": model}],
        "general_settings": {"master_key": LITELLM_KEY},
        "litellm_settings": {"telemetry": False},
    }
    file = folder / "litellm.yaml"
    file.write_text(yaml.safe_dump(settings))
    script = str(Path(python).with_name("litellm"))
    return [
        *(script, "--config", str(file), "--host", "127.0.0.1"),
        *("--port", str(port), "--num_workers", "1", "--telemetry", "False"),
    ]


# It fetches a table of prices from elsewhere unless told otherwise.
LITELLM_ENVIRONMENT = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}


def litellm_python(folder: Path, version: str) -> str:
    """An environment of LiteLLM's own, made anew."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    package = f"litellm[proxy]=={version}"
    subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=True)
    return python


def version_of(python: str, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    found = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return found.stdout.strip()


def record_of(command: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What stands above every result."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    return {
        "command": command,
        "commit": commit.stdout.strip(),
        "settings": settings,
        "load_average": os.getloadavg(),
        "environment": environment() | {"platform": f"{platform.system()} {platform.machine()}"},
    }
