"""Windows and pacing, worked by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from understudy.errors import ConfigError
from understudy.store.windows import Window, paced, paced_until


def minute(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) // 60


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        (Window.of("hour"), "2026-03-04T10:00", "2026-03-04T11:00"),
        (Window.of("day"), "2026-03-04T00:00", "2026-03-05T00:00"),
        (Window.of("week"), "2026-03-02T00:00", "2026-03-09T00:00"),
        (Window.of("month"), "2026-03-01T00:00", "2026-04-01T00:00"),
        (Window.of("day", timezone="Asia/Kolkata"), "2026-03-03T18:30", "2026-03-04T18:30"),
        (Window.of("hour", timezone="Asia/Kolkata"), "2026-03-04T10:30", "2026-03-04T11:30"),
    ],
)
def test_calendar_windows(window: Window, start: str, end: str) -> None:
    now = minute("2026-03-04T10:42")
    assert window.start(now) == minute(start)
    assert window.end(now) == minute(end)
    assert window.start(minute(end)) == minute(end)
    assert window.start(minute(end) - 1) == minute(start)


def test_a_day_is_shorter_where_clocks_are_put_forward() -> None:
    window = Window.of("day", timezone="Europe/Berlin")
    now = minute("2026-03-29T12:00")
    assert window.start(now) == minute("2026-03-28T23:00")
    assert window.end(now) == minute("2026-03-29T22:00")


@pytest.mark.parametrize(
    ("text", "rolling", "minutes", "name"),
    [("hour", True, 60, "1h"), ("30d", False, 43_200, "30d"), ("90m", False, 90, "90m")],
)
def test_a_rolling_window_is_always_the_last_minutes(
    text: str, rolling: bool, minutes: int, name: str
) -> None:
    window = Window.of(text, rolling)
    assert (window.start(100_000), window.end(100_000)) == (100_000 - minutes, None)
    assert window.name == name


def test_a_lifetime_begins_once_and_never_ends() -> None:
    assert (Window().start(5), Window().end(5)) == (0, None)


@pytest.mark.parametrize(
    ("text", "rolling", "timezone"),
    [("fortnight", False, "UTC"), ("0d", False, "UTC"), ("lifetime", True, "UTC"), ("day", 0, "X")],
)
def test_what_is_no_window_is_refused(text: str, rolling: bool, timezone: str) -> None:
    with pytest.raises(ConfigError):
        Window.of(text, rolling, timezone)


def test_pacing_lets_a_tenth_go_at_once_and_the_rest_evenly() -> None:
    def by(now_minutes: float) -> int:
        return paced(1000, 0.1, 0, 60, now_minutes * 60)

    assert [by(0), by(20), by(30), by(60), by(90)] == [100, 400, 550, 1000, 1000]
    assert paced_until(400, 1000, 0.1, 0, 60) == 20 * 60
    assert paced_until(50, 1000, 0.1, 0, 60) == 0
