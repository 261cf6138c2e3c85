"""Commands in processes of their own, alone or as a team, and killed on their way.

Every process is forked from one that has imported everything: that takes longer than a small run.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from understudy import cli

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["understudy.offload.start", "torch._dynamo", "accelerate"])


def run_command(arguments: list[str], said: Path, environment: Mapping[str, str]) -> None:
    """Be `understudy ARGUMENTS`; errors go to a file."""
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ |= environment
    sys.argv = ["understudy", *arguments]
    cli.main()


def started(
    arguments: list[str], said: Path, environment: Mapping[str, str] | None = None
) -> ForkServerProcess:
    process = FORKS.Process(target=run_command, args=(arguments, said, environment or {}))
    process.start()
    return process


def started_team(arguments: list[str], size: int, said: Path) -> list[ForkServerProcess]:
    """As `torchrun` starts them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    ranks = ({"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size))
    return [
        started(arguments, said.with_name(f"{said.name}.{rank['RANK']}"), meeting | rank)
        for rank in ranks
    ]


def finished(processes: list[ForkServerProcess], said: Path) -> None:
    """Wait until all have ended well; once one has failed, the others wait for it in vain."""
    ended_together(processes)
    words = "".join(file.read_text() for file in said.parent.glob(f"{said.name}*"))
    assert [process.exitcode for process in processes] == [0] * len(processes), words


def killed(
    processes: list[ForkServerProcess], out: Path, after: float, sign: int
) -> list[int | None]:
    """Send all of them a signal so many seconds after the run next wrote; their exit codes."""
    file = out / "metrics.jsonl"
    written = file.stat().st_mtime_ns if file.exists() else 0
    while all(process.is_alive() for process in processes):
        if file.exists() and file.stat().st_mtime_ns > written:
            time.sleep(after)
            for process in processes:
                assert process.pid is not None
                os.kill(process.pid, sign)
            break
        time.sleep(0.002)
    ended_together(processes)
    return [process.exitcode for process in processes]


def ended_together(processes: list[ForkServerProcess]) -> None:
    """Wait for all of them; where one has failed, end the others after a while."""
    while any(process.is_alive() for process in processes):
        if any(process.exitcode for process in processes):
            for process in processes:
                process.join(timeout=60)
                process.kill()
        time.sleep(0.02)
