"""All of Flower on one machine: a relay, some nodes, a run; and nothing left when it ends.

    python examples/flower/start.py --nodes 3 --out result.json
    python examples/flower/start.py --nodes 3 --out result.json --secure

--secure: with TLS, and nodes that the relay knows by their keys, as between machines. Needs the
environment of docs/flower.md, which also says what to type where machines are apart.
"""

from __future__ import annotations

import argparse
import json
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

HOST = "127.0.0.1"
PROJECT = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nodes", type=int, default=3, help="that share the agents")
    parser.add_argument(
        "--settings", type=Path, default=PROJECT / "settings.yaml", help="of the agents"
    )
    parser.add_argument("--out", type=Path, default=Path("result.json"), help="of the relay")
    parser.add_argument("--place", type=Path, help="new folder for agents' states and logs, kept")
    parser.add_argument("--seconds", type=float, default=600.0, help="that a node has to answer")
    parser.add_argument("--secure", action="store_true", help="with TLS and keys of the nodes")
    parser.add_argument("--strangers", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--patience", type=float, default=3600.0, help="seconds for all of it")
    options = parser.parse_args()
    if not (BIN / "flower-superlink").exists():
        parser.error(f"no Flower beside {sys.executable}; pip install -e '.[flower]'")
    if options.nodes < 1:
        parser.error(f"--nodes {options.nodes}: give at least 1")
    if not options.settings.is_file():
        parser.error(f"--settings {options.settings}: no such file")
    if options.out.is_dir() or not options.out.resolve().parent.is_dir():
        parser.error(f"--out {options.out}: give a file in a folder that exists")
    if options.place is not None and options.place.exists():
        parser.error(f"--place {options.place}: is there already; give a new folder")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all it started ends too
    with ExitStack() as ends:
        place = options.place
        if place is None:
            place = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="flower-")))
        place.mkdir(parents=True, exist_ok=True)
        try:
            sys.exit(run(options, place.resolve(), ends))
        except KeyboardInterrupt:
            sys.exit(130)


def run(options: argparse.Namespace, place: Path, ends: ExitStack) -> int:
    """The exit status, when the run is over."""
    project, result, link = place / "project", place / "result.json", free_port()
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__", "*.json"))
    shutil.copy(options.settings, project / "settings.yaml")
    (place / "flwr").mkdir()
    keys = place / "credentials"
    known = "insecure = true"
    if options.secure:
        import credentials  # beside this file

        credentials.make(keys, HOST, options.nodes)
        known = f'root-certificates = "{keys / "ca.crt"}"'
    (place / "flwr" / "config.toml").write_text(
        f'[superlink.here]\naddress = "{HOST}:{link}"\n{known}\n'
    )
    end = time.monotonic() + options.patience
    servers: list[subprocess.Popen[bytes]] = []

    def until(done: Callable[[], bool]) -> None:
        while not done():
            ended = [server.args[0] for server in servers if server.poll() is not None]
            if ended or time.monotonic() > end:
                why = f"{ended[0].name} ended" if ended else f"{options.patience:.0f} s went by"
                sys.exit(f"{(place / 'log').read_text()}\n{why}; the log is above")
            time.sleep(0.2)

    servers.append(start("flower-superlink", superlink(options, keys, link), place, ends))
    until(lambda: reachable(link))
    for number in range(options.nodes):
        if options.secure and not options.strangers:
            words = ("supernode", "register", str(keys / f"node-{number}.pub"), "here")
            registered = start("flwr", words, place, ends)
            until(lambda registered=registered: registered.poll() is not None)
        words = supernode(options, keys, link, number, place)
        servers.append(start("flower-supernode", words, place, ends))
    told = f"nodes={options.nodes} seconds={options.seconds} wait={options.patience}"
    words = ("run", str(project), "here", "--stream", "--run-config", f'{told} out="{result}"')
    command = start("flwr", words, place, ends)
    until(lambda: command.poll() is not None)
    found = json.loads(result.read_text()) if result.exists() else {"seeds": []}
    learnt = [each for seed in found["seeds"] for each in seed.get("agents") or seed["clients"]]
    if not any(each["accuracy"] for each in learnt):
        print((place / "log").read_text(), found.get("events", ""), sep="\n", file=sys.stderr)
        print("the run failed; its log and events are above", file=sys.stderr)
        return 1
    shutil.copy(result, part := options.out.with_name(options.out.name + ".part"))
    part.replace(options.out)
    print(f"results in {options.out}")
    return 0


def superlink(options: argparse.Namespace, keys: Path, link: int) -> tuple[str, ...]:
    """What the relay is started with."""
    words = ("--port", str(link), "--disable-runtime-dependency-installation")
    if not options.secure:
        return ("--insecure", *words)
    return (
        *("--ssl-ca-certfile", str(keys / "ca.crt")),
        *("--ssl-certfile", str(keys / "server.pem")),
        *("--ssl-keyfile", str(keys / "server.key")),
        "--enable-supernode-auth",
        *words,
    )


def supernode(
    options: argparse.Namespace, keys: Path, link: int, number: int, place: Path
) -> tuple[str, ...]:
    """What a node is started with."""
    node = f'partition-id={number} num-partitions={options.nodes} place="{place}/{number}"'
    safety: tuple[str, ...] = ("--insecure",)
    if options.secure:
        safety = (
            *("--root-certificates", str(keys / "ca.crt")),
            *("--auth-supernode-private-key", str(keys / f"node-{number}")),
        )
    where = ("--superlink", f"{HOST}:{link}", "--port", str(free_port()))
    return (*safety, *where, "--node-config", node)


def start(
    name: str, arguments: tuple[str, ...], place: Path, ends: ExitStack
) -> subprocess.Popen[bytes]:
    """A program of Flower's, and whatever it starts, until the end."""
    environment = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_HOME": str(place / "flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }
    log = ends.enter_context((place / "log").open("ab"))
    process = subprocess.Popen(
        [BIN / name, *arguments], stdout=log, stderr=log, env=environment, start_new_session=True
    )
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


if __name__ == "__main__":
    main()
