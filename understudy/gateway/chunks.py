"""A stream on its way to a caller, whose end is noticed however it ends."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Self


class Chunks:
    """Payloads of a stream. on_end is called once: at its end, at a fault, or when the caller hangs
    up; it is told whether the stream was whole. first is called before the first payload."""

    def __init__(
        self,
        payloads: AsyncIterator[bytes],
        on_end: Callable[[bool], None],
        first: Callable[[], None],
    ) -> None:
        self._payloads, self._on_end, self._first = payloads, on_end, first
        self._begun = self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._over:
            raise StopAsyncIteration
        try:
            payload = await anext(self._payloads)
        except StopAsyncIteration:
            self._end(True)
            raise
        except BaseException:
            self._end(False)
            raise
        if not self._begun:
            self._begun = True
            self._first()
        return payload

    async def aclose(self) -> None:
        if self._over:
            return
        if inspect.isasyncgen(self._payloads):
            await self._payloads.aclose()
        self._end(False)

    def _end(self, whole: bool) -> None:
        if not self._over:
            self._over = True
            self._on_end(whole)
