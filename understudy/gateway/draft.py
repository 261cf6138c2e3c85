"""What the local engine writes for one request: one answer or several, read as they grow."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence

from understudy.clouds.estimates import about_tokens
from understudy.gateway.engine import Engine, Job, JobRefused, Piece, TokenLogprob, Written

Item = tuple[int, Piece | Written]  # with the number of its answer


class Draft:
    """Is written whether or not somebody reads. Closing it frees its place in the engine."""

    def __init__(self, engine: Engine, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.written: dict[int, Written] = {}
        self.logprobs: dict[int, list[TokenLogprob]] = {n: [] for n in range(len(jobs))}
        self.margin: float | None = None  # of the first answer, so far
        self.seen: list[Item] = []  # everything that was read, in its order
        self._tokens = [0] * len(jobs)
        self._items: asyncio.Queue[Item | Exception] = asyncio.Queue()
        self._tasks = [
            asyncio.create_task(self._write(engine, number, job)) for number, job in enumerate(jobs)
        ]

    @property
    def ended(self) -> bool:
        return len(self.written) == len(self.jobs)

    @property
    def tokens(self) -> int:
        """Written so far; of an answer that is not whole a token for every piece, or for four
        characters, whichever is more."""
        return sum(self._tokens)

    async def next(self) -> Item | None:
        """None: there is no more. Raises what the engine raises."""
        if self.ended:
            return None
        item = await self._items.get()
        if isinstance(item, Exception):
            raise item
        self.seen.append(item)
        number, part = item
        if isinstance(part, Written):
            self.written[number] = part
        else:
            self.logprobs[number] += part.logprobs
        if number == 0 and part.margin is not None:
            self.margin = part.margin
        return item

    async def first(self) -> Item:
        """Raises before anything is promised."""
        item = await self.next()
        assert item is not None, "an engine says at least what was written"
        return item

    async def finish(self) -> list[Written]:
        while await self.next() is not None:
            pass
        return [self.written[number] for number in range(len(self.jobs))]

    def check(self) -> None:
        """Raises JobRefused where the first answer has ended without a word, though nobody wanted
        it so short: that is no answer."""
        first = self.written.get(0)
        if first is None or first.finish_reason != "stop" or self.jobs[0].stop:
            return
        if not (first.text.strip() or first.tool_calls):
            raise JobRefused("the answer came out empty; ask in another form", "messages")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self, engine: Engine, number: int, job: Job) -> None:
        items = engine.write(job)
        pieces = characters = 0
        try:
            async for part in items:
                if isinstance(part, Written):
                    self._tokens[number] = part.completion_tokens
                else:
                    pieces, characters = pieces + 1, characters + len(part.text)
                    self._tokens[number] = max(pieces, about_tokens(characters))
                self._items.put_nowait((number, part))
        except Exception as error:
            self._items.put_nowait(error)
        finally:
            if inspect.isasyncgen(items):
                await items.aclose()
