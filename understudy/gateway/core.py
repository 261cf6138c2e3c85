"""The core: what the door calls. Every request goes its way, and leaves a trace."""

from __future__ import annotations

import asyncio

from understudy.gateway.door.errors import internal_error
from understudy.gateway.requests import Caller, ChatRequest, ModelCard, Outcome, Refused
from understudy.gateway.trace import Trace
from understudy.gateway.way import Parts, Way


class Gateway:
    """See `requests.Core`."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    async def answer(self, request: ChatRequest, caller: Caller) -> Outcome:
        trace = Trace(request, caller)
        way = Way(self.parts, trace)
        try:
            return await way.outcome()
        except Refused as refused:
            trace.refuse(refused)
            way.ends.tell()
            raise
        except asyncio.CancelledError:
            trace.hung_up = True
            way.ends.tell()
            raise
        except Exception:  # a fault of ours: its event says no more than its caller is told
            trace.refuse(internal_error())
            way.ends.tell()
            raise

    async def models(self) -> list[ModelCard]:
        local = self.parts.local
        return self.parts.names.cards(local.versions() if local else ())

    async def close(self, seconds: float = 10.0) -> None:
        """Settle what is still on its way, and let connections and the engine go."""
        await self.parts.asking.close(seconds)
        if self.parts.local is not None:
            await self.parts.local.engine.close()
