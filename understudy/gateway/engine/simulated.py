"""An engine that writes made-up answers at a set pace: for trials, and for tests without a model.

It repeats the last message word by word. A question that holds the word `hard` is asked for help
by a wide margin, any other is not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from understudy.gateway.engine import (
    EngineError,
    EngineLoad,
    Job,
    Piece,
    TokenLogprob,
    Written,
)
from understudy.gateway.engine.places import Places


class SimulatedEngine:
    """Writes at so many tokens a second and stream; `rows` at once, `waiting` more may wait."""

    signals = frozenset({"margin", "mean_entropy", "mean_logprob"})

    def __init__(
        self,
        version: str = "simulated@0",
        tokens_per_second: float | None = None,
        rows: int = 32,
        waiting: int = 256,
    ) -> None:
        self._seconds = 1 / tokens_per_second if tokens_per_second else 0.0
        self._versions = {version: 0}  # and how many requests each has
        self._places = Places(rows, waiting)
        self._times: deque[float] = deque(maxlen=256)

    async def write(self, job: Job) -> AsyncIterator[Piece | Written]:
        if job.version not in self._versions:
            raise EngineError(f"version {job.version} is not loaded")
        self._versions[job.version] += 1
        try:
            async with self._places.place(job.key), aclosing(self._written(job)) as items:
                async for item in items:
                    yield item
        finally:
            self._versions[job.version] -= 1

    async def _written(self, job: Job) -> AsyncGenerator[Piece | Written, None]:
        question = job.prompt if job.prompt is not None else _text(job.messages[-1]["content"])
        words = [word if i == 0 else f" {word}" for i, word in enumerate(question.split())]
        kept = words[: job.max_tokens]
        margin = 5.0 if "hard" in question.split() else -5.0
        for word in kept:
            await asyncio.sleep(self._seconds)
            self._times.append(asyncio.get_running_loop().time())
            known = (TokenLogprob(word, -0.1, word.encode()),) if job.logprobs is not None else ()
            yield Piece(word, known, margin)
        yield Written(
            text="".join(kept),
            finish_reason="stop" if len(kept) == len(words) else "length",
            prompt_tokens=len(words),
            cached_tokens=0,
            completion_tokens=len(kept),
            version=job.version,
            margin=margin,
            mean_entropy=0.2,
            mean_logprob=-0.1,
        )

    def versions(self) -> list[str]:
        return list(self._versions)

    async def load(self, version: str, folder: Path) -> None:
        self._versions.setdefault(version, 0)

    async def unload(self, version: str) -> None:
        while self._versions.get(version):
            await asyncio.sleep(0.01)
        self._versions.pop(version, None)

    def load_now(self) -> EngineLoad:
        pace = 0.0
        if len(self._times) > 1 and (taken := self._times[-1] - self._times[0]) > 0:
            pace = (len(self._times) - 1) / taken
        return EngineLoad(self._places.running, self._places.waiting, pace)

    async def close(self) -> None:
        """Nothing is open."""


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or ())
