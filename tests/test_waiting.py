"""Coroutines from code that is not asynchronous, with and without an event loop around it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from understudy.waiting import Waiter, wait_for


async def loop_and_thread() -> tuple[int, int]:
    await asyncio.sleep(0)
    return id(asyncio.get_running_loop()), threading.get_ident()


async def within(wait: Callable[[], object]) -> object:
    return wait()


def test_one_event_loop_serves_all_calls_wherever_they_come_from() -> None:
    waiter = Waiter()
    here, _ = waiter.wait(loop_and_thread())
    there = asyncio.run(within(lambda: waiter.wait(loop_and_thread())))
    assert isinstance(there, tuple)
    assert there[0] == here
    assert there[1] != threading.get_ident()
    asyncio.run(within(waiter.close))
    assert waiter.wait(loop_and_thread())[1] == threading.get_ident()  # it opens again
    waiter.close()


@pytest.mark.parametrize("notebook", [False, True])
def test_what_a_coroutine_raises_is_raised(notebook: bool) -> None:
    async def failing() -> None:
        raise LookupError("nothing there")

    def wait() -> None:
        wait_for(failing())

    with pytest.raises(LookupError, match="nothing there"):
        asyncio.run(within(wait)) if notebook else wait()
