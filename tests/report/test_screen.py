"""Long work is shown in a terminal and in a log; short work leaves no line."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.offload.steps import quiet_step
from understudy.progress import task
from understudy.report.offload.live import LiveDisplay
from understudy.report.screen import LogScreen, TerminalScreen, clock_time, screen_on


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Log:
    """A log whose time passes as it is told to; a second's watch is done by hand."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.file = io.StringIO()
        self.screen = LogScreen(Console(file=self.file, width=80), self.clock)

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.now += 1.0
            self.screen.check()

    @property
    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()


@pytest.fixture
def log() -> Log:
    return Log()


def test_short_work_leaves_no_line(log: Log) -> None:
    with log.screen:
        for _ in range(20):
            with task("examining facts", 10) as advance:
                log.pass_time(4)
                advance(10)
            log.screen.print("examined")
    assert set(log.lines) == {"examined"}


def test_work_without_parts_says_what_it_is_every_ten_seconds(log: Log) -> None:
    with log.screen, task("loading big/model"):
        log.pass_time(25)
    assert log.lines == [
        "loading big/model: 0:10 so far",
        "loading big/model: 0:20 so far",
    ]


def test_work_of_parts_says_how_long_it_will_take(log: Log) -> None:
    with log.screen, task("examining", 4) as done, task("strings [1]", 100) as advance:
        log.pass_time(9)
        advance(25)
        log.pass_time(1)
        advance(75)
        done(1)
        log.pass_time(10)
    assert log.lines == [
        "examining 0/4, strings [1] 25/100: 0:10 so far, about 0:30 left",
        "examining 1/4, strings [1] 100/100: 0:20 so far, about 1:00 left",
    ]


def test_a_line_of_the_run_itself_is_enough(log: Log) -> None:
    with log.screen, task("step 3"):
        for _ in range(5):
            log.pass_time(9)
            log.screen.print("still here")
    assert set(log.lines) == {"still here"}


def test_work_that_has_ended_or_failed_is_not_shown(log: Log) -> None:
    with log.screen:
        with pytest.raises(ZeroDivisionError), task("dividing"):
            raise ZeroDivisionError
        log.pass_time(30)
    with task("unseen"):
        log.pass_time(30)
    assert log.lines == []


def test_a_log_has_a_line_each_ten_steps_or_ten_seconds(log: Log) -> None:
    with LiveDisplay(log.screen, 12) as display:
        for step in range(1, 13):
            log.clock.now += 4.0 if step in (1, 2, 3) else 0.1
            display.step(quiet_step(step=step, task="facts"), 65.0)
    assert [line.split("  ")[0] for line in log.lines] == ["step 3/12", "step 10/12", "step 12/12"]
    assert log.lines[0].endswith(
        "phase 1 facts  local 0.50  system 0.75  asks 0.25 of 0.30  "
        "price of asking 0.50 in reward  left 1:05"
    )


def test_a_step_that_lasts_says_what_it_does(log: Log) -> None:
    with LiveDisplay(log.screen, 12) as display:
        display.step(quiet_step(step=1, task="facts"), 130.0)
        with task("drawing responses"):
            log.pass_time(10)
    words = "step 1/12 done, about 2:10 left; drawing responses: 0:10 so far"
    assert log.lines == [words]


def test_a_resumed_run_says_where_it_continues(log: Log) -> None:
    with LiveDisplay(log.screen, 12) as display:
        display.step(quiet_step(step=5, task="facts"), 65.0)
    assert log.lines == ["continuing after step 4 of 12"]


def terminal() -> tuple[io.StringIO, Console]:
    file = io.StringIO()
    return file, Console(file=file, width=120, force_terminal=True, color_system=None)


def test_a_terminal_shows_bars_of_work_that_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    file, console = terminal()
    screen = screen_on(console)
    assert isinstance(screen, TerminalScreen)
    with screen, task("examining facts [2]", 8) as advance:
        advance(2)
        screen._live.refresh()
        assert "examining" not in file.getvalue()  # it has only just begun
        monkeypatch.setattr("understudy.report.screen._SHORT", 0.0)
        screen._live.refresh()
    assert "examining facts [2]" in file.getvalue()
    assert "2/8" in file.getvalue()


def test_a_terminal_that_was_shown_nothing_is_left_clean() -> None:
    file, console = terminal()
    with screen_on(console):
        pass
    assert file.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (65, "1:05"), (3599.6, "1:00:00"), (3700, "1:01:40")]
)
def test_a_time_is_shown_as_a_clock_shows_it(seconds: float, shown: str) -> None:
    assert clock_time(seconds) == shown
