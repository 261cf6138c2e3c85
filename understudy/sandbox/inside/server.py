"""The first process inside: it forks what runs a program and what judges it, and clears up.

It reads no job and no program's output, so no program has a way to it, and it is as new for the
thousandth program as it was for the first.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from understudy.sandbox.inside import confine, subject, wire
from understudy.sandbox.inside.connection import Files
from understudy.sandbox.inside.judge import Judge

# Imported once, here, not by every program anew.
COMMON = """
abc array ast atexit bisect calendar cmath collections copy csv dataclasses datetime
decimal enum fractions functools hashlib heapq inspect io itertools json math numbers operator
pathlib queue random re statistics string struct textwrap threading time traceback types typing
unicodedata
""".split()  # noqa: SIM905 (a list of forty lines)

NOBODY = 65534
GRACE = 2.0  # seconds beyond the limit in which the judge itself may say that time is up
TICK = 0.05  # seconds between two looks at what a program uses
STDIN, STDOUT, STDERR, CONTROL, STATUS = range(5)


def main() -> None:
    settings = json.loads(sys.argv[1])
    del sys.argv[1:], sys.path[0]
    while (file := os.open(os.devnull, os.O_RDWR)) < 10:  # so no pipe gets one of the low numbers
        pass
    os.close(file)
    server = Server(**settings)
    server.prepare()
    wire.send(STDOUT, "ready")
    jobs = select.poll()
    jobs.register(STDIN, select.POLLIN)
    while jobs.poll()[0][1] & select.POLLIN:
        wire.send(STDOUT, server.judged())


class Server:
    def __init__(
        self,
        confined: bool,
        root: bool,
        seconds: float,
        wall: float,
        memory: int,
        output: int,
        processes: int,
        files: int,
        disk: int,
    ) -> None:
        self.confined, self.root = confined, root
        self.seconds, self.wall = seconds, wall
        self.memory, self.output = memory, output
        self.processes, self.files, self.disk = processes, files, disk

    def prepare(self) -> None:
        if self.root:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        confine.die_with_parent()
        confine.hide_memory()
        confine.adopt_orphans()
        if self.confined:
            check_confined()
        for name in COMMON:
            importlib.import_module(name)
        gc.collect()
        gc.freeze()

    def judged(self) -> dict[str, Any]:
        """Start what runs the program and what judges it, wait, leave nothing of either."""
        control, its_control = (end.detach() for end in socket.socketpair())
        its_stdin, stdin = os.pipe()
        stdout, its_stdout = os.pipe()
        stderr, its_stderr = os.pipe()
        status, its_status = os.pipe()
        its = [its_stdin, its_stdout, its_stderr, its_control, its_status]
        ours = Files(control, stdin, stdout, stderr, status)
        keeper = os.fork()
        if not keeper:
            forever(self.keep, its)
        for file in its:
            os.close(file)
        verdict, its_verdict = os.pipe()
        judge = os.fork()
        if not judge:
            os.close(verdict)
            forever(self.judge, ours, its_verdict)
        for file in [*ours, its_verdict]:
            os.close(file)
        try:
            return self.await_verdict(verdict, {os.getpid(), keeper, judge})
        finally:
            os.close(verdict)
            self.clear_up()

    def await_verdict(self, verdict: int, trusted: set[int]) -> dict[str, Any]:
        """What the judge says, or what the program's processes used too much of."""
        started = time.monotonic()
        ready = select.poll()
        ready.register(verdict, select.POLLIN)
        excess: dict[str, Any] = {}
        while not ready.poll(TICK * 1000):
            seconds = time.monotonic() - started
            if seconds > self.wall + GRACE:
                return ended("timeout", "out of time, in a test", seconds)
            if self.confined and not excess:
                others = others_than(trusted)
                excess = self.excess(others)
                for pid in others if excess else ():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)  # the judge sees that, and ends
        try:
            result: dict[str, Any] = wire.receive(verdict)
        except wire.ClosedError:
            return ended("sandbox", "the judge died", time.monotonic() - started)
        return result | excess

    def excess(self, pids: list[int]) -> dict[str, Any]:
        seconds, memory = used_by(pids)
        if seconds > self.seconds:
            return {"outcome": "timeout", "detail": f"more than {self.seconds:g} s of computing"}
        if memory > self.memory:
            return {"outcome": "memory", "detail": f"more than {self.memory} bytes of memory"}
        return {}

    def clear_up(self) -> None:
        if self.confined:
            assert os.getpid() == 1  # else this would end far more than was started here
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
        else:
            while kill_children():
                pass
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()

    def keep(self, files: list[int]) -> None:
        """Start the program's process, in namespaces of its own, and say how it ended.

        That process is the first of its process namespace: with it, all that it started dies.
        """
        try:
            for place, file in enumerate(files):
                os.dup2(file, place)
            os.closerange(len(files), 1024)
            os.setsid()
            confine.die_with_parent()
            confine.limit_program(self.seconds, self.memory, self.files, self.disk)
            if self.confined:
                confine.enter_namespaces(self.disk)
                confine.limit("NPROC", self.processes + 1)  # and this one
                confine.drop_powers()
            child = os.fork()
            if not child:
                confine.die_with_parent()
                os.setsid()  # or a signal to its group would reach this process
                if self.confined:
                    os.chdir("/tmp")
                    confine.refuse_system_calls()
        except BaseException as error:
            os.write(STATUS, f"sandbox: {error}\n".encode())
            return
        if not child:
            os.close(STATUS)
            subject.run(CONTROL)
        os.closerange(STDIN, STATUS)
        ending = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(ending):
            os.write(STATUS, f"signal {os.WTERMSIG(ending)}\n".encode())
        else:
            os.write(STATUS, f"status {os.WEXITSTATUS(ending)}\n".encode())

    def judge(self, files: Files, verdict: int) -> None:
        confine.die_with_parent()
        job = wire.receive(STDIN)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for file in (STDIN, STDOUT, STDERR):
            os.dup2(nowhere, file)
        confine.limit_memory(self.memory)
        judge = Judge(files, self.wall, self.output)
        wire.send(verdict, judge.tests(**job) if "tests" in job else judge.case(**job))


def forever(function: Any, *args: Any) -> None:
    """Be a process that does this and nothing else."""
    try:
        function(*args)
    finally:
        os._exit(1)


def ended(outcome: str, detail: str, seconds: float) -> dict[str, Any]:
    return {"outcome": outcome, "detail": detail, "seconds": seconds, "stdout": ""}


def others_than(trusted: set[int]) -> list[int]:
    """The program's processes."""
    return [
        pid for name in os.listdir("/proc") if name.isdigit() and (pid := int(name)) not in trusted
    ]


def used_by(pids: list[int]) -> tuple[float, int]:
    """Processor seconds, ended children's included, and bytes in memory or swap but of no file."""
    ticks, kibibytes = 0, 0
    for pid in pids:
        with contextlib.suppress(OSError):  # it has just ended
            with open(f"/proc/{pid}/stat", "rb") as file:
                ticks += sum(map(int, file.read().rpartition(b")")[2].split()[11:15]))
            with open(f"/proc/{pid}/status", "rb") as file:
                for line in file:
                    if line.startswith((b"RssAnon:", b"RssShmem:", b"VmSwap:")):
                        kibibytes += int(line.split()[1])
    return ticks / os.sysconf("SC_CLK_TCK"), kibibytes << 10


def kill_children() -> int:
    """Without namespaces: end the children of this process, orphans of theirs included."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        children = [int(pid) for pid in file.read().split()]
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.waitpid(pid, 0)
    return len(children)


def check_confined() -> None:
    """Believe bubblewrap, and look."""
    with open("/proc/self/status", encoding="ascii") as file:
        status = dict(line.split(":", 1) for line in file)
    with open("/proc/net/dev", encoding="ascii") as file:
        devices = [line.split(":")[0].strip() for line in file if ":" in line]
    seen = {
        "it is the first process": os.getpid() == 1,
        "no capabilities": not int(status["CapEff"], 16) | int(status["CapPrm"], 16),
        "no new privileges": int(status["NoNewPrivs"]) == 1,
        "no network": devices in ([], ["lo"]),
        "a read-only root": bool(os.statvfs("/").f_flag & os.ST_RDONLY),
        "no home": not os.path.exists("/home") and not os.path.exists("/root"),
    }
    if missing := [what for what, there in seen.items() if not there]:
        sys.exit(f"not confined: {', '.join(missing)} is not so")


if __name__ == "__main__":
    main()
