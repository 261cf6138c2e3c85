"""How a request ends: its calls are settled, its draft is let go, whoever watches is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from understudy.gateway.asking import Asked, Asking
from understudy.gateway.chunks import Chunks
from understudy.gateway.draft import Draft
from understudy.gateway.trace import OnDone, Trace


class Ends:
    """Of one request."""

    def __init__(self, asking: Asking, trace: Trace, on_done: OnDone) -> None:
        self.asking, self.trace = asking, trace
        self._on_done = on_done
        self._told = False

    def chunks(self, payloads: AsyncIterator[bytes], then: Callable[[], None]) -> Chunks:
        """A stream whose end is the request's. then: what is to be done at it."""

        def ended(whole: bool) -> None:
            self.trace.hung_up |= not whole
            then()
            self.tell()

        return Chunks(payloads, ended, self.trace.first)

    def drop(self, draft: Draft | None, race: asyncio.Task[Asked] | None = None) -> None:
        """Of a draft or a call nobody wants any more."""
        if draft is not None:
            self.trace.drafted = max(self.trace.drafted, draft.tokens)
            self.asking.spawn(draft.close())
        if race is not None:
            self.asking.abandon(race, self.trace)

    def settle(self, asked: Asked) -> None:
        """The caller has the cloud's answer, or has gone."""
        trace, incoming = self.trace, asked.incoming
        trace.seconds = trace.elapsed

        async def settled() -> None:
            await self.asking.finish(asked, trace)
            cost = incoming.cost()
            trace.answer, trace.error = incoming.text, incoming.error or ""
            trace.finish_reason = incoming.finish_reason
            trace.prompt_tokens = cost.prompt_tokens
            trace.completion_tokens = cost.completion_tokens

        trace.pending.append(self.asking.spawn(settled()))

    def tell(self) -> None:
        """Once, and once everything that this request did is paid."""
        trace, told = self.trace, self._told
        self._told = True
        if told:
            return
        trace.seconds = trace.seconds or trace.elapsed
        if not trace.pending:
            self._done()
            return

        async def tell() -> None:
            done = 0
            while done < len(trace.pending):  # one that ends may leave another
                done = len(trace.pending)
                await asyncio.gather(*trace.pending, return_exceptions=True)
            self._done()

        self.asking.spawn(tell())

    def _done(self) -> None:
        trace = self.trace
        self._on_done(trace)
        refused = trace.decision is not None and trace.decision.answered_by == "refused"
        if trace.caller.told is not None and not refused:
            trace.caller.told(trace.prompt_tokens, trace.written)
