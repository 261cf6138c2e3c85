"""Numbers as a page shows them."""

from __future__ import annotations

import math

from understudy.report.parts.numbers import count, lead_words, number, size


def test_numbers_are_written_in_few_letters() -> None:
    assert [size(value) for value in (0, 999, 11_000, 351_000_000, None)] == [
        "0\N{NO-BREAK SPACE}B",
        "999\N{NO-BREAK SPACE}B",
        "11.0\N{NO-BREAK SPACE}kB",
        "351\N{NO-BREAK SPACE}MB",
        "–",
    ]
    assert number(-0.5, sign="+") == "−0.50"
    assert number(math.nan) == "–"


def test_what_rounds_to_nothing_has_no_sign() -> None:
    assert (number(-0.0004, 3), number(-0.0), count(-0.2)) == ("0.000", "0.00", "0")
    assert (number(-0.004, sign="+"), number(0.004, sign="+")) == ("0.00", "0.00")
    assert (number(10.0, sign="+"), number(-0.006)) == ("+10.00", "−0.01")


def test_how_sure_the_best_is_the_best() -> None:
    close = {"a": (0.80, 0.01), "b": (0.79, 0.01), "c": (0.70, 0.01)}
    assert lead_words(close, "a") == "not clearly above b"
    # The difference to c is 0.1, two standard errors of it are 0.028.
    assert lead_words({"a": (0.8, 0.01), "c": (0.7, 0.01)}, "a") == ""
    assert lead_words({**close, "d": (0.8, 0.0)}, "a") == "not clearly above b and 1 more"
    assert lead_words({"a": (0.8, math.nan), "b": (0.1, math.nan)}, "a").startswith("by one seed")
    assert lead_words({"a": (0.8, 0.1)}, "a") == ""
