"""Numbers as people write them: what they are worth exactly, and what is no number."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.tasks.numbers import exact_number, last_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18", "18"),
        (" 18. ", "18"),
        ("$1,234.50", "1234.5"),
        ("\\$1,234.50", "1234.5"),
        ("-$5", "-5"),
        ("−3", "-3"),
        ("+7", "7"),
        ("70%", "70"),
        ("70\\%", "70"),
        ("3/4", "0.75"),
        ("\\frac{3}{4}", "0.75"),
        ("-\\dfrac{1}{2}", "-0.5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("0.10", "0.1"),
        ("1,234,567", "1234567"),
        ("1{,}000", "1000"),
        ("10\\,000", "10000"),
        ("**42**", "42"),
        ("$18$", "18"),
        ("= 18", "18"),
        ("18 €", "18"),
        ("007", "7"),
    ],
)
def test_a_number_is_read(text: str, value: str) -> None:
    assert exact_number(text) == Fraction(value)


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "-", "/", "x", "5x", "5 x", "3 + 4", "5*6", "3 4", "1,2", "1,23", "12,3456", "2^3",
        "(1,2)", "1/0", "\\frac{1}{0}", "1e9", "0x10", "1/2/3", "1.2.3", "5\\text{ and }6", "½",
        "٣", "9" * 61, "\\sqrt{2}", "5%6", "12:30",
    ],
)  # fmt: skip
def test_anything_else_is_none(text: str) -> None:
    assert exact_number(text) is None


@pytest.mark.parametrize("text", ["18 dollars.", "18 square feet", "18\\text{ cm}", "$18 per day"])
def test_a_unit_is_read_over_where_asked_for(text: str) -> None:
    assert exact_number(text, units=True) == 18
    assert exact_number(text) is None


@given(st.integers(-(10**40), 10**40), st.integers(0, 12))
def test_what_python_writes_is_read_back(number: int, places: int) -> None:
    value = Fraction(number, 10**places)
    sign, digits = "-" * (number < 0), str(abs(number)).rjust(places + 1, "0")
    whole, part = digits[: len(digits) - places], digits[len(digits) - places :]
    assert exact_number(f"{sign}{int(whole):,}.{part}") == value
    assert exact_number(f"{sign}{whole}.{part}") == value


@given(st.text(max_size=80))
def test_no_text_raises(text: str) -> None:
    exact_number(text)
    exact_number(text, units=True)


def test_a_long_text_is_read_at_once() -> None:
    for text in ("9" * 100_000, "1," * 50_000, "1 " * 50_000 + "x", "$" * 100_000, " a" * 50_000):
        assert exact_number(text, units=True) is None


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("first 3, then 4 apples.", "4"),
        ("costs $1,200.50 today", "$1,200.50"),
        ("from 5-3 we get -2", "-2"),
        ("8-3", "3"),
        ("none", None),
    ],
)
def test_the_last_number_of_a_text(text: str, last: str | None) -> None:
    assert last_number(text) == last
