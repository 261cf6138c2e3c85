"""What ended requests have read: bounded, each version's own, the latest turn of each."""

from __future__ import annotations

from understudy.gateway.engine.history import History
from understudy.gateway.engine.lane import KeptRow
from understudy.gateway.engine.prefixes import common


def keep(history: History, version: str, tokens: range, size: int = 40) -> None:
    history.keep(tuple(tokens), KeptRow(version, None, len(tokens), None, size))


def test_the_longest_beginning_is_found_in_the_same_version_alone() -> None:
    history = History(1000)
    keep(history, "a@1", range(40))
    keep(history, "a@2", range(60))
    keep(history, "a@1", range(20))
    prompt = tuple(range(80))
    found = history.find("a@1", prompt, 0)
    assert found is not None
    assert (found[0].count, found[1]) == (40, 40)
    assert history.find("a@3", prompt, 0) is None
    assert history.find("a@1", prompt, 30) is None  # it spares too little beyond 30
    assert history.find("a@1", tuple(range(40)), 0) == (found[0], 39)  # one token is left


def test_a_conversation_that_goes_on_takes_its_own_place() -> None:
    history = History(1000)
    keep(history, "a@1", range(40))
    keep(history, "a@1", range(70))
    assert (len(history), history.size) == (1, 40)
    keep(history, "a@1", range(5, 70))
    assert len(history) == 2


def test_what_was_used_least_recently_goes() -> None:
    history = History(100)
    keep(history, "a@1", range(100, 140))
    keep(history, "a@1", range(200, 240))
    assert history.find("a@1", tuple(range(100, 150)), 0) is not None
    keep(history, "a@1", range(300, 340))
    assert history.find("a@1", tuple(range(200, 250)), 0) is None
    assert history.find("a@1", tuple(range(100, 150)), 0) is not None
    keep(history, "a@1", range(400, 440), size=101)  # larger than all of it
    assert history.size == 80
    history.forget("a@1")
    assert (len(history), history.size) == (0, 0)


def test_common_beginnings() -> None:
    for length in (0, 1, 63, 64, 65, 127, 128, 200):
        one = tuple(range(length))
        assert common(one, (*one, -1)) == length
        assert common((*one, -2, 7), (*one, -1, 7)) == length
