"""What a terminal, or a log, says of agents that share."""

from __future__ import annotations

import io
import math

from rich.console import Console

from understudy.report.screen import screen_on
from understudy.report.share.live import ShareDisplay, agent_lines


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_log_has_a_line_each_ten_rounds_and_the_last() -> None:
    console = Console(file=io.StringIO(), width=80)
    with ShareDisplay(screen_on(console), 25) as display:
        display.round("[b]modular", 0, "task 0", [0.5], 0, math.nan)  # nothing is done as yet
        for turn in range(1, 26):
            display.round("[b]modular", turn, f"task {turn // 5}", [0.5, 0.75], 41_600, 65)
        display.finished("[b]modular", 0.9256)
        display.warning("agent [0] hears nobody")
    lines = written(console).splitlines()
    assert [line.split("  ")[1] for line in lines[:-2]] == [
        "round 10/25",
        "round 20/25",
        "round 25/25",
    ]
    figures = "accuracy 0.62 (0.50 to 0.75)  sent 41.6\N{NO-BREAK SPACE}k floats  left 1:05"
    assert lines[0] == f"[b]modular  round 10/25  task 2  {figures}"
    assert lines[-2:] == ["[b]modular: accuracy 0.926", "warning: agent [0] hears nobody"]


def test_a_log_is_not_silent_where_only_some_rounds_are_told_of() -> None:
    console = Console(file=io.StringIO(), width=80)
    with ShareDisplay(screen_on(console), 40) as display:
        for turn in (3, 6, 9, 12, 15, 21, 24, 40, 40, 5, 11):
            display.round("a", turn, "task 1", [0.5], 10, 1)
    told = [line.split("  ")[1] for line in written(console).splitlines()]
    assert told == [f"round {turn}/40" for turn in (12, 24, 40, 11)]


def test_a_terminal_shows_a_bar_and_every_agent() -> None:
    console = Console(file=io.StringIO(), width=160, force_terminal=True, color_system=None)
    with ShareDisplay(screen_on(console), 4) as display:
        assert written(console) == ""  # a refused run shows none
        display.round("modular, FedAvg", 3, "task 2", [0.25, None, 1.0], 100, 3700)
        display.finished("modular, FedAvg", 0.5)
    text = written(console)
    assert "modular, FedAvg" in text
    assert "3/4" in text
    assert "left 1:01:40" in text
    assert "agent  2  1.00" in text
    assert "modular, FedAvg: accuracy 0.500" in text


def test_bars_are_as_long_as_accuracies() -> None:
    lengths = [line.plain.count("━") for line in agent_lines([0.0, 0.5, 1.0, None])]
    assert lengths == [0, 15, 30, 0]


def test_many_agents_share_one_line() -> None:
    (line,) = agent_lines([0.5] * 12 + [0.9])
    assert line.plain.strip() == "13 agents: 0.53 (0.50 to 0.90)"
    assert len(agent_lines([0.5] * 12)) == 12
