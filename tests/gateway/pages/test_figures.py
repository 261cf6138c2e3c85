"""Numbers as people read them, and the cookie of a session."""

from __future__ import annotations

import doctest
import math

import pytest

from understudy.gateway.pages import figures, sessions
from understudy.store import quantiles


@pytest.mark.parametrize("module", [figures, quantiles])
def test_examples(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted
    assert not found.failed


def test_what_is_not_known_is_a_dash() -> None:
    for shown in (figures.count, figures.share, figures.dollars, figures.duration):
        assert shown(None) == shown(math.nan) == "–"


def test_nearly_all_is_not_all() -> None:
    assert figures.share(0.9999) == ">99.9\N{NO-BREAK SPACE}%"


def test_a_session_is_good_until_it_expires_and_only_as_it_was_made() -> None:
    made = sessions.opened("key_1", b"hash of key 1", now=1000)
    found = sessions.read(str(made))
    assert found == made
    assert found.is_good(b"hash of key 1", now=1000)
    assert not found.is_good(b"hash of key 2", now=1000)
    assert not found.is_good(b"hash of key 1", now=1000 + sessions.SECONDS)
    later = sessions.read(str(made).replace(str(made.expires), str(made.expires + 9)))
    assert later is not None
    assert not later.is_good(b"hash of key 1", now=1000)
    other = sessions.read(str(made).replace("key_1", "key_2"))
    assert other is not None
    assert not other.is_good(b"hash of key 1", now=1000)


@pytest.mark.parametrize("cookie", ["", "a.b.c", "key_1.5", "é.1." + "0" * 64, "k.1." + "G" * 64])
def test_what_is_no_session(cookie: str) -> None:
    assert sessions.read(cookie) is None
