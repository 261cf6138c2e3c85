"""The playground as the door to the core: what it counts, and what it lets go of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from understudy.gateway.chunks import Chunks
from understudy.gateway.door.door import Door
from understudy.gateway.door.pulse import COMMENT, kept_alive
from understudy.gateway.door.settings import DoorSettings
from understudy.gateway.pages.play import Asked, Playground
from understudy.gateway.pages.templates import Templates
from understudy.gateway.requests import Caller, ChatRequest, Decision, ModelCard, Outcome
from understudy.store.keys import Key


class HoldingCore:
    """Holds something until its stream ends; the stream says nothing."""

    def __init__(self) -> None:
        self.ended: list[bool] = []
        self.callers: list[Caller] = []

    async def answer(self, request: ChatRequest, caller: Caller) -> Outcome:
        self.callers.append(caller)
        chunks = Chunks(self._silent(), self.ended.append, lambda: None)
        return Outcome(Decision("local", "it is sure", "tiny@1"), chunks=chunks)

    async def _silent(self) -> AsyncIterator[bytes]:
        await asyncio.sleep(600)
        yield b"{}"

    async def models(self) -> list[ModelCard]:
        return []


def test_whoever_leaves_once_it_is_decided_leaves_nothing_behind() -> None:
    async def leave() -> None:
        core = HoldingCore()
        door = Door(core)
        pieces = Playground(door, Templates()).ask(Asked("hello"), Key("k", "k"))
        await anext(pieces)  # it begins
        await anext(pieces)  # it is decided
        assert door.flight.running == 1
        await pieces.aclose()
        assert core.ended == [False]
        assert door.flight.running == 0

    asyncio.run(leave())


def test_an_answer_takes_so_long_and_no_longer() -> None:
    async def ask() -> None:
        core = HoldingCore()
        playground = Playground(Door(core, DoorSettings(request_seconds=0.05)), Templates())
        page = b"".join([each async for each in playground.ask(Asked("hello"), Key("k", "k"))])
        assert b"no whole answer within 0.05 seconds" in page
        assert core.ended == [False]

    asyncio.run(ask())


def test_a_system_prompt_counts_and_a_dial_of_0_stays() -> None:
    """A hundred a minute: three hundred bytes are as many as there are."""

    async def ask() -> None:
        core = HoldingCore()
        door = Door(core, DoorSettings(request_seconds=0.05))
        key = Key("k", "k", dial=0.0, tokens_per_minute=100)
        playground = Playground(door, Templates())
        async for _ in playground.ask(Asked("x", system="y" * 270, dial=1.0), key):
            pass
        assert core.callers[0].dial == 0.0
        page = b"".join([each async for each in playground.ask(Asked("x" * 60), key)])
        assert b"100 tokens a minute" in page

    asyncio.run(ask())


async def spoken(*pieces: bytes | float | Exception) -> AsyncGenerator[bytes, None]:
    """Numbers are seconds of silence."""
    for piece in pieces:
        if isinstance(piece, Exception):
            raise piece
        if isinstance(piece, bytes):
            yield piece
        else:
            await asyncio.sleep(piece)


def test_a_silent_stream_is_kept_alive() -> None:
    async def read() -> list[bytes]:
        return [each async for each in kept_alive(spoken(b"a", b"b", 0.2, b"c"), 0.03)]

    found = asyncio.run(read())
    assert found[:2] == [b"a", b"b"]
    assert found[-1] == b"c"
    assert COMMENT in found
    assert set(found[2:-1]) == {COMMENT}


def test_a_fault_of_a_stream_reaches_whoever_reads_it() -> None:
    async def read() -> None:
        async for _ in kept_alive(spoken(b"a", ValueError("odd")), 60):
            pass

    with pytest.raises(ValueError, match="odd"):
        asyncio.run(read())


def test_whoever_leaves_a_stream_that_is_kept_alive_leaves_nothing_behind() -> None:
    async def leave() -> None:
        core = HoldingCore()
        door = Door(core)
        asked = Playground(door, Templates()).ask(Asked("hello"), Key("k", "k"))
        pieces = kept_alive(asked, 0.01)
        while await anext(pieces) != COMMENT:
            pass
        assert door.flight.running == 1
        await pieces.aclose()
        assert core.ended == [False]
        assert door.flight.running == 0

    asyncio.run(leave())
