"""The agents of a run in several processes of this machine, each with some of them.

    parent                                     worker
    writes what is asked into shared memory
    tells it over a pipe               ->      reads it, takes its agents' steps together
                                       <-      writes what came of it into shared memory
    reads it                                   (asks for more room where it does not fit)

All shared memory is made and taken away by the parent. A worker ends when its pipe is closed: also
when the parent is gone.
"""

from __future__ import annotations

import pickle
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from shutil import disk_usage
from types import ModuleType
from typing import Any

import torch

from understudy.errors import RunError, UnderstudyError
from understudy.link.carrier import Inbox, Message
from understudy.share.agent import Agent, Point
from understudy.share.crew import Inboxes, Moment, Report, report_of
from understudy.share.engine import grant
from understudy.share.packing import packed, unpacked
from understudy.share.wishes import Tick

_SPARE = 1.5  # room that is made, as a multiple of what is needed
_SHARED = Path("/dev/shm")  # where a system has it
_PATIENCE = 5.0  # seconds that a worker has to end by itself

Pair = tuple[int, int]  # population, agent
Asked = list[tuple[Tick, Inbox] | None]  # for each of a worker's agents; None: it takes no step
Taken = tuple[list[list[Message]], list[list[Point]]]  # what each sent, and its new examinations


class Workers:
    """A crew of so many processes, fewer where there are fewer agents. Its numbers are those of
    all agents together in one process."""

    def __init__(self, populations: Sequence[Sequence[Agent]], count: int) -> None:
        sizes = [len(agents) for agents in populations]
        pairs = [(number, agent) for number, size in enumerate(sizes) for agent in range(size)]
        count = min(count, len(pairs))
        self._parts = [pairs[number::count] for number in range(count)]
        self._curves = [[list(agent.curve) for agent in agents] for agents in populations]
        self._workers: list[_Worker] = []
        try:
            for number in range(count):
                self._workers.append(_Worker(f"worker {number + 1} of {count}"))
        except BaseException:
            self.close()
            raise
        agents = [[populations[p][a] for p, a in part] for part in self._parts]
        self._ask("begin", [pickle.dumps(each) for each in agents], type(None))

    def step(self, moment: Moment, inboxes: Inboxes) -> list[list[Message]]:
        asked: list[bytes] = []
        for part in self._parts:
            row: Asked = []
            for population, agent in part:
                tick = moment[population][agent]
                row.append(None if tick is None else (tick, inboxes[population][agent]))
            asked.append(packed(row))
        outboxes: dict[Pair, list[Message]] = {}
        for part, answer in zip(self._parts, self._ask("step", asked, Taken), strict=True):
            for pair, outbox, points in zip(part, *answer, strict=True):
                outboxes[pair] = outbox
                self._curves[pair[0]][pair[1]] += points
        sent: list[list[Message]] = [[] for _ in self._curves]
        for (population, _), outbox in sorted(outboxes.items(), key=lambda item: item[0]):
            sent[population] += outbox
        return sent

    def curves(self) -> list[list[list[Point]]]:
        return self._curves

    def reports(self) -> list[list[Report]]:
        return self._placed(self._ask("report", self._nothing(), list[Report]))

    def states(self) -> list[list[dict[str, Any]]]:
        return self._placed(self._ask("state", self._nothing(), list[dict[str, Any]]))

    def restore(self, states: Sequence[Sequence[dict[str, Any]]]) -> None:
        parts = [packed([states[p][a] for p, a in part]) for part in self._parts]
        self._ask("restore", parts, type(None))
        self._curves = [[list(state["curve"]) for state in row] for row in states]

    def close(self) -> None:
        """End all workers. What of the shared memory is left is taken away."""
        for worker in self._workers:
            worker.hang_up()
        while self._workers:
            self._workers.pop().end()

    def _nothing(self) -> list[bytes]:
        return [packed(None)] * len(self._parts)

    def _ask(self, what: str, contents: Sequence[bytes], kind: Any) -> list[Any]:
        """Ask all workers at once; what each answers."""
        if not self._workers:
            raise RunError("the workers of this run have ended; begin it anew, or resume it")
        try:
            for worker, content in zip(self._workers, contents, strict=True):
                worker.ask(what, content)
            return [unpacked(worker.answer(), kind, trusted=True) for worker in self._workers]
        except BaseException:
            self.close()
            raise

    def _placed(self, parts: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """By population and agent what came by worker."""
        rows: list[list[Any]] = [[None] * len(row) for row in self._curves]
        for part, values in zip(self._parts, parts, strict=True):
            for (population, agent), value in zip(part, values, strict=True):
                rows[population][agent] = value
        return rows


class _Worker:
    """One process, as the parent sees it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._going, self._coming = _Room(), _Room()
        context = get_context("spawn")
        self._pipe, other = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(other,), daemon=True)
        with _unseen_script():
            self.process.start()
        other.close()  # so that the pipe ends with the process

    def ask(self, what: str, blob: bytes) -> None:
        self._going.hold(len(blob))
        self._going.write(blob)
        with self._watched():
            self._pipe.send((what, self._going.name, len(blob), self._coming.name))

    def answer(self) -> bytes:
        with self._watched():
            said, told = self._pipe.recv()
            if said == "more room":
                self._coming.hold(told)
                self._pipe.send(self._coming.name)
                said, told = self._pipe.recv()
        if said == "failed":
            raise told
        return self._coming.read(told)

    def hang_up(self) -> None:
        self._pipe.close()

    def end(self) -> None:
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self._going.free()
        self._coming.free()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            self.process.join(_PATIENCE)
            code = self.process.exitcode
            how = f"by signal {-code}" if code and code < 0 else f"with exit code {code}"
            raise RunError(
                f"{self.name} (process {self.process.pid}) ended {how} in the middle of the run; "
                "resume the run, with fewer workers if memory was short"
            ) from error


@contextmanager
def _unseen_script() -> Iterator[None]:
    """A new process would run the script that began this one, were it to know of it: an agent needs
    nothing from there, and a script without a guard would begin the whole run again."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


class _Room:
    """Shared memory that grows as it has to. The parent makes it and takes it away."""

    def __init__(self) -> None:
        self._memory: SharedMemory | None = None

    @property
    def name(self) -> str:
        return self._memory.name if self._memory is not None else ""

    def hold(self, size: int) -> None:
        if self._memory is not None and self._memory.size >= size:
            return
        self.free()
        wanted = int(size * _SPARE) + 1
        if _SHARED.exists() and (free := disk_usage(_SHARED).free) < wanted:
            # Written to all the same, it would end this process without a word.
            raise RunError(
                f"{wanted} bytes of shared memory are needed, but {_SHARED} has {free}; "
                "make it larger, or set workers=1"
            )
        self._memory = SharedMemory(create=True, size=wanted)

    def write(self, blob: bytes) -> None:
        assert self._memory is not None
        _bytes_of(self._memory)[: len(blob)] = blob

    def read(self, size: int) -> bytes:
        assert self._memory is not None
        return bytes(_bytes_of(self._memory)[:size])

    def free(self) -> None:
        if self._memory is not None:
            self._memory.close()
            self._memory.unlink()
            self._memory = None


def _bytes_of(memory: SharedMemory) -> memoryview:
    assert memory.buf is not None  # it is not closed
    return memory.buf


# In the worker


def _work(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and hangs up
    torch.set_num_threads(1)
    host = _Host()
    with suppress(EOFError, OSError):  # the parent has hung up
        while True:
            what, name, size, room = pipe.recv()
            try:
                answer = host.answer(what, _read(name, size))
            except UnderstudyError as error:
                pipe.send(("failed", error))
            except Exception:
                pipe.send(("failed", RunError(f"a worker failed: {traceback.format_exc()}")))
            else:
                _tell(pipe, answer, room)


def _tell(pipe: Connection, answer: bytes, room: str) -> None:
    while not _write(room, answer):
        pipe.send(("more room", len(answer)))
        room = pipe.recv()
    pipe.send(("done", len(answer)))


def _read(name: str, size: int) -> bytes:
    memory = SharedMemory(name)
    try:
        return bytes(_bytes_of(memory)[:size])
    finally:
        memory.close()


def _write(name: str, blob: bytes) -> bool:
    """Whether it fitted."""
    if not name:
        return False
    memory = SharedMemory(name)
    try:
        if memory.size < len(blob):
            return False
        _bytes_of(memory)[: len(blob)] = blob
        return True
    finally:
        memory.close()


class _Host:
    """A worker's agents."""

    def __init__(self) -> None:
        self.agents: list[Agent] = []

    def answer(self, what: str, blob: bytes) -> bytes:
        if what == "begin":
            self.agents = pickle.loads(blob)  # of the parent, which started this process
            return packed(None)
        content = unpacked(blob, trusted=True)
        if what == "step":
            return packed(self._step(content))
        if what == "report":
            return packed([report_of(agent) for agent in self.agents])
        if what == "state":
            return packed([agent.state() for agent in self.agents])
        assert what == "restore"
        for agent, state in zip(self.agents, content, strict=True):
            agent.restore(state)
        return packed(None)

    def _step(self, asked: Asked) -> Taken:
        before = [len(agent.curve) for agent in self.agents]
        places = [place for place, each in enumerate(asked) if each is not None]
        steps = [agent.step(*each) for agent, each in zip(self.agents, asked, strict=True) if each]
        outboxes: list[list[Message]] = [[] for _ in self.agents]
        for place, outbox in zip(places, grant(steps), strict=True):
            outboxes[place] = list(outbox)
        points = [agent.curve[n:] for agent, n in zip(self.agents, before, strict=True)]
        return outboxes, points
