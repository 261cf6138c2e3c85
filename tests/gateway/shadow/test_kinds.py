"""Kinds of questions are told apart by what the log says, else by words."""

from __future__ import annotations

import random

import pytest

from tests.gateway.shadow.logged import asked, call
from understudy.errors import ConfigError
from understudy.gateway.shadow.kinds import ALL, OTHERS, kinds_of
from understudy.gateway.shadow.records import LoggedCall


def test_a_name_in_the_metadata_comes_first() -> None:
    calls = [call(f"q{n}", metadata={"user": str(n), "task": "ab"[n % 2]}) for n in range(20)]
    found = kinds_of(calls)
    assert set(found.names) == {"a", "b"}
    assert found.words == "by metadata.task of the log"


def test_system_messages_tell_kinds_apart() -> None:
    calls = [
        LoggedCall(
            id="",
            place="",
            body={"messages": [{"role": "system", "content": f"You do {n % 2}"}, *asked(f"q{n}")]},
            answer="x",
            model="m",
        )
        for n in range(20)
    ]
    assert set(kinds_of(calls).names) == {"You do 0", "You do 1"}


def test_words_tell_kinds_apart() -> None:
    drawn = random.Random(0)
    forms = ("translate {} into french please", "what is {} plus {}", "write a poem about {}")
    things = [f"thing{n}" for n in range(50)]
    texts = [drawn.choice(forms).replace("{}", drawn.choice(things)) for _ in range(300)]
    names = kinds_of([call(text) for text in texts]).names
    for form in forms:
        own = {name for text, name in zip(texts, names, strict=True) if text[:5] == form[:5]}
        others = {name for text, name in zip(texts, names, strict=True) if text[:5] != form[:5]}
        assert not own & others


def test_few_questions_are_one_kind() -> None:
    assert set(kinds_of([call(f"q {n}") for n in range(30)]).names) == {ALL}


def test_rare_kinds_stand_together() -> None:
    calls = [call("q", metadata={"x": str(n // 2)}) for n in range(60)]
    names = kinds_of(calls, "metadata.x").names
    assert len(set(names)) == 12
    assert OTHERS in names


def test_a_name_that_no_call_has_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--by metadata.route: no call has it.*there are task"):
        kinds_of([call(metadata={"task": "a"})], "metadata.route")
