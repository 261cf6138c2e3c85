"""Colours of the theme, light and dark, held to WCAG 2.2 AA: text 4.5 to 1, marks 3 to 1."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from understudy.gateway import pages

STATIC = Path(pages.__file__).parent / "static"
CSS = "".join((STATIC / name).read_text() for name in ("dashboard.css", "pieces.css"))
SURFACES = ("page", "card", "rail", "alert")
_COLOUR = re.compile(r"light-dark\((#\w{6}), (#\w{6})\)")


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it.

    >>> luminance("#000000"), luminance("#ffffff")
    (0.0, 1.0)
    """
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def variables() -> dict[str, tuple[str, str]]:
    """Of :root: light and dark."""
    said = dict(re.findall(r"--([\w-]+): ([^;]+);", CSS))
    found = {}
    for name, value in said.items():
        if alias := re.fullmatch(r"var\(--([\w-]+)\)", value):
            value = said[alias[1]]
        if match := _COLOUR.fullmatch(value):
            found[name] = (match[1], match[2])
    return found


VARIABLES = variables()


def pair(value: str) -> tuple[str, str] | None:
    """None: it is no colour of its own."""
    if match := _COLOUR.search(value):
        return match[1], match[2]
    match = re.search(r"var\(--([\w-]+)\)", value)
    return VARIABLES.get(match[1]) if match else None


def declared(name: str) -> Iterator[tuple[str, str, tuple[str, str]]]:
    """Every rule that sets a property to a colour: (selector, value, light and dark)."""
    for selector, body in re.findall(r"([^{}]+)\{([^{}]*)\}", CSS):
        for value in re.findall(rf"(?<![\w-]){name}: ([^;}}]+)", body):
            if (found := pair(value)) is not None:
                yield selector.strip(), value.strip(), found


# The colour of a pseudo-element without text, or one that a chart draws lines in.
MARKS = [each for each in declared("color") if re.search(r"::before|\.probe", each[0])]
TEXTS = [each for each in declared("color") if each not in MARKS]
ON_ACCENT = "var(--on-accent)"


def test_the_arithmetic() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert len(TEXTS) > 20
    assert len(MARKS) > 8


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read(theme: int) -> None:
    texts = {value: found for _, value, found in TEXTS if value != ON_ACCENT}
    poor = {
        (value, surface): round(ratio, 2)
        for value, found in texts.items()
        for surface in SURFACES
        if (ratio := contrast(found[theme], VARIABLES[surface][theme])) < 4.5
    }
    assert poor == {}
    accent = VARIABLES["accent"][theme]
    assert contrast(VARIABLES["on-accent"][theme], accent) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_marks_lines_and_borders_of_controls_can_be_seen(theme: int) -> None:
    filled = [each for each in declared("fill") if ".rail" not in each[0]]
    dots = [each for each in declared("background") if "::before" in each[0]]
    borders = [each for each in declared("border") if re.match(r"button|input", each[0])]
    assert filled
    assert dots
    assert borders
    marks = [*MARKS, *filled, *dots, *borders]
    poor = {
        (selector, value): round(ratio, 2)
        for selector, value, found in marks
        if ".c-line" not in selector  # rules of a chart, beside its numbers
        and (ratio := contrast(found[theme], VARIABLES["card"][theme])) < 3
    }
    assert poor == {}
