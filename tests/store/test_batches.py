"""The ledger's face for asyncio, over a real SQLite file."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import LedgerUnavailable
from understudy.store import recovery
from understudy.store.batches import AsyncLedger
from understudy.store.caps import Cap, Refusal
from understudy.store.database import open_database
from understudy.store.ledger import Ledger
from understudy.store.operations import Hold, Resolved
from understudy.types import Cost

SCOPES = ("total", "key:ann")
ONE = Cost(1)

pytestmark = pytest.mark.anyio


def face(file: Path, *caps: Cap, **options: Any) -> AsyncLedger:
    return AsyncLedger(Ledger(open_database(file), caps), **options)


@pytest.mark.parametrize("durable", [False, True])
async def test_many_at_once_share_transactions_and_spend_the_cap_to_the_last_call(
    tmp_path: Path, durable: bool
) -> None:
    database = open_database(tmp_path / "l.db", durable=durable)
    async with AsyncLedger(Ledger(database, [Cap.of("total", "calls", 20)]), patience=60) as ledger:
        transactions = 0
        run = ledger.ledger.run

        def counted(operations: Any, **given: Any) -> Any:
            nonlocal transactions
            transactions += 1
            return run(operations, **given)

        ledger.ledger.run = counted  # type: ignore[method-assign]

        async def request(number: int) -> bool:
            found = await ledger.reserve(SCOPES, ONE)
            if isinstance(found, Refusal):
                assert found.final
                return False
            await asyncio.sleep(0)
            if number % 3 == 0:  # the call failed before it was made
                await ledger.release(found)
                return False
            await ledger.settle(found, ONE)
            return True

        answered = await asyncio.gather(*map(request, range(100)))
        assert sum(answered) == 20
        assert transactions < 100
        assert ledger.ledger.spent("total") == Cost(20)


async def test_nobody_is_refused_while_others_may_give_room_back(tmp_path: Path) -> None:
    async with face(tmp_path / "l.db", Cap.of("total", "calls", 1)) as ledger:
        first = await ledger.reserve(SCOPES, ONE)
        assert isinstance(first, Hold)
        second = asyncio.create_task(ledger.reserve(SCOPES, ONE))
        await asyncio.sleep(0.05)
        assert not second.done()
        await ledger.release(first)
        assert isinstance(await second, Hold)
        assert isinstance(await ledger.reserve(SCOPES, ONE, patience=0), Refusal)


async def test_room_that_another_process_gives_back_is_found(tmp_path: Path) -> None:
    cap = Cap.of("total", "calls", 1)
    async with face(tmp_path / "l.db", cap) as ledger, face(tmp_path / "l.db", cap) as other:
        hold = await ledger.reserve(SCOPES, ONE)
        assert isinstance(hold, Hold)
        waiting = asyncio.create_task(other.reserve(SCOPES, ONE))
        await asyncio.sleep(0.05)
        ledger.release(hold)
        assert isinstance(await waiting, Hold)


@pytest.mark.parametrize("pauses", range(4))
async def test_whoever_hangs_up_holds_nothing(tmp_path: Path, pauses: int) -> None:
    async with face(tmp_path / "l.db", Cap.of("total", "calls", 1)) as ledger:
        task = asyncio.create_task(ledger.reserve(SCOPES, ONE))
        for _ in range(pauses):
            await asyncio.sleep(0.002)
        task.cancel()
        (found,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(found, Hold):  # it came first
            await ledger.release(found)
        assert isinstance(await ledger.reserve(SCOPES, ONE, patience=30), Hold)


async def test_another_process_that_writes_is_waited_for_in_a_thread(tmp_path: Path) -> None:
    async with face(tmp_path / "l.db", Cap.of("total", "calls", 1)) as ledger:
        with ledger.ledger.database.writing():
            waiting = asyncio.create_task(ledger.reserve(SCOPES, ONE))
            await asyncio.sleep(0.1)  # the loop goes on meanwhile
            assert not waiting.done()
        assert isinstance(await waiting, Hold)


async def test_a_share_is_of_what_came_before(tmp_path: Path) -> None:
    async with face(tmp_path / "l.db", Cap.of("total", "share", 0.5)) as ledger:
        asked = 0
        for _ in range(9):
            ledger.see(SCOPES)
            found = await ledger.reserve(SCOPES, ONE)
            if isinstance(found, Hold):
                asked += 1
                ledger.settle(found, ONE)
        assert asked == 5


async def test_a_wrong_cost_fails_alone(tmp_path: Path) -> None:
    async with face(tmp_path / "l.db", Cap.of("total", "calls", 5)) as ledger:
        good = asyncio.create_task(ledger.reserve(SCOPES, ONE))
        with pytest.raises(ValueError, match="finite number"):
            await ledger.reserve(SCOPES, Cost(1, dollars=float("nan")))
        assert isinstance(await good, Hold)


async def test_while_the_database_is_gone_nothing_is_promised_and_nothing_is_forgotten(
    tmp_path: Path,
) -> None:
    async with face(tmp_path / "l.db", Cap.of("total", "calls", 5)) as ledger:
        hold = await ledger.reserve(SCOPES, ONE)
        assert isinstance(hold, Hold)
        with ledger.ledger.database.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE accounts RENAME TO gone")
        with pytest.raises(LedgerUnavailable):
            await ledger.reserve(SCOPES, ONE)
        with pytest.raises(LedgerUnavailable):  # at once: it is not even tried
            await ledger.reserve(SCOPES, ONE)
        assert ledger.is_down
        await ledger.settle(hold, ONE)  # kept
        with ledger.ledger.database.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE gone RENAME TO accounts")
        async with asyncio.timeout(30):
            while ledger.ledger.spent("total") != ONE:
                await asyncio.sleep(0.05)
        assert not ledger.is_down
        (standing,) = await ledger.standing(SCOPES)
        assert (standing.spent, standing.held) == (1, 0)


@pytest.mark.parametrize("durable", [False, True])
async def test_clients_that_leave_at_any_moment_leave_no_hold(
    tmp_path: Path, durable: bool
) -> None:
    chance = random.Random(0)
    served: list[int] = []
    database = open_database(tmp_path / "l.db", durable=durable)
    caps = [Cap.of("total", "tokens", 3000), Cap.of("key:ann", "share", 0.5)]
    async with AsyncLedger(Ledger(database, caps), patience=0.2) as ledger:

        async def client() -> None:
            ledger.see(SCOPES)
            most = Cost(1, 10, chance.randint(1, 200))
            found = await ledger.reserve(SCOPES, most, Cost(1, 10, 1))
            if isinstance(found, Refusal):
                return
            used = Cost(1, 10, chance.randint(1, found.cost.completion_tokens))
            try:
                await asyncio.sleep(chance.uniform(0, 0.02))
            except asyncio.CancelledError:
                served.append(used.completion_tokens)
                ledger.settle(found, used)  # nobody waits for it
                raise
            served.append(used.completion_tokens)
            await ledger.settle(found, used)

        for _ in range(30):
            tasks = [asyncio.create_task(client()) for _ in range(8)]
            for task in tasks:
                if chance.random() < 0.5:
                    asyncio.get_running_loop().call_later(chance.uniform(0, 0.03), task.cancel)
            await asyncio.gather(*tasks, return_exceptions=True)
        tokens, share = await ledger.standing(SCOPES)
        assert (tokens.held, share.held) == (0, 0)
        assert tokens.spent == sum(served) + 10 * len(served)
        assert tokens.spent <= 3000
        assert share.spent == len(served)
    assert recovery.own_holds(ledger.ledger, float("inf")) == []


async def test_what_a_process_still_holds_when_it_ends_is_resolved_at_once(tmp_path: Path) -> None:
    found: list[Resolved] = []
    cap = Cap.of("total", "dollars", 5)
    async with face(tmp_path / "l.db", cap) as ledger:
        hold = await ledger.reserve(SCOPES, Cost(1, dollars=2))
        assert isinstance(hold, Hold)

    async def usage(hold: Hold) -> Cost:
        return Cost(1, dollars=0.5)

    async with face(tmp_path / "l.db", cap, usage=usage, resolved=found.append) as ledger:
        async with asyncio.timeout(30):
            while not found:
                await asyncio.sleep(0.01)
        (standing,) = await ledger.standing(SCOPES)
        assert (standing.spent, standing.held) == (0.5, 0)
    assert (found[0].how, found[0].hold.id) == ("usage", hold.id)


async def test_what_the_cloud_never_heard_of_is_believed_once_the_hold_expired(
    tmp_path: Path,
) -> None:
    async def usage(hold: Hold) -> Cost:
        return Cost()

    now = 1000.0
    database = open_database(tmp_path / "l.db")
    lost = Ledger(database, clock=lambda: now)
    assert isinstance(lost.reserve(SCOPES, ONE), Hold)
    lost.close()
    ledger = AsyncLedger(Ledger(database, clock=lambda: now))
    assert await recovery.resolve_orphans(ledger, usage) == []
    now += lost.hold_seconds + 1
    (found,) = await recovery.resolve_orphans(ledger, usage)
    assert found.cost == Cost()
    await ledger.close()


async def test_closing_writes_what_is_on_its_way(tmp_path: Path) -> None:
    cap = Cap.of("total", "calls", 5)
    async with face(tmp_path / "l.db", cap) as ledger:
        hold = await ledger.reserve(SCOPES, ONE)
        assert isinstance(hold, Hold)
        ledger.settle(hold, ONE)
    assert Ledger(open_database(tmp_path / "l.db"), [cap]).standing(SCOPES)[0].spent == 1


async def test_what_cannot_be_counted_is_refused_or_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with face(tmp_path / "l.db", Cap.of("total", "tokens", 1e15)) as ledger:
        dear, endless = Cost(1, 0, 5, dollars=9008), Cost(1, 0, 5, dollars=float("inf"))
        for most in (Cost(1, 0, 10**30), dear, endless):
            by_threads = ledger.ledger.reserve(SCOPES, most)
            for found in (await ledger.reserve(SCOPES, most, ONE), by_threads):
                assert isinstance(found, Refusal)
                assert found.final
                assert "more than the ledger counts of one, $9007" in found.reason
        with pytest.raises(ValueError, match="a cost is a finite number"):
            await ledger.reserve(SCOPES, Cost(1, 0, 5, dollars=-1.0))
        hold = await ledger.reserve(SCOPES, ONE)
        assert isinstance(hold, Hold)
        await ledger.settle(hold, Cost(1, 5, 10**30, dollars=float("inf")))
        assert "cannot be right" in caplog.text
        spent = ledger.ledger.spent("total")
        assert spent == Cost(1, 5 + 2**52, dollars=9007)


@pytest.mark.parametrize("durable", [False, True])
async def test_an_operation_that_fails_does_not_take_its_batch_with_it(
    tmp_path: Path, durable: bool
) -> None:
    database = open_database(tmp_path / "l.db", durable=durable)
    async with AsyncLedger(Ledger(database, [Cap.of("total", "calls", 10)])) as ledger:
        first, second = [await ledger.reserve(SCOPES, ONE) for _ in range(2)]
        assert isinstance(first, Hold)
        assert isinstance(second, Hold)
        wrong = Hold(ONE, second.id, ("total", 7), second.minute)  # type: ignore[arg-type]
        done = await asyncio.gather(
            ledger.settle(first, ONE),
            ledger.settle(wrong, Cost(1)),
            ledger.reserve(SCOPES, ONE),
            return_exceptions=True,
        )
        assert done[0] is None
        assert isinstance(done[1], Exception)
        assert isinstance(done[2], Hold)
        assert ledger.ledger.spent("total") == ONE
        assert not ledger.is_down


async def test_holds_are_kept_alive_while_a_cloud_is_slow_about_orphans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "l.db"
    now = 1_000_000.0
    left = Ledger(open_database(file), clock=lambda: now, hold_seconds=1)
    for _ in range(3):
        left.reserve(SCOPES, ONE)
    left.close()
    now += 100
    asked = 0
    renewed = asyncio.Event()
    renew = recovery.renew

    async def usage(hold: Hold) -> Cost:
        nonlocal asked
        asked += 1
        return await asyncio.get_running_loop().create_future()

    def counted(ledger: Ledger) -> None:
        renew(ledger)
        if asked == 3:  # all at once, and none was answered
            loop.call_soon_threadsafe(renewed.set)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(recovery, "renew", counted)
    ledger = Ledger(open_database(file), clock=lambda: now, hold_seconds=0.3)
    async with AsyncLedger(ledger, usage=usage):
        await asyncio.wait_for(renewed.wait(), 60)


async def test_a_cloud_that_never_says_what_it_served_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_ASK_SECONDS", 0.01)
    now = 1_000_000.0
    ledger = face(tmp_path / "l.db")  # without upkeep
    ledger.ledger.clock = lambda: now
    await ledger.reserve(SCOPES, ONE)
    now += 10_000

    async def usage(hold: Hold) -> Cost:
        return await asyncio.get_running_loop().create_future()

    (found,) = await recovery.resolve_orphans(ledger, usage)
    assert found.how == "upper bound"
    await ledger.close()
