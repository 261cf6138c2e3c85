"""The local model answers what a cloud was asked, apart from the traffic."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

from understudy.errors import CloudError
from understudy.gateway.engine import (
    Engine,
    EngineBusy,
    EngineError,
    Job,
    JobRefused,
    Piece,
    Written,
)
from understudy.gateway.form import UnableError, jobs_of, prepared
from understudy.gateway.requests import Caller, ChatRequest
from understudy.gateway.settings import LocalSettings
from understudy.gateway.shadow.records import LocalAnswer, LoggedCall

_CALLER = Caller("shadow")
_TRIED = 20  # answers after which it is known whether the engine works at all
_DIGITS = re.compile(r"\d+")


async def local_answer(engine: Engine, call: LoggedCall, settings: LocalSettings) -> LocalAnswer:
    """As the gateway would let the local model answer it. Raises EngineError."""
    if call.not_text:
        return LocalAnswer(unable=f"the cloud's answer {call.not_text}")
    body = {name: value for name, value in call.body.items() if name != "n"}
    request, version = ChatRequest(body), engine.versions()[-1]
    try:
        asked = prepared(request, settings.task, engine)
        job = jobs_of(request, _CALLER, asked, version, settings.temperature)[0]
    except UnableError as error:
        return LocalAnswer(unable=f"the local model {error}")
    except (TypeError, ValueError, AttributeError, KeyError) as error:  # no client may send it now
        return LocalAnswer(unable=f"the request is malformed ({type(error).__name__})")
    started = time.perf_counter()
    try:
        written = await _written(engine, job)
    except JobRefused as error:
        return LocalAnswer(unable=f"the local engine refuses it: {_DIGITS.sub('N', str(error))}")
    return LocalAnswer(
        text=written.text,
        version=written.version,
        margin=_number(written.margin),
        mean_entropy=_number(written.mean_entropy),
        mean_logprob=_number(written.mean_logprob),
        seconds=time.perf_counter() - started,
    )


async def _written(engine: Engine, job: Job) -> Written:
    while True:
        try:
            items = cast(AsyncGenerator[Piece | Written, None], engine.write(job))
            async with aclosing(items):
                async for item in items:
                    if isinstance(item, Written):
                        return item
        except EngineBusy as busy:
            await asyncio.sleep(min(busy.retry_after, 5.0))
        else:
            raise EngineError("an engine's last item is what was written")


def _number(value: float | None) -> float | None:
    return None if value is None or value != value else value


@dataclass(slots=True)
class Asking:
    """Each different question once, in an order by chance, so that those which were answered when
    the time is over stand for all."""

    engine: Engine
    settings: LocalSettings
    seconds: float
    advance: Callable[[int], None] = lambda number: None
    answers: dict[str, LocalAnswer] = field(default_factory=dict)  # by the question's digest
    out_of_time: bool = False
    _failed: int = 0
    _reason: str = ""

    async def ask(self, calls: Sequence[LoggedCall], most: int | None = None) -> None:
        different = {call.digest: call for call in calls}
        order = sorted(different)[:most]
        waiting = [digest for digest in order if digest not in self.answers]
        self.advance(len(order) - len(waiting))
        until, asked = time.monotonic() + self.seconds, iter(waiting)

        async def some() -> None:
            for digest in asked:
                if time.monotonic() > until:
                    self.out_of_time = True
                    return
                self.answers[digest] = await self._one(different[digest])
                self.advance(1)

        workers = [asyncio.create_task(some()) for _ in range(self.settings.max_running)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _one(self, call: LoggedCall) -> LocalAnswer:
        try:
            return await local_answer(self.engine, call, self.settings)
        except EngineError as error:
            self._failed, self._reason = self._failed + 1, str(error)
            if self._failed >= min(_TRIED, len(self.answers) + 1) and self._failed > 4:
                raise CloudError(f"the local engine fails: {self._reason}") from None
            return LocalAnswer(unable=f"the local engine failed: {_DIGITS.sub('N', str(error))}")


def kept_answers(rows: Sequence[Mapping[str, object]]) -> dict[str, LocalAnswer]:
    """Answers that an earlier report has kept, by the question's digest."""
    found = {}
    for row in rows:
        values = row.get("local")
        if isinstance(values, Mapping) and isinstance(row.get("digest"), str):
            known = {name: values[name] for name in LocalAnswer.__slots__ if name in values}
            found[str(row["digest"])] = LocalAnswer(**known)
    return found
