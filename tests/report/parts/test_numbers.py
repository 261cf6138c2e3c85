"""Numbers as a page shows them."""

from __future__ import annotations

import math

from understudy.report.parts.numbers import number, size


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
