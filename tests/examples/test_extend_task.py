"""examples/extend/task.py: rows of one's own, checked by ours, with a reward function beside."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.errors import ConfigError
from understudy.tasks import DataConfig, open_tasks
from understudy.tasks.rewards import load_reward
from understudy.tasks.stream import Phase

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "extend" / "task.py"
ROMAN = DataConfig(
    path=f"{EXAMPLE}:rows",
    checker="number",
    prompt="ask",
    solution="answer",
    level="level",
    lenient=True,
)


def test_every_row_is_a_question_of_one_split() -> None:
    with open_tasks({"roman": ROMAN}) as tasks:
        questions = tasks.families["roman"].questions  # type: ignore[union-attr]
    prompts = [problem.prompt for split in questions.values() for problem in split]
    assert len(prompts) == len(set(prompts)) == 399
    assert all(questions.values())
    problem = next(p for split in questions.values() for p in split if p.solution == "44")
    assert (problem.prompt, problem.level) == ("xliv =", 3)


def test_its_answers_are_checked_and_rewarded() -> None:
    with open_tasks({"roman": ROMAN}) as tasks:
        problems = tasks.batch(Phase(families="roman"), 2, "train", "seed")  # type: ignore[arg-type]
        right, wrong = f"#{problems[0].solution}", "#0"
        assert tasks.check(problems, [right, wrong]) == [1.0, 0.0]
        near = load_reward(f"{EXAMPLE}:near")
        assert near.values(problems, [right, wrong]) == [1.0, 0.0]
    answers = [[{"role": "assistant", "content": text}] for text in ("#6", "what?")]
    assert near.function(answers, ["4", "4"]) == [0.5, 0.0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return [1, 2]", "row 1 is of type int"),
        ("return 1 / 0", "ZeroDivisionError"),
        ("return {'train': [{}], 'test': 3}", "TypeError"),
    ],
)
def test_rows_that_are_none_are_refused_by_name(tmp_path: Path, body: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(f"def rows():\n    {body}\n")
    config = ROMAN.model_copy(update={"path": f"{tmp_path}/mine.py:rows"})
    with pytest.raises(ConfigError, match=message) as refused:
        open_tasks({"mine": config})
    assert "data.mine.path" in str(refused.value)


def test_a_function_that_names_its_splits_keeps_them(tmp_path: Path) -> None:
    splits = "{'train': [{'q': 'a', 'a': '1'}], 'test': [{'q': 'b', 'a': '2'}]}"
    (tmp_path / "mine.py").write_text(f"def rows():\n    return {splits}\n")
    config = DataConfig(
        path=f"{tmp_path}/mine.py:rows", checker="text", prompt="q", solution="a", validation="test"
    )
    with open_tasks({"mine": config}) as tasks:
        questions = tasks.families["mine"].questions  # type: ignore[union-attr]
    assert [p.prompt for p in questions["test"]] == ["b"]
