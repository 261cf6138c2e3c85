"""Lessons of the real run: the same problem with other numbers is worked out right."""

from __future__ import annotations

import importlib.util
import random
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
QUESTION = "Ann has 48 pens and gives half of them to Bob, who has 20. How many has Bob?"
ANSWER = "Half is 48/2=<<48/2=24>>24.\nBob has 24+20=<<24+20=44>>44.\n#### 44"


@pytest.fixture(scope="module")
def lessons() -> ModuleType:
    path = ROOT / "examples" / "real_run" / "lessons.py"
    spec = importlib.util.spec_from_file_location("lessons", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


def test_other_numbers_are_worked_out_along_the_same_steps(lessons: ModuleType) -> None:
    found = {lessons.varied(QUESTION, ANSWER, random.Random(seed)) for seed in range(40)}
    pairs = found - {None}
    assert len(pairs) > 10
    for question, answer in pairs:
        pens, bob = map(int, re.findall(r"\d+", question))
        half = pens // 2
        assert pens == 2 * half  # a problem whose pens cannot be halved is left out
        assert answer == (
            f"Half is {pens}/2={half}.\nBob has {half}+{bob}={half + bob}.\n#### {half + bob}"
        )


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (QUESTION, "She has 24.\n#### 24"),  # no step to follow
        ("How many halves?", ANSWER),  # no number to change
        (QUESTION, "<<48/2=25>>25\n#### 25"),  # wrong already
        (QUESTION, "<<__import__('os')=24>>24\n#### 24"),  # no plain arithmetic
    ],
)
def test_what_cannot_be_followed_is_left_out(
    lessons: ModuleType, question: str, answer: str
) -> None:
    found = {lessons.varied(question, answer, random.Random(seed)) for seed in range(20)}
    assert found <= {None, (question, lessons.plain(answer))}
