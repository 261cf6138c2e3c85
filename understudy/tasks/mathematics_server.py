"""The process in which math-verify runs: it decides pairs of expressions, batch by batch.

Run as a script by `mathematics.py`; a line of JSON in, a line of JSON out. This process imports
math-verify once and then leaves it to forked children, one pair each at a time. A child that takes
too long, or too much memory, dies and is forked anew within milliseconds, so nothing that a model
writes can stall this process. What is bounded is a child's processor time: a verdict does not
depend on how busy the machine is. math-verify's own timeouts are switched off: they are handlers
in Python, which one long call into C keeps waiting.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import logging
import os
import resource
import select
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any

Verdict = bool | str  # or why there is none

_CHECKS_PER_CHILD = 2_000  # sympy's caches grow
_BYTES = 2 * 2**30
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_PATIENCE = 20  # seconds on the clock for one of processor time, on the busiest machine


@dataclass
class Child:
    pid: int
    pairs: int  # where it reads them
    verdicts: int  # where it writes them
    checks: int = 0
    task: int = -1
    deadline: float = 0.0


def decide(gold: str, answer: str) -> Verdict:
    import math_verify

    parse, verify = math_verify.parse, math_verify.verify
    right = parse(f"\\boxed{{{gold}}}", parsing_timeout=None)
    if not right:
        return "the solution is no mathematics"
    given = parse(f"\\boxed{{{answer}}}", parsing_timeout=None)
    return bool(verify(right, given, timeout_seconds=None))


def serve_pairs(pairs: int, verdicts: int, seconds: float) -> None:
    """A child's whole life: pairs come as lines, a verdict goes back for each."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    with contextlib.suppress(ValueError):  # some systems bound no address space
        resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(pairs, "rb") as lines:
        for line in lines:
            gold, answer = json.loads(line)
            signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF, unhandled, ends the child
            verdict: Verdict
            try:
                verdict = decide(gold, answer)
            except MemoryError:
                verdict = "out of memory"
            except Exception:
                verdict = False  # what math-verify cannot read is no right answer
            signal.setitimer(signal.ITIMER_PROF, 0)
            os.write(verdicts, json.dumps(verdict).encode() + b"\n")


def fork(children: list[Child], seconds: float) -> Child:
    pairs_out, pairs_in = os.pipe()
    verdicts_out, verdicts_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            for fd in (0, 1, pairs_in, verdicts_out):
                os.close(fd)
            for child in children:  # or a sibling would never see its end
                os.close(child.pairs)
                os.close(child.verdicts)
            serve_pairs(pairs_out, verdicts_in, seconds)
            status = 0
        finally:
            os._exit(status)
    os.close(pairs_out)
    os.close(verdicts_in)
    return Child(pid, pairs_in, verdicts_out)


def end(child: Child) -> int:
    """What it died of, if it did so by itself before."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGKILL)
    _, status = os.waitpid(child.pid, 0)
    os.close(child.pairs)
    os.close(child.verdicts)
    return os.waitstatus_to_exitcode(status)


class Children:
    """Forked deciders, all of them busy as long as there are pairs."""

    def __init__(self, count: int, seconds: float) -> None:
        self.count, self.seconds = count, seconds
        self.idle: list[Child] = []
        self.busy: list[Child] = []

    def decide_all(self, tasks: list[list[str]]) -> list[Verdict]:
        verdicts: list[Verdict] = [""] * len(tasks)
        waiting = list(range(len(tasks)))[::-1]
        while waiting or self.busy:
            while waiting and len(self.busy) < self.count:
                self._give(waiting.pop(), tasks)
            soonest = min(child.deadline for child in self.busy)
            ready, _, _ = select.select(
                [child.verdicts for child in self.busy], [], [], max(0, soonest - time.monotonic())
            )
            for child in list(self.busy):
                if child.verdicts in ready:
                    self._take(child, verdicts)
                elif child.deadline <= time.monotonic():
                    self._bury(child, verdicts)
        return verdicts

    def _give(self, task: int, tasks: list[list[str]]) -> None:
        child = self.idle.pop() if self.idle else fork(self.busy, self.seconds)
        child.task, child.deadline = task, time.monotonic() + _PATIENCE * self.seconds
        child.checks += 1
        self.busy.append(child)
        with contextlib.suppress(BrokenPipeError):  # seen as an end of its verdicts
            os.write(child.pairs, json.dumps(tasks[task]).encode() + b"\n")

    def _take(self, child: Child, verdicts: list[Verdict]) -> None:
        line = os.read(child.verdicts, 4096)
        if not line:
            self._bury(child, verdicts)
            return
        verdicts[child.task] = json.loads(line)
        self.busy.remove(child)
        if child.checks < _CHECKS_PER_CHILD:
            self.idle.append(child)
        else:
            end(child)

    def _bury(self, child: Child, verdicts: list[Verdict]) -> None:
        self.busy.remove(child)
        late = end(child) in (-signal.SIGPROF, -signal.SIGKILL)
        reason = f"no verdict within {self.seconds:g} s" if late else "the checking process died"
        verdicts[child.task] = reason


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started us
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no verdict
    logging.disable(logging.CRITICAL)  # math-verify warns that its timeouts are off
    decide("x+1", "1+x")  # loads what only a first use loads
    gc.freeze()  # the children share what is imported, uncopied
    children = Children(int(sys.argv[1]), float(sys.argv[2]))
    print(json.dumps("ready"), file=out, flush=True)
    for line in sys.stdin:
        tasks: list[Any] = json.loads(line)
        print(json.dumps(children.decide_all(tasks)), file=out, flush=True)


if __name__ == "__main__":
    main()
