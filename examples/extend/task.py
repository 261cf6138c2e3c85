"""A task of your own: roman numerals. The rows are made here; the checker `number` is ours.

A row needs the columns that the setting `data` names: what is asked, and its answer. A reward
function adds to the reward of the check; it has TRL's signature.
"""

from __future__ import annotations

import re

NUMERALS = {"c": 100, "xc": 90, "l": 50, "xl": 40, "x": 10, "ix": 9, "v": 5, "iv": 4, "i": 1}


def roman(number: int) -> str:
    text = ""
    for numeral, value in NUMERALS.items():
        text += numeral * (number // value)
        number %= value
    return text


def rows() -> list[dict[str, object]]:
    """All questions; understudy divides them into training, validation and test."""
    numbers = range(1, 400)
    return [
        {"ask": f"{roman(n)} =", "answer": n, "level": 1 + sum(n > top for top in (9, 39, 99, 199))}
        for n in numbers
    ]


def near(
    completions: list[list[dict[str, str]]], solution: list[str], **columns: object
) -> list[float]:
    """Between 0 and 1: how near the last number of the answer is to the right one."""
    rewards = []
    for completion, right in zip(completions, solution, strict=True):
        numbers = re.findall(r"\d+", completion[-1]["content"])
        distance = abs(int(numbers[-1]) - int(right)) if numbers else float("inf")
        rewards.append(max(0.0, 1.0 - distance / int(right)))
    return rewards
