"""The actors of a run in several processes of this machine, each with some of them.

    parent                                        worker
    sends what is asked, packed, over a pipe  ->  takes its actors' steps together
    reads what came of it                     <-  sends the answer, packed

A worker makes its own actors, from the factory that it is sent when it starts. It ends when its
pipe is closed: also when the parent is gone.
"""

from __future__ import annotations

import pickle
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

import torch

from understudy.actors.actor import Actor, Address
from understudy.actors.crew import Inboxes, Moment, by_population
from understudy.actors.factory import HERE, Factory, addresses_of, parts_of
from understudy.actors.jobs import run_steps
from understudy.actors.packing import packed, unpacked
from understudy.errors import RunError, UnderstudyError
from understudy.link.carrier import Inbox, Message

_PATIENCE = 5.0  # seconds that a worker has to end by itself

States = Sequence[Sequence[Mapping[str, Any]]]
Asked = list[tuple[Any, Inbox] | None]  # for each actor of a part; None: it takes no step
Taken = tuple[list[list[Message]], list[list[Any]]]  # what each sent, and its new log entries


class Workers:
    """A crew of `count` processes; fewer, if there are fewer actors. Its numbers are those of all
    actors together in one process.

    pinned: the worker's number, or HERE for this process, of actors that have a place.
    """

    def __init__(
        self,
        factory: Factory,
        count: int,
        states: States | None = None,
        pinned: Mapping[Address, int] | None = None,
    ) -> None:
        self._sizes = factory.sizes
        pinned = pinned or {}
        free = [each for each in addresses_of(factory.sizes) if each not in pinned]
        least = max((part for part in pinned.values()), default=HERE) + 1
        count = max(1, least, min(count, len(free)))
        around = {address: number % count for number, address in enumerate(free)}
        self._parts, here = parts_of(factory.sizes, count, around | dict(pinned))
        self._logs: list[list[list[Any]]] = [[[] for _ in range(size)] for size in factory.sizes]
        self._workers: list[_Worker] = []
        self._here = _Host(here, factory, _of(states, here))
        try:
            for number in range(count):
                self._workers.append(_Worker(f"worker {number + 1} of {count}"))
            begun = [pickle.dumps((part, factory, _of(states, part))) for part in self._parts]
            self._note_logs(self._ask("begin", begun, list[list[Any]]))
        except BaseException:
            self.close()
            raise

    def step(self, moment: Moment, inboxes: Inboxes) -> list[list[Message]]:
        def asked(part: Sequence[Address]) -> Asked:
            ticks = [moment[population][number] for population, number in part]
            return [
                None if tick is None else (tick, inboxes[population][number])
                for tick, (population, number) in zip(ticks, part, strict=True)
            ]

        rows = [packed(asked(part)) for part in self._parts]
        outboxes: dict[Address, list[Message]] = {}
        with self._asked("step", rows) as answers:
            taken = [self._here.step(asked(self._here.part)), *answers(Taken)]
        for part, (sent, entries) in zip([self._here.part, *self._parts], taken, strict=True):
            for address, outbox, new in zip(part, sent, entries, strict=True):
                outboxes[address] = outbox
                self._logs[address[0]][address[1]] += new
        return by_population(outboxes, len(self._sizes))

    def logs(self) -> list[list[list[Any]]]:
        return self._logs

    def reports(self) -> list[list[Any]]:
        found = self._ask("report", self._nothing(), list[Any])
        return self._placed([[actor.report() for actor in self._here.actors], *found])

    def states(self) -> list[list[dict[str, Any]]]:
        found = self._ask("state", self._nothing(), list[dict[str, Any]])
        return self._placed([[deepcopy(actor.state()) for actor in self._here.actors], *found])

    def restore(self, states: States) -> None:
        parts = [packed(_of(states, part)) for part in self._parts]
        self._here.restore(_of(states, self._here.part) or [])
        self._note_logs(self._ask("restore", parts, list[list[Any]]))

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.hang_up()
        while self._workers:
            self._workers.pop().end()

    def _nothing(self) -> list[bytes]:
        return [packed(None)] * len(self._parts)

    def _ask(self, what: str, contents: Sequence[bytes], kind: Any) -> list[Any]:
        with self._asked(what, contents) as answers:
            return list(answers(kind))

    @contextmanager
    def _asked(self, what: str, contents: Sequence[bytes]) -> Iterator[Any]:
        """All workers asked at once; gives a function that waits for their answers."""
        if not self._workers:
            raise RunError("the workers of this run have ended; start it again, or resume it")
        try:
            for worker, content in zip(self._workers, contents, strict=True):
                worker.ask(what, content)
            yield lambda kind: [
                unpacked(worker.answer(), kind, trusted=True) for worker in self._workers
            ]
        except BaseException:
            self.close()
            raise

    def _note_logs(self, found: Sequence[list[list[Any]]]) -> None:
        self._logs = self._placed([[list(actor.log) for actor in self._here.actors], *found])

    def _placed(self, found: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """By population and actor what came from this process and by worker."""
        rows: list[list[Any]] = [[None] * size for size in self._sizes]
        for part, values in zip([self._here.part, *self._parts], found, strict=True):
            for (population, number), value in zip(part, values, strict=True):
                rows[population][number] = value
        return rows


def _of(states: States | None, part: Sequence[Address]) -> list[Mapping[str, Any]] | None:
    if states is None:
        return None
    return [states[population][number] for population, number in part]


class _Worker:
    """One process, as the parent sees it."""

    def __init__(self, name: str) -> None:
        self.name = name
        context = get_context("spawn")
        self._pipe, other = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(other,), daemon=True)
        with _without_script():
            self.process.start()
        other.close()  # so that the pipe ends with the process

    def ask(self, what: str, blob: bytes) -> None:
        with self._watched():
            self._pipe.send_bytes(what.encode())
            self._pipe.send_bytes(blob)

    def answer(self) -> bytes:
        with self._watched():
            failed, blob = bool(self._pipe.recv_bytes()), self._pipe.recv_bytes()
        if failed:
            raise pickle.loads(blob)
        return blob

    def hang_up(self) -> None:
        self._pipe.close()

    def end(self) -> None:
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

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
def _without_script() -> Iterator[None]:
    """A new process would run the script that began this one, were it to know of it: an actor needs
    nothing from there, and a script without a guard would begin the whole run again."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


class _Host:
    """Some actors in one process."""

    def __init__(
        self,
        part: Sequence[Address],
        factory: Factory,
        states: Sequence[Mapping[str, Any]] | None,
    ) -> None:
        self.part = part
        self.actors: list[Actor] = factory.make(part, states) if part else []

    def restore(self, states: Sequence[Mapping[str, Any]]) -> None:
        for actor, state in zip(self.actors, states, strict=True):
            actor.restore(state)

    def step(self, asked: Asked) -> Taken:
        before = [len(actor.log) for actor in self.actors]
        places = [place for place, each in enumerate(asked) if each is not None]
        steps = [actor.step(*each) for actor, each in zip(self.actors, asked, strict=True) if each]
        outboxes: list[list[Message]] = [[] for _ in self.actors]
        for place, outbox in zip(places, run_steps(steps), strict=True):
            outboxes[place] = outbox
        entries = [actor.log[n:] for actor, n in zip(self.actors, before, strict=True)]
        return outboxes, entries


# In the worker


def _work(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and hangs up
    torch.set_num_threads(1)
    host: _Host | None = None
    with suppress(EOFError, OSError):  # the parent has hung up
        while True:
            what, blob = pipe.recv_bytes().decode(), pipe.recv_bytes()
            failed: UnderstudyError | None = None
            try:
                if what == "begin":
                    host = _Host(*pickle.loads(blob))  # of the parent, which started this process
                assert host is not None
                answer = packed(_answered(host, what, blob))
            except UnderstudyError as error:
                failed = error
            except Exception:
                failed = RunError(f"a worker failed: {traceback.format_exc()}")
            pipe.send_bytes(b"" if failed is None else b"failed")
            pipe.send_bytes(answer if failed is None else pickle.dumps(failed))


def _answered(host: _Host, what: str, blob: bytes) -> Any:
    if what == "step":
        return host.step(unpacked(blob, trusted=True))
    if what == "report":
        return [actor.report() for actor in host.actors]
    if what == "state":
        return [actor.state() for actor in host.actors]
    if what == "restore":
        host.restore(unpacked(blob, trusted=True))
    return [actor.log for actor in host.actors]  # to begin, or to be restored
