"""The colours of every plot."""

from __future__ import annotations

# Colours that the common kinds of colour blindness keep apart (Okabe and Ito; Tol's muted set).
LOCAL, SYSTEM, ASKED, PRICE = "#C75B00", "#0072B2", "#007A5A", "#8A3F8A"
INK, QUIET, SHADE = "#22262b", "#667079", "#f1f3f5"
TASKS = tuple(
    f"#{colour}"
    for colour in (
        *("332288", "CC6677", "117733", "AA8F1B", "4A9CC4"),
        *("882255", "2F8F80", "777722", "AA4499", "777777"),
    )
)
# What each further ten are mixed with, and how much of it: (white or black, share).
_TURNS = ((0, 0.0), (255, 0.45), (0, 0.4), (255, 0.22), (0, 0.2))


def colour_of(place: int) -> str:
    """The colour of the n-th of several, counted from 0: no two of the first fifty share one."""
    turn, place = divmod(place, len(TASKS))
    mixed, share = _TURNS[turn % len(_TURNS)]
    parts = (int(TASKS[place][start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{round(part + share * (mixed - part)):02x}" for part in parts)
