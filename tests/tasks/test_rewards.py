"""Reward functions: TRL's own, a user's, verl's; what is wrong with one is said with its name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import ConfigError, UnderstudyError
from understudy.tasks.judge import Judge
from understudy.tasks.rewards import CheckerReward, Reward, RewardError, load_reward, text_of
from understudy.types import Problem

ASKED = [
    Problem("1+1?", "2", "math", 1, "", "Answer.", {"solution": "$2$", "source": "book"}),
    Problem("1+2?", "3", "sums", 2, ""),
]


def write(tmp_path: Path, source: str) -> str:
    path = tmp_path / "mine.py"
    path.write_text(source)
    return str(path)


def test_trls_accuracy_reward_works_unchanged() -> None:
    pytest.importorskip("trl")
    pytest.importorskip("math_verify")
    reward = load_reward("trl.rewards:accuracy_reward")
    assert reward.name == "accuracy_reward"
    completions = ["so \\boxed{2}", "so \\boxed{4}"]
    assert reward.values(ASKED, completions) == [1.0, 0.0]
    assert reward.values([Problem("?", "", "f", 1, "")], ["\\boxed{1}"]) == [None]


def test_trls_format_reward_works_unchanged() -> None:
    pytest.importorskip("trl")
    reward = load_reward("trl.rewards:think_format_reward")
    completions = ["<think>\nI add.\n</think>\n2", "2"]
    assert reward.values(ASKED, completions) == [1.0, 0.0]


def test_trls_rewards_over_token_ids_work_unchanged() -> None:
    rewards = pytest.importorskip("trl.rewards")
    overlong = Reward("overlong", rewards.get_soft_overlong_punishment(100, 20))
    ids = [[1] * 90, [1] * 10]
    assert overlong.values(ASKED, ["a", "b"], completion_ids=ids) == [-0.5, 0.0]
    repeated = Reward("repeated", rewards.get_repetition_penalty_reward(2, -1.0))
    ids = [[1, 2, 3, 4], [5, 5, 5, 5, 5]]
    assert repeated.values(ASKED, ["a", "b"], completion_ids=ids) == [0.0, -0.75]


def test_a_function_gets_columns_as_lists() -> None:
    seen: dict[str, Any] = {}

    def keep(prompts: Any, completions: Any, **columns: Any) -> list[float]:
        seen.update(columns, prompts=prompts, completions=completions)
        return [0.0, 0.0]

    Reward("keep", keep).values(ASKED, ["a", "b"], trainer_state="state")
    assert seen["completions"][0] == [{"role": "assistant", "content": "a"}]
    assert [message["role"] for message in seen["prompts"][0]] == ["system", "user"]
    assert [message["content"] for message in seen["prompts"][1]] == ["1+2?"]
    assert seen["solution"] == ["$2$", "3"]  # a row's own column before ours
    assert seen["ground_truth"] == ["2", "3"]
    assert seen["source"] == ["book", None]
    assert seen["trainer_state"] == "state"
    seen["log_extra"]("column", ["a", "b"])
    seen["log_metric"]("name", 1.0)
    Reward("keep", keep, messages=False).values(ASKED, ["a", "b"])
    assert (seen["prompts"], seen["completions"]) == (["1+1?", "1+2?"], ["a", "b"])


def test_a_function_gets_only_what_it_takes(tmp_path: Path) -> None:
    spec = write(tmp_path, "def short(completions):\n    return [len(c) for c in completions]\n")
    assert load_reward(f"{spec}:short", messages=False).values(ASKED, ["a", "bcd"]) == [1.0, 3.0]


def test_an_async_function_is_awaited(tmp_path: Path) -> None:
    async def slow(completions: Any, **_: Any) -> list[float | None]:
        await asyncio.sleep(0)
        return [1.0, None]

    assert Reward("slow", slow).values(ASKED, ["a", "b"]) == [1.0, None]


def test_nan_is_refused_with_its_place() -> None:
    reward = Reward("odd", lambda completions: [2, float("nan")])
    with pytest.raises(RewardError, match="odd returned nan for completion 2 of 2"):
        reward.values(ASKED, ["a", "b"])


def test_what_a_function_raises_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def broken(completions):\n    return [1 / 0]\n")
    reward = load_reward(f"{file}:broken")
    with pytest.raises(RewardError, match=r"ZeroDivisionError: .*\(mine.py, line 2\)"):
        reward.values(ASKED, ["a", "b"])


@pytest.mark.parametrize("returned", ["score", "{'score': score, 'acc': True}"])
def test_verls_compute_score(returned: str, tmp_path: Path) -> None:
    source = (
        "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n"
        "    assert data_source in ('math', 'sums')\n"
        "    assert extra_info is not None\n"
        "    score = float(solution_str == ground_truth)\n"
        f"    return {returned}\n"
    )
    reward = load_reward(f"{write(tmp_path, source)}:compute_score")
    assert reward.values(ASKED, ["2", "4"]) == [1.0, 0.0]


def raises(completions: Any) -> list[float]:
    raise ZeroDivisionError("no\nway")


def picky(completions: Any, rubric: Any) -> list[float]:
    return [0.0, 0.0]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (raises, ["raises", "ZeroDivisionError", "no way"]),
        (picky, ["picky", "rubric", "solution"]),
        (lambda completions: [1.0], ["1 values for 2"]),
        (lambda completions: [1.0] * 3, ["3 values for 2"]),
        (lambda completions: None, ["None", "list of numbers"]),
        (lambda completions: 3.0, ["3.0"]),
        (lambda completions: ["good", "bad"], ["good"]),
        (lambda completions: [float("inf"), 0.0], ["inf", "finite"]),
    ],
)
def test_a_function_that_goes_wrong_is_named(
    function: Callable[..., Any], words: list[str]
) -> None:
    name = function.__name__
    with pytest.raises(UnderstudyError) as caught:
        Reward(name, function).values(ASKED, ["a", "b"])
    assert "\n" not in str(caught.value)
    for word in (*words, name):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nothing", ["module:function"]),
        (":f", ["module:function"]),
        ("no_such_module:f", ["no_such_module"]),
        ("nowhere/mine.py:f", ["mine.py"]),
        ("math:no_such_name", ["no_such_name"]),
        ("math:pi", ["float"]),
    ],
)
def test_a_spec_that_names_no_function_is_refused(spec: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_reward(spec)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_file_that_cannot_be_imported_is_refused_in_one_line(tmp_path: Path) -> None:
    spec = write(tmp_path, "def f(:\n")
    with pytest.raises(ConfigError, match="SyntaxError"):
        load_reward(f"{spec}:f")


def test_our_checkers_are_reward_functions_by_trls_signature(judge: Judge) -> None:
    reward = CheckerReward("number", judge)
    assert reward.__name__ == "number_reward"
    texts = ["#### 2", "#### 7"]
    messages = [[{"role": "assistant", "content": text}] for text in texts]
    for completions in (texts, messages):
        columns = {"solution": ["2", "3"], "completion_ids": [[1], [2]], "trainer_state": None}
        assert reward(["a", "b"], completions, **columns) == [1.0, 0.0]
    choice = CheckerReward("choice", judge)
    options = [["hot", "cold"]] * 2
    assert choice(["a", "b"], ["B", "cold"], solution=["B", "B"], options=options) == [1.0, 1.0]
    assert Reward("number", reward).values(ASKED[1:], ["#### 3"]) == [1.0]
    with pytest.raises(UnderstudyError, match="solution"):
        reward(["a"], ["b"])


def test_a_messages_text() -> None:
    assert text_of([{"role": "tool", "content": "x"}, {"role": "assistant", "content": "y"}]) == "y"
    assert text_of([{"role": "assistant", "content": [{"type": "text", "text": "y"}]}]) == "y"
    assert text_of([{"role": "assistant", "content": None}]) == ""
    assert text_of([]) == ""
