"""Sums, differences and products of growing size."""

from __future__ import annotations

import random

from understudy.tasks.family import Draft, Family

SUM_RANGES = {1: (0, 9, 0, 9), 2: (10, 99, 0, 9), 3: (10, 99, 10, 99)}
SUM_RANGES |= {4: (100, 999, 100, 999), 5: (1000, 9999, 1000, 9999)}


def _sum(rng: random.Random, level: int) -> Draft:
    low_a, high_a, low_b, high_b = SUM_RANGES[level]
    a, b = rng.randint(low_a, high_a), rng.randint(low_b, high_b)
    if rng.random() < 0.5:
        return sum_draft(a, "+", b, level)
    return sum_draft(max(a, b), "-", min(a, b), level)


def sum_draft(a: int, sign: str, b: int, level: int) -> Draft:
    if sign == "+":
        result, columns = a + b, _add_columns(a, b)
    else:
        result, columns = a - b, _subtract_columns(a, b)
    reasoning = ",".join(columns) if level >= 3 else ""
    return Draft(f"{a}{sign}{b}", str(result), f"{reasoning}#{result}")


def _add_columns(a: int, b: int) -> list[str]:
    """The sum of each decimal column, units first, carry included."""
    steps, carry = [], 0
    while a or b:
        total = a % 10 + b % 10 + carry
        steps.append(str(total))
        a, b, carry = a // 10, b // 10, total // 10
    return steps


def _subtract_columns(a: int, b: int) -> list[str]:
    """The difference in each decimal column, units first, ten borrowed where needed."""
    steps = []
    while a or b:
        top, bottom = a % 10, b % 10
        a, b = a // 10, b // 10
        if top < bottom:
            top, a = top + 10, a - 1
        steps.append(str(top - bottom))
    return steps


PRODUCT_RANGES = {1: (2, 5, 2, 9), 2: (2, 9, 2, 9), 3: (11, 39, 2, 5)}
PRODUCT_RANGES |= {4: (11, 99, 2, 9), 5: (11, 49, 11, 39)}


def _product(rng: random.Random, level: int) -> Draft:
    low_a, high_a, low_b, high_b = PRODUCT_RANGES[level]
    return product_draft(rng.randint(low_a, high_a), rng.randint(low_b, high_b), level)


def product_draft(a: int, b: int, level: int) -> Draft:
    tens, units = 10 * (a // 10), a % 10
    if level >= 3:
        reasoning = f"{tens * b},{units * b}"
    else:
        reasoning = ""
    return Draft(f"{a}*{b}", str(a * b), f"{reasoning}#{a * b}")


SUMS = Family("sums", "addition and subtraction, one to four digits", _sum)
PRODUCTS = Family("products", "multiplication, up to two digits by two", _product)
