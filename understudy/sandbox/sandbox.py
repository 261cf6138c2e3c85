"""Where code that nobody has read is run: started once, asked often, closed at the end."""

from __future__ import annotations

import json
import os
import queue
import select
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, replace
from types import TracebackType
from typing import Any

from understudy.errors import SandboxError
from understudy.sandbox.bubblewrap import ALLOW_UNSAFE, bare_command, confined_command
from understudy.sandbox.inside import wire
from understudy.sandbox.records import Limits, Program, Verdict

STARTING = 120.0  # seconds until a server must be ready
SLACK = 30.0  # seconds beyond a program's limit until the server itself counts as hung
PROGRAMS_PER_SERVER = 1000

UNSAFE = (
    "code of a model's runs WITHOUT a sandbox: it can read, change and send whatever this user "
    "can; only time and memory are limited"
)
TRIAL = Program("def answer():\n    return 42\n", tests=["assert answer() == 42"])

Fields = dict[str, Any]


class Sandbox:
    """Runs programs, `workers` at a time, each worker in a bubblewrap of its own.

    Verdicts come in the order of the programs. Whatever a program does, the others are judged.
    """

    def __init__(
        self, workers: int = 2, limits: Limits | None = None, unsafe: bool = False
    ) -> None:
        """unsafe: run without bubblewrap, with limits on time and memory only."""
        if workers < 1:
            raise SandboxError(f"workers={workers} can run nothing; use at least 1")
        if sys.platform != "linux":
            raise SandboxError(f"code of a model's runs on Linux only, and this is {sys.platform}")
        self.limits = limits or Limits()
        self.workers, self.unsafe = workers, unsafe
        self._work: queue.SimpleQueue[tuple[Program, Future[Verdict]] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Sandbox:
        if self.unsafe:
            warnings.warn(UNSAFE, RuntimeWarning, stacklevel=2)
        as_root = not self.unsafe and self._starts_as_root()
        for number in range(self.workers):
            # bubblewrap dies with the thread that started it, so one thread keeps each server.
            thread = threading.Thread(
                target=self._serve, args=(as_root,), name=f"sandbox-{number}", daemon=True
            )
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def run(self, program: Program) -> Verdict:
        return self.run_all([program])[0]

    def run_all(self, programs: Sequence[Program]) -> list[Verdict]:
        if not self._threads:
            raise SandboxError("the sandbox is not open; use it in a `with` statement")
        futures: list[Future[Verdict]] = [Future() for _ in programs]
        for program, future in zip(programs, futures, strict=True):
            self._work.put((program, future))
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()  # what nobody waits for any more need not start

    def _starts_as_root(self) -> bool:
        """Whether root's way works, or else the ordinary user's. One line if neither does."""
        said = ""
        for as_root in (True, False) if os.geteuid() == 0 else (False,):
            server = Server(self.limits, self.unsafe, as_root)
            try:
                verdict = server.judge(TRIAL)
            except ServerError as error:
                said = str(error)
            else:
                if verdict.passed:
                    return as_root
                said = f"{verdict.outcome}: {verdict.detail}"
            finally:
                server.close()
        raise SandboxError(
            f"bubblewrap cannot confine a program here ({said}); allow user namespaces for this "
            f"user, or {ALLOW_UNSAFE}"
        )

    def _serve(self, as_root: bool) -> None:
        server = Server(self.limits, self.unsafe, as_root)
        while (work := self._work.get()) is not None:
            program, future = work
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(server.judge_twice(program))
                except BaseException as error:
                    future.set_exception(error)
        server.close()


class ServerError(Exception):
    """The server did not start, died, hung, or could not judge: nothing the program should pay."""


class Server:
    """One bubblewrap with the server in it, started when first needed and again after a failure."""

    def __init__(self, limits: Limits, unsafe: bool, as_root: bool) -> None:
        self.limits, self.unsafe, self.as_root = limits, unsafe, as_root
        self.process: subprocess.Popen[bytes] | None = None
        self.judged = 0

    def judge_twice(self, program: Program) -> Verdict:
        """A second time, by a new server, if the first failed; then it is the sandbox's failure."""
        said = ""
        for _ in range(2):
            try:
                return self.judge(program)
            except ServerError as error:
                self.close()
                said = str(error)
        return Verdict(None, "sandbox", said)

    def judge(self, program: Program) -> Verdict:
        if program.tests:
            job = {name: getattr(program, name) for name in ("source", "setup")}
            result = self._ask({**job, "tests": [*program.tests], "entry": [*program.entry]})
            return _verdict(result)
        verdicts: list[Verdict] = []
        for case in program.cases:
            verdict = _verdict(self._ask({"source": program.source, "stdin": case.stdin}))
            if verdict.passed and verdict.stdout.split() != case.stdout.split():
                expected, got = _shortened(case.stdout), _shortened(verdict.stdout)
                detail = f"expected {expected!r}, printed {got!r}"
                verdict = replace(verdict, passed=False, outcome="failed", detail=detail)
            verdicts.append(verdict)
            if verdict.outcome in ("timeout", "memory", "output"):
                break  # the cases that are left would cost as much
        return _merged(verdicts, len(program.cases))

    def _ask(self, job: Fields) -> Fields:
        if self.process is None or self.judged >= PROGRAMS_PER_SERVER:
            self.close()
            self._start()
        self.judged += 1
        self._send(job)
        result: Fields = self._receive(self.limits.wall + SLACK)
        if result["outcome"] == "sandbox" and result.get("again", True):
            raise ServerError(result["detail"])
        return result

    def _start(self) -> None:
        settings = json.dumps(
            {"confined": not self.unsafe, "root": self.as_root, **asdict(self.limits)}
        )
        command = (
            bare_command(settings) if self.unsafe else confined_command(settings, self.as_root)
        )
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `close`)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            bufsize=0,
            env={"PYTHONHASHSEED": "0"},
            cwd="/",
        )
        self.judged = 0
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            os.set_blocking(pipe.fileno(), False)
        self._receive(STARTING)

    def _send(self, message: Fields) -> None:
        assert self.process
        assert self.process.stdin
        file, data = self.process.stdin.fileno(), memoryview(wire.frame(message))
        deadline = time.monotonic() + SLACK
        while data:
            self._wait(file, select.POLLOUT, deadline)
            try:
                data = data[os.write(file, data) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise ServerError(self._said()) from error

    def _receive(self, seconds: float) -> Any:
        assert self.process
        assert self.process.stdout
        file, deadline = self.process.stdout.fileno(), time.monotonic() + seconds
        buffer = bytearray()
        while (message := wire.unframe(buffer)) is None:
            self._wait(file, select.POLLIN, deadline)
            part = os.read(file, 1 << 20)
            if not part:
                raise ServerError(self._said())
            buffer += part
        return message

    def _wait(self, file: int, event: int, deadline: float) -> None:
        ready = select.poll()
        ready.register(file, event)
        if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise ServerError("the server hung")

    def _said(self) -> str:
        """The last line that bubblewrap or the server wrote before it died."""
        assert self.process
        self.process.kill()
        status = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"the server died with status {status}"

    def close(self) -> None:
        """End bubblewrap, and with it all that is inside."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            assert pipe
            pipe.close()
        self.process = None


def _verdict(result: Fields) -> Verdict:
    if result["outcome"] == "sandbox":
        return Verdict(None, "sandbox", result["detail"])
    passed = result["outcome"] == "passed"
    share = result.get("share", float(passed))
    return Verdict(
        passed, result["outcome"], result["detail"], share, result["seconds"], result["stdout"]
    )


def _merged(verdicts: Sequence[Verdict], count: int) -> Verdict:
    """One verdict on all cases: the first that did not pass, and the share of those that did."""
    first = next((verdict for verdict in verdicts if not verdict.passed), verdicts[-1])
    number = f"case {verdicts.index(first) + 1}: " if first.detail else ""
    return replace(
        first,
        detail=number + first.detail,
        share=sum(verdict.passed is True for verdict in verdicts) / count,
        seconds=sum(verdict.seconds for verdict in verdicts),
    )


def _shortened(text: str, longest: int = 80) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 3] + "..."
