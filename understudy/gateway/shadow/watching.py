"""What becomes of live traffic's copies: events in a store, local answers beside them, reports.

Copies wait in a bounded queue and are dropped when it is full; the same holds for questions that
wait for the local model. Both are counted. Nobody whose request passes through waits for either.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

from understudy.errors import ConfigError, UnderstudyError
from understudy.gateway.engine import Engine, EngineError
from understudy.gateway.shadow.asking import local_answer
from understudy.gateway.shadow.copies import call_of, event_of
from understudy.gateway.shadow.formats import UnusableError
from understudy.gateway.shadow.logs import read_logs
from understudy.gateway.shadow.money import charged, load_table, price_of
from understudy.gateway.shadow.passing import Copied
from understudy.gateway.shadow.records import LeftOut, LocalAnswer, LoggedCall
from understudy.gateway.shadow.settings import ShadowSettings
from understudy.gateway.shadow.study import (
    Study,
    keep_answers,
    study,
    verdicts_of,
    write_report,
)
from understudy.gateway.shadow.verdicts import Verdicts
from understudy.store.database import open_events
from understudy.store.events import EventWriter
from understudy.store.settings import EventSettings

TRAFFIC = "traffic.db"
_COPIES, _QUESTIONS = 1024, 256  # that wait
_MOST_ANSWERS = 50_000  # different questions that are answered locally
_EVERY_SECONDS, _SHARE_OF_TIME = 60.0, 0.05  # for reports

log = logging.getLogger(__name__)

Warn = Callable[[str], None]


class Watching:
    def __init__(self, settings: ShadowSettings, out: Path, warn: Warn) -> None:
        self.settings, self.out, self._warn = settings, out, warn
        self.copied = self.dropped = self.unanswered = 0
        self.left_out = LeftOut()
        self.answers: dict[str, LocalAnswer] = {}
        self._table = load_table(settings.prices)
        out.mkdir(parents=True, exist_ok=True)
        self.store = str(out / TRAFFIC)
        self._writer = EventWriter(open_events(self.store), EventSettings(text="all"))
        self._copies: queue.Queue[Copied | None] = queue.Queue(_COPIES)
        self._questions: asyncio.Queue[LoggedCall] = asyncio.Queue(_QUESTIONS)
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._record, name="shadow", daemon=True)
        self._told: set[str] = set()
        self._judge: Verdicts | None = None  # a judge remembers what it said

    def copy(self, copied: Copied) -> None:
        """Never waits."""
        try:
            self._copies.put_nowait(copied)
        except queue.Full:
            self.dropped += 1

    def start(self, engine: Engine) -> None:
        """Within the event loop that passes the traffic."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        work = [self._answer_for_ever(engine) for _ in range(self.settings.local.max_running)]
        self._tasks = [asyncio.create_task(each) for each in (*work, self._report_for_ever())]

    async def close(self) -> None:
        """Every copy that came is kept; questions that still wait are not answered."""
        await asyncio.to_thread(self._copies.put, None)
        await asyncio.to_thread(self._thread.join)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._writer.close)

    def _record(self) -> None:
        """In a thread of its own: bodies are read and written apart from the traffic."""
        while (copied := self._copies.get()) is not None:
            self.copied += 1
            place = f"call {self.copied}"
            try:
                call = call_of(copied, place)
                event = event_of(copied, call, self._dollars(call))
            except UnusableError as error:
                self.left_out.add(str(error), place)
                continue
            except Exception as error:  # a fault of ours: the next copy is read all the same
                self.left_out.add("could not be read", place)
                self._warn_once(f"{place} could not be read ({type(error).__name__})")
                log.exception("%s could not be read", place)
                continue
            self._writer.add(event)
            assert self._loop is not None
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._offer, call)

    def _dollars(self, call: LoggedCall) -> float:
        """0 where the price is not known: a report refuses that by name."""
        prices = price_of(self._table, call.model)
        if prices is None:
            self._warn_once(f"no price for {call.model}: it is not in --cloud-prices")
            return 0.0
        return charged(prices, call)[0]

    def _offer(self, call: LoggedCall) -> None:
        if call.digest in self.answers:
            return
        try:
            if len(self.answers) >= _MOST_ANSWERS:
                raise asyncio.QueueFull
            self._questions.put_nowait(call)
        except asyncio.QueueFull:
            self.unanswered += 1

    async def _answer_for_ever(self, engine: Engine) -> None:
        while True:
            call = await self._questions.get()
            if call.digest in self.answers:
                continue
            try:
                self.answers[call.digest] = await local_answer(engine, call, self.settings.local)
            except EngineError as error:
                self.unanswered += 1
                self._warn_once(f"the local engine fails: {error}")

    async def _report_for_ever(self) -> None:
        reported, wait = 0, _EVERY_SECONDS
        while True:
            await asyncio.sleep(wait)
            if len(self.answers) == reported:
                continue
            reported, started = len(self.answers), time.monotonic()
            try:
                await asyncio.to_thread(self.report)
            except UnderstudyError as error:
                self._warn_once(f"no report yet: {error}")
            wait = max(_EVERY_SECONDS, (time.monotonic() - started) / _SHARE_OF_TIME)

    def report(self) -> Study:
        """Of all that was copied so far. Raises UnderstudyError."""
        answers = dict(self.answers)
        keep_answers(self.out, self.settings, answers)
        if not self.copied:
            raise ConfigError("nothing has passed through yet")
        with contextlib.suppress(UnderstudyError):
            self._writer.flush()
        log = read_logs([self.store])
        log.rows += self.left_out.total
        for reason, count in self.left_out.reasons.copy().items():
            log.left_out.reasons[reason] += count
            log.left_out.first.setdefault(reason, self.left_out.first[reason])
        if self._judge is None or not self.settings.judge.base_url:
            self._judge = verdicts_of(log.calls, self.settings)
        done = study(log, answers, self.settings, [self.store], self._judge, self._cautions())
        write_report(done, self.out)
        return done

    def _cautions(self) -> list[str]:
        said = []
        if self.dropped:
            said.append(
                f"{self.dropped} requests passed without a copy, because the queue was full; the "
                "money is that of the copied ones."
            )
        if self.unanswered:
            said.append(
                f"{self.unanswered} questions found no place at the local model and are not "
                "compared; the busiest moments are under-represented."
            )
        return said

    def _warn_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._warn(text)
