"""The loop that runs the models: one thread, a pass for all rows, then the next.

Between two passes requests join and leave, and versions come and go. A pass gives every row that
writes its next token, and reads some tokens of the prompts of those that have just come.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from understudy.gateway.engine import EngineBusy, EngineError, EngineLoad
from understudy.gateway.engine.draws import Way, draw
from understudy.gateway.engine.fair import FairQueue
from understudy.gateway.engine.history import History
from understudy.gateway.engine.lane import Lane, SharedPrefix
from understudy.gateway.engine.options import EngineOptions
from understudy.gateway.engine.pieces import PieceSize
from understudy.gateway.engine.prefixes import SHORTEST, Prefixes
from understudy.gateway.engine.rows import Row

_log = logging.getLogger(__name__)
_EAGER = 4  # times as many tokens of prompts are read in a pass while nobody writes
_PACE_SECONDS = 5.0  # over which tokens a second are counted


@dataclass(eq=False)
class Model:
    """A base with the rows that it computes now."""

    lane: Lane
    ask: int
    precision: Callable[[], AbstractContextManager[object]]
    reading: list[Row] = field(default_factory=list)  # their prompts, in the order they came
    writing: list[Row] = field(default_factory=list)


@dataclass(eq=False)
class _Beginning:
    """A prefix that is being read for the rows that wait for it."""

    version: str
    tokens: tuple[int, ...]
    lane_row: Any
    read: int = 0
    first: Row | None = None  # for whom it is read


class Loop(threading.Thread):
    """Rows of every model, in one thread. deliver: takes what rows sent in a pass."""

    def __init__(self, options: EngineOptions, deliver: Callable[[], None]) -> None:
        super().__init__(name="understudy-engine", daemon=True)
        self.options, self.deliver = options, deliver
        self.models: dict[str, Model] = {}  # by version
        self.prefixes = Prefixes(options.prefix_bytes)
        self.history = History(options.history_bytes)
        self._waiting: FairQueue[Row] = FairQueue(options.waiting + options.rows)
        self._commands: deque[Callable[[], None]] = deque()
        self._change = threading.Condition()
        self._closing = False
        self._running: set[Row] = set()
        self._beginnings: dict[tuple[str, tuple[int, ...]], _Beginning] = {}
        self._pieces = PieceSize(options.piece, options.pass_seconds)
        self._times: deque[tuple[float, int]] = deque()
        self._ends: deque[float] = deque(maxlen=64)

    # What other threads call.

    def check_room(self) -> None:
        """Raises EngineBusy where nobody more may wait."""
        most = self.options.waiting + max(0, self.options.rows - len(self._running))
        if len(self._waiting) >= most:
            raise EngineBusy(
                f"{len(self._waiting)} requests wait for the local engine already",
                self._retry_after(),
            )

    def submit(self, row: Row) -> None:
        with self._change:
            if self._closing:
                raise EngineError("the local engine is closed")
            if row.prepared.version not in self.models:
                raise EngineError(f"version {row.prepared.version} is not loaded")
            self.check_room()
            self._waiting.add(row.prepared.job.key, row)
            self._change.notify()

    def leave(self, row: Row) -> None:
        """A request that nobody waits for any more; one that has ended is not there."""
        with self._change:
            row.cancelled = True
            if not self._waiting.remove(row.prepared.job.key, row):
                self._change.notify()

    def call(self, command: Callable[[], None]) -> None:
        """Have something done between two passes."""
        with self._change:
            if self._closing:
                raise EngineError("the local engine is closed")
            self._commands.append(command)
            self._change.notify()

    def users(self, version: str) -> int:
        """How many requests of a version wait or run."""
        with self._change:
            rows = [*self._running, *self._waiting]
        return sum(row.prepared.version == version for row in rows)

    def load_now(self) -> EngineLoad:
        now = time.monotonic()
        recent = [(at, count) for at, count in tuple(self._times) if now - at < _PACE_SECONDS]
        span = now - recent[0][0] if recent else 0.0
        pace = sum(count for _, count in recent) / max(span, 0.1) if recent else 0.0
        return EngineLoad(len(self._running), len(self._waiting), pace)

    def close(self) -> None:
        with self._change:
            self._closing = True
            self._change.notify()

    def _retry_after(self) -> float:
        """Seconds until a place is likely to be free, by how requests ended lately."""
        ends = tuple(self._ends)
        if len(ends) < 2 or ends[-1] == ends[0]:
            return 1.0
        each = (ends[-1] - ends[0]) / (len(ends) - 1)
        return min(60.0, max(0.1, each * (1 + len(self._waiting) - self.options.waiting / 2)))

    # What its own thread does.

    def run(self) -> None:
        while True:
            with self._change:
                while not (self._closing or self._commands or self._waiting or self._running):
                    self._change.wait()
                if self._closing:
                    break
                commands = list(self._commands)
                self._commands.clear()
            for command in commands:
                command()
            self._dismiss()
            self._admit()
            for model in list(dict.fromkeys(self.models.values())):
                self._pass(model)
            self.deliver()
        for command in self._commands:
            command()
        self._fail([*self._running, *self._waiting], EngineError("the local engine was closed"))
        self.deliver()

    def _dismiss(self) -> None:
        """Let those go who do not want their answer any more."""
        for row in [row for row in self._running if row.cancelled]:
            self._forget(row)

    def _admit(self) -> None:
        while len(self._running) < self.options.rows:
            with self._change:
                row = self._waiting.first()
                if row is None or not self._has_memory(row):
                    return
                self._waiting.take()
                self._running.add(row)
            row.begins = self._begins(row)
            self.models[row.prepared.version].reading.append(row)

    def _has_memory(self, row: Row) -> bool:
        """Whether all rows may grow to their longest; one alone always may."""
        rows = [*self._running, row]
        sizes = [
            each.prepared.room * self.models[each.prepared.version].lane.token_size for each in rows
        ]
        return len(rows) == 1 or sum(sizes) <= self.options.cache_bytes

    def _pass(self, model: Model) -> None:
        if not (model.reading or model.writing):
            return
        try:
            with model.precision():
                self._compute(model)
        except Exception as error:  # whatever torch raises: the others must not wait for ever
            _log.exception("the local engine failed in a pass")
            reason = " ".join(str(error).split())[:200]
            failed = [*model.reading, *model.writing]
            model.lane.clear()
            for row in failed:
                row.lane_row = None
            self._fail(failed, EngineError(f"the local engine failed: {reason}"))

    def _compute(self, model: Model) -> None:
        work: list[tuple[Any, Sequence[int]]] = []
        work += [(row.lane_row, row.tokens[-1:]) for row in model.writing]
        begun, prompted = self._prompts(model, work)
        if not work:
            return
        start, read = time.monotonic(), sum(len(tokens) for _, tokens in work)
        states = model.lane.read(work)
        if model.writing:
            self._pieces.after(read - len(model.writing), time.monotonic() - start)
        self._count(len(model.writing))
        for beginning in begun:
            self._begun(model, beginning)
        places = {row: place for place, row in enumerate(model.writing)}
        places |= {row: place for place, row in prompted}
        for _, row in prompted:
            model.lane.join(row.lane_row)
            model.reading.remove(row)
            model.writing.append(row)
        if ways := self._ways([*places]):
            self._draw(model, ways, states[[places[row] for row in ways]])

    def _prompts(
        self, model: Model, work: list[tuple[Any, Sequence[int]]]
    ) -> tuple[list[_Beginning], list[tuple[int, Row]]]:
        """Add pieces of prompts to a pass's work; returns the prefixes that it touches, and the
        rows whose prompts it completes, with their places in the work."""
        eager = not any(each.writing for each in self.models.values())
        left = self._pieces.size * (_EAGER if eager else 1)
        touched: list[_Beginning] = []
        prompted: list[tuple[int, Row]] = []
        for row in model.reading:
            if left <= 0:
                break
            beginning = None if row.lane_row is not None else self._start(model, row)
            if beginning is not None:
                if beginning not in touched:
                    piece = beginning.tokens[beginning.read : beginning.read + left]
                    work.append((beginning.lane_row, piece))
                    touched.append(beginning)
                    beginning.read += len(piece)
                    left -= len(piece)
                continue
            piece = row.prepared.ids[row.read : row.read + left]
            work.append((row.lane_row, piece))
            row.read += len(piece)
            left -= len(piece)
            if row.read == len(row.prepared.ids):
                prompted.append((len(work) - 1, row))
        return touched, prompted

    def _start(self, model: Model, row: Row) -> _Beginning | None:
        """Open a row; or say which prefix it waits for."""
        lane, prepared = model.lane, row.prepared
        known = self.history.find(prepared.version, prepared.ids, len(row.begins))
        if known is not None:
            kept, row.read = known
            row.lane_row = lane.resume(kept, row.read, len(prepared.ids) - row.read)
            row.cached = row.read
            return None
        if not row.begins:
            row.lane_row = lane.open(prepared.version, len(prepared.ids))
            return None
        key = (prepared.version, row.begins)
        if (prefix := self.prefixes.find(*key)) is not None:
            self._open(model, row, prefix)
            row.cached = prefix.count
            return None
        if key not in self._beginnings:
            lane_row = lane.open(prepared.version, len(row.begins))
            self._beginnings[key] = _Beginning(*key, lane_row, first=row)
        return self._beginnings[key]

    def _begins(self, row: Row) -> tuple[int, ...]:
        """The tokens of a row's prompt that are read once for all."""
        lane, prepared = self.models[row.prepared.version].lane, row.prepared
        if not lane.shares:
            return ()
        count = self.prefixes.begun(prepared.ids, prepared.shared)
        fits = count * lane.token_size <= self.options.prefix_bytes
        return prepared.ids[:count] if fits else ()

    def _open(self, model: Model, row: Row, prefix: SharedPrefix, alone: bool = False) -> None:
        rest = len(row.prepared.ids) - prefix.count
        row.lane_row = model.lane.open(row.prepared.version, rest, prefix, alone)
        row.read = prefix.count

    def _begun(self, model: Model, beginning: _Beginning) -> None:
        """Where a prefix has been read, keep it, and let the first row go on after it."""
        if beginning.read < len(beginning.tokens):
            return
        del self._beginnings[beginning.version, beginning.tokens]
        prefix = model.lane.keep(beginning.lane_row)
        model.lane.close(beginning.lane_row)
        self.prefixes.keep(beginning.tokens, prefix)
        row = beginning.first
        if row is not None and row in model.reading and row.lane_row is None:
            # A prefix that nobody else begins with is the row's own, beside other rows' own.
            others = (other for other in model.reading if other is not row)
            alone = not any(_begins(other, beginning) for other in others)
            self._open(model, row, prefix, alone)

    def _ways(self, rows: Sequence[Row]) -> dict[Row, Way]:
        """How each row is drawn; one whose grammar fails ends."""
        ways: dict[Row, Way] = {}
        for row in rows:
            try:
                ways[row] = row.way()
            except Exception as error:
                self._end(row, error)
        return ways

    def _draw(self, model: Model, ways: dict[Row, Way], states: Any) -> None:
        logits = model.lane.logits(states, [row.lane_row for row in ways])
        drawn = draw(logits, model.ask, [*ways.values()])
        for row, token in zip(ways, drawn, strict=True):
            try:
                row.take(token)
                if not row.finish_reason:
                    continue
                row.end()
                self._keep(model, row)
            except Exception as error:  # of this row alone
                self._end(row, error)
            else:
                self._end(row)

    def _end(self, row: Row, error: Exception | None = None) -> None:
        """Free a row's place; error: why it has no answer."""
        if error is not None:
            if not isinstance(error, EngineError):
                _log.error("an answer of the local engine failed", exc_info=error)
                error = EngineError(f"the local engine failed: {type(error).__name__}")
            row.send(error)
        self._ends.append(time.monotonic())
        self._forget(row)

    def _keep(self, model: Model, row: Row) -> None:
        """Keep what a row has read, for the next turn of its conversation."""
        count = row.lane_row.read
        if model.lane.shares and (count - len(row.begins)) >= SHORTEST:
            tokens = (*row.prepared.ids, *row.tokens)[:count]
            self.history.keep(tokens, model.lane.keep_row(row.lane_row))

    def forget(self, version: str) -> None:
        """Let go of all that was read under a version; in this thread."""
        self.prefixes.forget(version)
        self.history.forget(version)
        self.models.pop(version, None)

    def _forget(self, row: Row) -> None:
        model = self.models[row.prepared.version]
        if row in model.reading:
            model.reading.remove(row)
            self._abandon(model)
        if row in model.writing:
            model.writing.remove(row)
        if row.lane_row is not None:
            lane_row, row.lane_row = row.lane_row, None
            model.lane.close(lane_row)
        with self._change:
            self._running.discard(row)

    def _abandon(self, model: Model) -> None:
        """Forget prefixes that nobody waits for any more."""
        for key, beginning in list(self._beginnings.items()):
            if beginning.version not in self.models or self.models[key[0]] is not model:
                continue
            waiting = [row for row in model.reading if _begins(row, beginning)]
            if beginning.first not in waiting:
                beginning.first = waiting[0] if waiting else None
            if not waiting:
                model.lane.close(beginning.lane_row)
                del self._beginnings[key]

    def _fail(self, rows: Sequence[Row], error: EngineError) -> None:
        for row in rows:
            row.send(error)
            if row in self._running:
                self._forget(row)

    def _count(self, tokens: int) -> None:
        now = time.monotonic()
        self._times.append((now, tokens))
        while now - self._times[0][0] > _PACE_SECONDS:
            self._times.popleft()


def _begins(row: Row, beginning: _Beginning) -> bool:
    """Whether a row waits for a prefix, or will."""
    same = (row.prepared.version, row.begins) == (beginning.version, beginning.tokens)
    return same and row.lane_row is None
