"""`kill -9` while questions are on their way: the ledger is what the cloud says it served."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import func, select

from tests.gateway.served import Process, serving
from tests.gateway.upstream import Behaviour, MockUpstream
from understudy.clouds.prices import Prices
from understudy.store.database import open_database
from understudy.store.ledger import Ledger
from understudy.store.tables import holds

PRICES = Prices(1.0, 1.0, 10.0)
_SECONDS = 60.0


def arguments(mock: MockUpstream) -> list[str]:
    return [
        *("--local", "none", "--cloud", mock.url, "--cloud-model", "big", "--prices", "1/10"),
        *("--max-dollars", "100/day", "--set", f"clouds.main.usage_url={mock.usage_url}"),
        *("--set", "store.hold_seconds=6"),  # a call that the cloud has not heard of waits so long
    ]


async def ask_for_ever(url: str, number: int) -> None:
    """Whole answers and streams, some of which nobody reads to their end."""
    luck = random.Random(number)
    body = {"model": "auto", "messages": [{"role": "user", "content": "one two three"}]}
    async with aiohttp.ClientSession() as session:
        while True:
            stream = luck.random() < 0.7
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with session.post(
                    f"{url}/chat/completions", json={**body, "stream": stream}
                ) as response:
                    if luck.random() < 0.3:
                        await response.content.readany()
                    else:
                        await response.read()
            await asyncio.sleep(0.002)


async def begin(stack: contextlib.ExitStack, mock: MockUpstream, store: Path) -> Process:
    return await asyncio.to_thread(stack.enter_context, serving(*arguments(mock), store=store))


async def kill(process: Process, mock: MockUpstream, after: float) -> None:
    """While eight clients ask, so long after the first call that the cloud counted."""
    before = mock.total.calls
    clients = [asyncio.create_task(ask_for_ever(process.url, number)) for number in range(8)]
    async with asyncio.timeout(_SECONDS):
        while mock.total.calls == before:
            await asyncio.sleep(0.01)
    await asyncio.sleep(after)
    await asyncio.to_thread(process.stop, signal.SIGKILL)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)


def count_holds(ledger: Ledger) -> int:
    with ledger.database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(holds)).scalar_one())


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_after_kills_the_ledger_is_what_the_cloud_served(tmp_path: Path, kills: int) -> None:
    store, luck = tmp_path / "g.db", random.Random(0)

    async def go() -> None:
        async with MockUpstream.of(Behaviour(words=20, each_seconds=0.01)) as mock:
            for _ in range(kills):
                with contextlib.ExitStack() as stack:
                    process = await begin(stack, mock, store)
                    await kill(process, mock, luck.uniform(0.1, 0.6))
            ledger = Ledger(open_database(str(store)))
            with contextlib.ExitStack() as stack:
                process = await begin(stack, mock, store)
                async with asyncio.timeout(_SECONDS):
                    while count_holds(ledger):
                        await asyncio.sleep(0.1)
                await asyncio.to_thread(process.stop)
            used, spent = mock.total, ledger.spent("total")
            assert used.calls > 0
            assert spent.calls == used.calls
            dollars = PRICES.dollars(used.prompt_tokens, 0, used.completion_tokens)
            assert spent.dollars == pytest.approx(dollars, abs=1e-12)
            ledger.database.close()

    asyncio.run(go())
