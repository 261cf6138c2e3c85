"""The ledger over a real SQLite file."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import update

from understudy.errors import ConfigError, LedgerUnavailable
from understudy.store import checkpoints
from understudy.store.caps import Cap, Refusal
from understudy.store.compaction import compact
from understudy.store.database import open_database
from understudy.store.ledger import Ledger
from understudy.store.operations import Hold
from understudy.store.tables import accounts
from understudy.types import Cost

SCOPES = ("total", "team:blue", "key:ann")
DAY = 86_400.0


class Clock:
    def __init__(self, now: float = 20_000 * DAY) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def ledger_at(file: Path, *caps: Cap, clock: Clock | None = None) -> Ledger:
    return Ledger(open_database(file), caps, clock=clock or Clock())


def held(found: Hold | Refusal) -> Hold:
    assert isinstance(found, Hold), found
    return found


def refused(found: Hold | Refusal) -> Refusal:
    assert isinstance(found, Refusal), found
    return found


def calls(number: int = 1) -> Cost:
    return Cost(number)


def test_spent_and_held_never_pass_a_cap(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path / "l.db", Cap.of("total", "dollars", 1))
    first = held(ledger.reserve(SCOPES, Cost(1, dollars=0.6)))
    assert not refused(ledger.reserve(SCOPES, Cost(1, dollars=0.6))).final
    ledger.settle(first, Cost(1, dollars=0.3))
    second = held(ledger.reserve(SCOPES, Cost(1, dollars=0.7)))
    ledger.release(second)
    third = held(ledger.reserve(SCOPES, Cost(1, dollars=5), Cost(1, dollars=0.1)))
    assert third.cost.dollars == pytest.approx(0.7)
    ledger.settle(third, third.cost)
    assert refused(ledger.reserve(SCOPES, Cost(1, dollars=1e-6))).final
    assert ledger.spent("total") == Cost(2, dollars=1.0)
    assert ledger.spent("key:ann") == Cost(2, dollars=1.0)


def test_caps_of_keys_and_teams_count_apart(tmp_path: Path) -> None:
    caps = Cap.of("key:*", "calls", 1), Cap.of("team:blue", "calls", 2), Cap.of("total", "calls", 4)
    ledger = ledger_at(tmp_path / "l.db", *caps)

    def ask(key: str, team: str) -> Hold | Refusal:
        return ledger.reserve(("total", f"team:{team}", f"key:{key}"), calls())

    held(ask("ann", "blue"))
    assert refused(ask("ann", "blue")).scope == "key:ann"
    held(ask("bob", "blue"))
    assert refused(ask("cid", "blue")).scope == "team:blue"
    held(ask("dan", "red"))
    held(ask("eve", "red"))
    assert refused(ask("fay", "red")).scope == "total"


def test_a_window_that_begins_anew_has_its_whole_cap(tmp_path: Path) -> None:
    clock = Clock()
    ledger = ledger_at(tmp_path / "l.db", Cap.of("total", "calls", 2, "day"), clock=clock)
    ledger.settle(held(ledger.reserve(SCOPES, calls())), calls())
    late = held(ledger.reserve(SCOPES, calls()))
    no_room = refused(ledger.reserve(SCOPES, calls()))
    assert (no_room.final, no_room.resets_at) == (False, None)  # as soon as the hold is released
    assert refused(ledger.reserve(SCOPES, calls(2))).resets_at == 20_001 * DAY
    clock.now += DAY
    # What was reserved yesterday is yesterday's, held or settled.
    assert held(ledger.reserve(SCOPES, calls())).left == {"calls/day": 1}
    ledger.settle(late, calls())
    assert held(ledger.reserve(SCOPES, calls())).left == {"calls/day": 0}
    assert ledger.spent("total") == calls(2)


def test_what_a_rolling_window_leaves_behind_is_room_again(tmp_path: Path) -> None:
    clock = Clock()
    ledger = ledger_at(tmp_path / "l.db", Cap.of("total", "calls", 2, "1h"), clock=clock)
    for _ in range(2):
        ledger.settle(held(ledger.reserve(SCOPES, calls())), calls())
        clock.now += 600
    assert refused(ledger.reserve(SCOPES, calls())).resets_at == clock.now - 1200 + 3660
    clock.now += 2400  # an hour after the first
    refused(ledger.reserve(SCOPES, calls()))
    clock.now += 60
    held(ledger.reserve(SCOPES, calls()))
    refused(ledger.reserve(SCOPES, calls()))


def test_a_share_holds_for_every_number_of_questions(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path / "l.db", Cap.of("total", "share", 0.3))
    refused(ledger.reserve(SCOPES, calls()))
    asked = 0
    for seen in range(1, 21):
        ledger.see(SCOPES)
        found = ledger.reserve(SCOPES, calls())
        if isinstance(found, Hold):
            asked += 1
            ledger.settle(found, calls())
        assert asked == -(-3 * seen // 10)


def test_a_paced_cap_is_not_spent_by_nine_in_the_morning(tmp_path: Path) -> None:
    clock = Clock()
    cap = Cap.of("total", "calls", 24, "day", paced=True, at_once=0)
    ledger = ledger_at(tmp_path / "l.db", cap, clock=clock)
    early = refused(ledger.reserve(SCOPES, calls()))
    assert early.final
    assert early.resets_at == clock.now + 3600
    clock.now += 9 * 3600
    for _ in range(9):
        held(ledger.reserve(SCOPES, calls()))
    refused(ledger.reserve(SCOPES, calls()))


def test_a_cap_that_is_added_counts_what_was_spent_before(tmp_path: Path) -> None:
    first = ledger_at(tmp_path / "l.db")
    first.settle(held(first.reserve(SCOPES, calls())), calls())
    open_hold = held(first.reserve(SCOPES, calls()))
    second = ledger_at(tmp_path / "l.db", Cap.of("key:ann", "calls", 3, "day"))
    (standing,) = second.standing(SCOPES)
    assert (standing.spent, standing.held, standing.left) == (1, 1, 1)
    first.release(open_hold)
    assert ledger_at(tmp_path / "l.db", *second.caps).standing(SCOPES)[0].left == 2


def test_a_call_that_costs_more_than_was_held_is_charged_and_noted(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path / "l.db", Cap.of("total", "dollars", 1))
    ledger.settle(held(ledger.reserve(SCOPES, Cost(1, dollars=0.5))), Cost(1, dollars=2))
    assert ledger.overruns == 1
    assert ledger.standing(SCOPES)[0].spent == 2
    assert ledger.standing(SCOPES)[0].left == 0


def test_a_hold_ends_once(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path / "l.db", Cap.of("total", "calls", 5))
    hold = held(ledger.reserve(SCOPES, calls()))
    ledger.settle(hold, calls())
    with pytest.raises(ValueError, match="settled or released before"):
        ledger.release(hold)
    assert ledger.spent("total") == calls(1)


def test_a_settlement_after_a_hold_was_resolved_corrects_the_charge(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path / "l.db", Cap.of("total", "dollars", 1))
    hold = held(ledger.reserve(SCOPES, Cost(1, 10, 90, dollars=0.9)))
    resolved = ledger.resolve(hold, None)
    assert resolved is not None
    assert resolved.how == "upper bound"
    assert ledger.resolve(hold, None) is None
    assert ledger.spent("total").dollars == 0.9
    ledger.settle(hold, Cost(1, 10, 20, dollars=0.2))
    assert ledger.spent("total") == Cost(1, 30, dollars=0.2)
    assert ledger.standing(SCOPES)[0].left == 0.8


def test_a_database_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path / "l.db", Cap.of("total", "calls", 5))
    hold = held(ledger.reserve(SCOPES, calls()))
    with ledger.database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE accounts RENAME TO gone")
    with pytest.raises(LedgerUnavailable, match=r"l\.db: cannot be used now \(no such table"):
        ledger.reserve(SCOPES, calls())
    with ledger.database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO accounts")
    ledger.settle(hold, calls())


@pytest.mark.parametrize("url", ["mysql://x/y", "http://", "/no/such/folder/l.db", "/tmp"])
def test_what_is_no_database_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        open_database(url)


def test_a_database_of_another_version_is_refused(tmp_path: Path) -> None:
    database = open_database(tmp_path / "l.db")
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE schema SET version = 99")
    with pytest.raises(ConfigError, match="version 99"):
        open_database(tmp_path / "l.db")


def test_the_log_is_copied_while_others_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(checkpoints, "_WORTH_TRANSACTIONS", 20)
    ledger = ledger_at(tmp_path / "l.db", Cap.of("total", "calls", 500))
    running = checkpoints.Checkpoints(ledger)
    empty = (tmp_path / "l.db").stat().st_size
    for number in range(200):
        scopes = ("total", f"key:{number}")
        ledger.settle(held(ledger.reserve(scopes, calls())), calls())
    for _ in range(600):
        if (tmp_path / "l.db").stat().st_size > empty:
            break
        time.sleep(0.05)
    running.stop()
    assert (tmp_path / "l.db").stat().st_size > empty
    assert ledger.spent("total") == calls(200)


def test_old_minutes_become_days_and_every_cap_still_counts_them(tmp_path: Path) -> None:
    clock = Clock(20_000 * DAY + 60.0)
    caps = [Cap.of("total", "calls", 10_000), Cap.of("key:ann", "calls", 10_000, "92d")]
    ledger = ledger_at(tmp_path / "l.db", *caps, clock=clock)

    def counted() -> list[float]:
        return [each.spent for each in ledger.standing(SCOPES)]

    spent_at = []
    for _ in range(120):
        ledger.settle(held(ledger.reserve(SCOPES, calls())), calls())
        spent_at.append(clock.now)
        clock.now += DAY / 7
    clock.now += 85 * DAY
    recent = sum(at // 60 >= clock.now // 60 - 92 * 1440 for at in spent_at)
    assert counted() == [120, recent]
    assert compact(ledger.database, clock.now) > 0
    assert compact(ledger.database, clock.now) == 0
    assert counted() == [120, recent]
    clock.now += 5 * DAY + 17_777
    recent = sum(at // 60 >= clock.now // 60 - 92 * 1440 for at in spent_at)
    assert counted() == [120, recent]
    assert ledger.spent("key:ann") == calls(120)
    late = ledger_at(tmp_path / "l.db", *caps, clock=clock)
    assert [each.spent for each in late.standing(SCOPES)] == [120, recent]


def test_a_clock_that_is_put_back_lets_nothing_through(tmp_path: Path) -> None:
    clock = Clock()
    ledger = ledger_at(tmp_path / "l.db", Cap.of("total", "calls", 2, "day"), clock=clock)
    ledger.settle(held(ledger.reserve(SCOPES, calls())), calls())
    clock.now -= 2 * DAY
    hold = held(ledger.reserve(SCOPES, calls()))
    refused(ledger.reserve(SCOPES, calls()))
    ledger.settle(hold, calls())
    assert refused(ledger.reserve(SCOPES, calls())).final


def test_opening_a_file_again_does_not_give_up_its_locks(tmp_path: Path) -> None:
    """POSIX: a process that closes a file loses its locks on it, whoever in it took them."""
    ledger = ledger_at(tmp_path / "l.db", Cap.of("total", "calls", 5))
    held(ledger.reserve(SCOPES, calls()))
    open_database(tmp_path / "l.db").close()
    other = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT 1 FROM holds')"
    )
    subprocess.run([sys.executable, "-c", other, str(tmp_path / "l.db")], check=True)
    # Whoever closes last removes the log: the other process was not the last.
    assert (tmp_path / "l.db-wal").exists()


def test_nobody_else_may_read_the_file(tmp_path: Path) -> None:
    open_database(tmp_path / "l.db")
    assert (tmp_path / "l.db").stat().st_mode & 0o077 == 0


def test_a_process_that_does_not_know_a_cap_keeps_its_account_right(tmp_path: Path) -> None:
    now = 20_000 * 86_400.0
    cap = Cap.of("key:ann", "dollars", 1, "1h")
    file = tmp_path / "l.db"
    knows = Ledger(open_database(file), [cap], clock=lambda: now)
    knows_not = Ledger(open_database(file), clock=lambda: now)
    scopes = ("total", "key:ann")
    for ledger in (knows, knows_not):
        hold = knows.reserve(scopes, Cost(1, dollars=0.4))
        assert isinstance(hold, Hold)
        ledger.resolve(hold, Cost(1, dollars=0.4))
    (standing,) = knows.standing(scopes)
    assert (standing.spent, standing.held) == (0.8, 0)
    assert isinstance(knows_not.reserve(scopes, Cost(1, dollars=0.1)), Hold)
    assert knows.standing(scopes)[0].held == 0.1
    assert isinstance(knows.reserve(scopes, Cost(1, dollars=0.2)), Refusal)
    now += 3700
    (standing,) = knows.standing(scopes)
    assert (standing.spent, standing.held) == (0, 0)


def test_an_account_that_would_go_below_nothing_is_summed_up_afresh(tmp_path: Path) -> None:
    cap = Cap.of("total", "dollars", 1, "1h")
    database = open_database(tmp_path / "l.db")
    ledger = Ledger(database, [cap])
    first, second = [ledger.reserve(("total",), Cost(1, dollars=0.3)) for _ in range(2)]
    assert isinstance(first, Hold)
    assert isinstance(second, Hold)
    with database.writing() as connection:
        connection.execute(update(accounts).values(held_dollars=0, held_calls=0))
    ledger.settle(first, Cost(1, dollars=0.3))
    (standing,) = ledger.standing(("total",))
    assert (standing.spent, standing.held) == (0.3, 0.3)
