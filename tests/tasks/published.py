"""Rows as the publishers of data sets write them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def gsm8k_row(number: int) -> dict[str, Any]:
    """Its answer is worth 1,000 more than its number, in number + 1 steps at most 9."""
    steps = "".join(f"One more: {i}+1=<<{i}+1={i + 1}>>{i + 1}.\n" for i in range(number % 9 + 1))
    return {"question": f"Question {number}?", "answer": f"{steps}#### {number + 1000:,}"}


def mbpp_row(number: int) -> dict[str, Any]:
    return {
        "text": f"Write a function to add {number}.",
        "code": f"def add(x):\r\n    return x + {number}",
        "task_id": number,
        "test_setup_code": "",
        "test_list": [f"assert add({i}) == {i + number}" for i in range(3)],
        "challenge_test_list": [],
    }
