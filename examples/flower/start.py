"""All of Flower on one machine: a relay, some nodes, a run; and nothing left when it ends.

    python examples/flower/start.py --nodes 3 --out result.json

Needs the environment of docs/flower.md, which also says what to type where machines are apart.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

PROJECT = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nodes", type=int, default=3, help="that share the agents")
    parser.add_argument("--settings", type=Path, help="other than settings.yaml beside this file")
    parser.add_argument("--out", type=Path, default=Path("result.json"), help="of the relay")
    parser.add_argument("--place", type=Path, help="folder for agents' states and logs, kept")
    parser.add_argument("--seconds", type=float, default=600.0, help="that a node has to answer")
    parser.add_argument("--patience", type=float, default=3600.0, help="seconds for all of it")
    options = parser.parse_args()
    if shutil.which("flower-superlink", path=str(Path(sys.executable).parent)) is None:
        print(f"no Flower beside {sys.executable}: pip install -e '.[flower]'", file=sys.stderr)
        sys.exit(2)
    with ExitStack() as ends:
        place = options.place
        if place is None:
            place = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="flower-")))
        place.mkdir(parents=True, exist_ok=True)
        sys.exit(run(options, place.resolve(), ends))


def run(options: argparse.Namespace, place: Path, ends: ExitStack) -> int:
    """The run's exit status, when its results are there. place: an empty folder."""
    project, link, out = place / "project", free_port(), options.out.resolve()
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__", "*.json"))
    if options.settings is not None:
        shutil.copy(options.settings, project / "settings.yaml")
    (place / "flwr").mkdir()
    (place / "flwr" / "config.toml").write_text(
        f'[superlink.here]\naddress = "127.0.0.1:{link}"\ninsecure = true\n'
    )
    out.unlink(missing_ok=True)
    end, log = time.monotonic() + options.patience, place / "log"

    def started(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        return start(name, arguments, place, ends)

    started(
        "flower-superlink", "--insecure", "--port", str(link),
        "--disable-runtime-dependency-installation",
    )  # fmt: skip
    for number in range(options.nodes):
        started(
            "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{link}",
            "--port", str(free_port()), "--node-config",
            f'partition-id={number} num-partitions={options.nodes} place="{place}/{number}"',
        )  # fmt: skip
    until(lambda: reachable(link), end, log)
    told = f"nodes={options.nodes} seconds={options.seconds} wait={options.patience}"
    command = started("flwr", "run", str(project), "here", "--run-config", f'{told} out="{out}"')
    until(lambda: command.poll() is not None, end, log)
    if command.returncode == 0:
        print(f"started; its log is {log}", flush=True)
        until(out.exists, end, log)
        print(f"results in {out}")
    else:
        print(log.read_text(), file=sys.stderr)
    return command.returncode


def start(
    name: str, arguments: tuple[str, ...], place: Path, ends: ExitStack
) -> subprocess.Popen[bytes]:
    """A program of Flower's, and whatever it starts, until the end."""
    bin_ = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{bin_}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_HOME": str(place / "flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }
    log = ends.enter_context((place / "log").open("ab"))
    process = subprocess.Popen(
        [bin_ / name, *arguments],
        stdout=log, stderr=log, env=environment, cwd=place, start_new_session=True,
    )  # fmt: skip
    ends.callback(process.wait)
    ends.callback(kill, process)
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(process.pid, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def reachable(port: int) -> bool:
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


def until(done: Callable[[], bool], end: float, log: Path) -> None:
    while not done():
        if time.monotonic() > end:
            sys.exit(f"{log.read_text()}\nout of patience; the log is above")
        time.sleep(0.5)


if __name__ == "__main__":
    main()
