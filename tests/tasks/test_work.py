"""A run's tasks: batches and exams by key, checks of every kind in one call, undecided counted."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from tests.tasks.published import gsm8k_row, mbpp_row, write_lines
from understudy.errors import ConfigError
from understudy.tasks import FAMILIES
from understudy.tasks.data import DataConfig, DataSet, load_data
from understudy.tasks.judge import Judge
from understudy.tasks.stream import Phase, load_stream
from understudy.tasks.work import Tasks, open_tasks
from understudy.types import Problem

needs_sandbox = pytest.mark.skipif(which("bwrap") is None, reason="bubblewrap is not installed")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory, judge: Judge) -> Tasks:
    folder = tmp_path_factory.mktemp("data")
    write_lines(folder / "gsm8k" / "train.jsonl", map(gsm8k_row, range(300)))
    write_lines(folder / "gsm8k" / "test.jsonl", map(gsm8k_row, range(300, 340)))
    write_lines(folder / "mbpp.jsonl", map(mbpp_row, range(601, 641)))
    problems = [
        {
            "problem": f"Problem {i}",
            "level": "Level 5",
            "solution": f"\\boxed{{\\frac{{{i}}}{{7}}}}",
        }
        for i in range(30)
    ]
    write_lines(folder / "math.jsonl", problems)
    configs = {
        "gsm8k": DataConfig(path=str(folder / "gsm8k")),
        "mbpp": DataConfig(path=str(folder / "mbpp.jsonl")),
        "math": DataConfig(path=str(folder / "math.jsonl")),
    }
    return Tasks({**FAMILIES, **{k: load_data(k, v) for k, v in configs.items()}}, judge)


def phase_of(families: Any, **settings: Any) -> Phase:
    return Phase.model_validate({"families": families, **settings})


@pytest.mark.parametrize(
    ("split", "digest"), [("train", "198e90ad5feab689"), ("test", "ed619a3a674f926f")]
)
def test_generated_questions_stay_those_of_the_studies(
    tasks: Tasks, split: Any, digest: str
) -> None:
    phase = phase_of({"sums": 2, "facts": 1, "programs": 1}, levels=(2, 4))
    problems = tasks.batch(phase, 50, split, "k") + tasks.exam(phase, 50, split, "k")
    text = "\n".join(problem.prompt for problem in problems)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


def test_a_question_from_outside_is_asked_as_the_data_asks_its_own(tasks: Tasks) -> None:
    family = tasks.families["gsm8k"]
    assert isinstance(family, DataSet)
    problem = family.question("How many?")
    (other,) = tasks.batch(phase_of("gsm8k"), 1, "train", "k")
    assert (problem.prompt, problem.family) == ("How many?", "gsm8k")
    assert problem.instruction == other.instruction != ""


def test_a_batch_depends_on_its_key_alone(tasks: Tasks) -> None:
    phase = phase_of(["gsm8k", "sums"])
    first = tasks.batch(phase, 40, "train", "seed 1 step 7")
    assert tasks.batch(phase, 40, "train", "seed 1 step 7") == first
    assert tasks.batch(phase, 40, "train", "seed 1 step 8") != first
    assert tasks.batch(phase, 9, "train", "seed 1 step 7") == first[:9]
    assert {problem.family for problem in first} == {"gsm8k", "sums"}


def test_a_batch_repeats_no_question_before_all_were_asked(tasks: Tasks) -> None:
    pool = tasks.families["mbpp"].pool("train", (1, 5))  # type: ignore[union-attr]
    prompts = [q.prompt for q in tasks.batch(phase_of("mbpp"), 2 * len(pool), "train", "k")]
    assert Counter(prompts) == {problem.prompt: 2 for problem in pool}
    assert len(set(prompts[: len(pool)])) == len(pool)


def test_an_exam_asks_nothing_twice_and_all_where_there_are_no_more(tasks: Tasks) -> None:
    phase = phase_of({"gsm8k": 1, "sums": 1})
    some = [problem for problem in tasks.exam(phase, 40, "test", "k") if problem.family == "gsm8k"]
    assert len({problem.prompt for problem in some}) == len(some) == 20
    every = [
        problem for problem in tasks.exam(phase, 400, "test", "k") if problem.family == "gsm8k"
    ]
    assert len({problem.prompt for problem in every}) == len(every) == 40
    for size in (1, 40, 400):
        drawn = len(tasks.exam(phase, size, "test", "k"))
        assert tasks.exam_size(phase, size, "test") == drawn


def test_levels_choose_questions(tasks: Tasks) -> None:
    problems = tasks.batch(phase_of("gsm8k", levels=(2, 3)), 30, "train", "k")
    assert {problem.level for problem in problems} == {2, 3}
    with pytest.raises(ConfigError, match=r"mbpp.*level from 2 to 3"):
        tasks.batch(phase_of("mbpp", levels=(2, 3)), 1, "train", "k")


@needs_sandbox
def test_every_kind_is_checked_in_one_call_in_order(tasks: Tasks) -> None:
    phases = [phase_of(name) for name in ("mbpp", "sums", "gsm8k", "math", "programs")]
    problems = [problem for phase in phases for problem in tasks.batch(phase, 3, "train", "k")]
    problems = problems[::2] + problems[1::2]
    right = [problem.worked for problem in problems]
    assert tasks.check(problems, right) == [1.0] * len(problems)
    wrong = [worked if i % 2 else "#0 #### 0 \\boxed{0.1}" for i, worked in enumerate(right)]
    assert tasks.check(problems, wrong) == [float(i % 2) for i in range(len(problems))]


def one(tasks: Tasks, family: str) -> Problem:
    return tasks.batch(phase_of(family), 1, "train", "k")[0]


@pytest.mark.parametrize(
    ("family", "completion", "answer"),
    [
        ("sums", "3,4#18", "18"),
        ("sums", "18", None),
        ("gsm8k", "so\n#### 18", "18"),
        ("gsm8k", "so it is 18", None),
        ("math", "\\boxed{2}", "2"),
        ("mbpp", "```python\nx\n```", "x\n"),
    ],
)
def test_an_answer_as_it_is_shown(
    tasks: Tasks, family: str, completion: str, answer: str | None
) -> None:
    assert tasks.answer(one(tasks, family), completion) == answer


@needs_sandbox
def test_partial_credit_is_the_share_of_tests_passed(tmp_path: Path, judge: Judge) -> None:
    path = write_lines(tmp_path / "mbpp.jsonl", [mbpp_row(700)])
    halves = "```python\ndef add(x):\n    return x + 700 if x else 0\n```"
    for partial, wanted in ((False, 0.0), (True, pytest.approx(2 / 3))):
        data = load_data("mbpp", DataConfig(path=str(path), partial=partial))
        tasks = Tasks({"mbpp": data}, judge)
        assert tasks.check(data.questions["train"], [halves]) == [wanted]


HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": "from typing import List\n\n\ndef total(numbers: List[int]) -> int:\n"
    '    """ Add them up.\n    >>> total([1, 2])\n    3\n    """\n',
    "entry_point": "total",
    "canonical_solution": "    return sum(numbers)\n",
    "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n"
    "    assert candidate([1, 2]) == 3\n    assert candidate([]) == 0\n",
}


@needs_sandbox
def test_humaneval_takes_the_whole_function_or_its_body(tmp_path: Path, judge: Judge) -> None:
    path = tmp_path / "HumanEval.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(HUMANEVAL).encode()))
    data = load_data("humaneval", DataConfig(path=str(path)))
    (problem,) = data.questions["test"]
    tasks = Tasks({"humaneval": data}, judge)
    completions = [
        problem.worked,
        "    return sum(numbers)\n",
        "Here:\n```python\ndef total(numbers: List[int]) -> int:\n    return sum(numbers)\n```",
        "    return 3\n",
        "I do not know",
        "",
    ]
    assert tasks.check([problem] * 6, completions) == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]


ROOT = {
    "task_id": "HumanEval/32",
    "prompt": "def poly(xs, x):\n    return xs[0] + xs[1] * x\n\n\ndef root(xs):\n"
    '    """ Where poly is zero. """\n',
    "entry_point": "root",
    "canonical_solution": "    return -xs[0] / xs[1]\n",
    "test": "def check(candidate):\n    assert poly([2, 4], candidate([2, 4])) == 0\n",
}


@needs_sandbox
def test_humaneval_checks_by_the_functions_it_gave(tmp_path: Path, judge: Judge) -> None:
    path = write_lines(tmp_path / "HumanEval.jsonl", [ROOT])
    data = load_data("humaneval", DataConfig(path=str(path)))
    (problem,) = data.questions["test"]
    cheat = "def poly(xs, x):\n    return 0\n\ndef root(xs):\n    return 7\n"
    tasks = Tasks({"humaneval": data}, judge)
    assert tasks.check([problem] * 2, [problem.worked, cheat]) == [1.0, 0.0]


@needs_sandbox
def test_programs_that_read_and_print(tmp_path: Path, judge: Judge) -> None:
    rows = [
        {
            "question": "Double it.",
            "input_output": json.dumps({"inputs": ["2\n", "5\n"], "outputs": ["4\n", "10\n"]}),
            "solutions": json.dumps(["print(int(input()) * 2)"]),
            "difficulty": "MEDIUM_HARD",
        },
        {
            "question": "Double the first.",
            "input_output": json.dumps(
                {"fn_name": "double", "inputs": [[2], [5]], "outputs": [[4], [10]]}
            ),
            "solutions": json.dumps(
                ["class Solution:\n    def double(self, x):\n        return 2*x"]
            ),
            "starter_code": "class Solution:\n    def double(self, x):\n",
            "difficulty": "EASY",
        },
    ]
    data = load_data("taco", DataConfig(path=str(write_lines(tmp_path / "taco.jsonl", rows))))
    problems = sorted((q for part in data.questions.values() for q in part), key=lambda q: q.prompt)
    read, called = problems
    assert (read.level, called.level) == (3, 1)
    tasks = Tasks({"taco": data}, judge)
    assert tasks.check(problems, [problem.worked for problem in problems]) == [1.0, 1.0]
    assert tasks.check([read, called], ["print(4)", "class Solution: pass"]) == [0.0, 0.0]


def test_a_family_that_is_not_there_is_named_with_those_that_are(tasks: Tasks) -> None:
    stream = [{"families": "gsm8k"}, {"families": {"sums": 1, "mathh": 2}}]
    with pytest.raises(ConfigError, match=r"phase 2: families: unknown family 'mathh'.*gsm8k"):
        load_stream(stream, tasks.families)
    assert len(load_stream(stream[:1], tasks.families)) == 1
    with pytest.raises(ConfigError, match="mathh"):
        tasks.batch(phase_of("mathh"), 1, "train", "k")


def test_the_real_stream_says_what_data_to_write() -> None:
    with pytest.raises(ConfigError, match=r"data: \{gsm8k: \{hub: openai/gsm8k"):
        load_stream("real")
    names = [*FAMILIES, "gsm8k", "mbpp", "banking77"]
    assert [phase.name for phase in load_stream("real", names)] == names[-3:]


def test_a_data_set_does_not_hide_a_generated_family(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "gsm8k.jsonl", [gsm8k_row(1)])
    with pytest.raises(ConfigError, match=r"data\.sums"):
        open_tasks({"sums": DataConfig(path=str(path), form="gsm8k")})


def test_opening_starts_no_process_and_closing_twice_is_harmless() -> None:
    with open_tasks() as tasks:
        problem = one(tasks, "sums")
        assert tasks.check([problem], [problem.worked]) == [1.0]
        assert not tasks.undecided
    tasks.close()


def test_labels_and_choices_have_a_right_label_and_others_have_none(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    rows = [
        {"q": f"text {i}", "a": (" ham ", "not  ham")[i % 2], "b": "AB"[i % 2]} for i in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"path": str(path), "form": "columns", "prompt": "q"}
    data = {
        "label": DataConfig(**columns, solution="a", checker="label"),
        "choice": DataConfig(**columns, solution="b", checker="choice"),
        "text": DataConfig(**columns, solution="a", checker="text"),
    }
    with open_tasks(data) as tasks:
        for name, labels in (("label", {"ham", "not ham"}), ("choice", {"A", "B"})):
            family = tasks.families[name]
            assert isinstance(family, DataSet)
            problems = family.pool("train", (1, 5))
            assert {tasks.label(problem) for problem in problems} == labels
            for problem in problems:
                named = tasks.named_label(problem, f"The answer is {problem.solution.strip()}")
                assert named == tasks.label(problem)
                chat = f"Sure!\nThe answer is {problem.solution.strip()}"
                assert tasks.lesson(problem, chat) == named
        text = tasks.families["text"]
        assert isinstance(text, DataSet)
        asked = text.pool("train", (1, 5))[0]
        assert tasks.label(asked) is None
        assert tasks.lesson(asked, "Sure!\nham") == "Sure!\nham"  # how it got there is the lesson
        facts = Phase(families={"facts": 1.0})
        assert tasks.label(tasks.batch(facts, 1, "train", "k")[0]) is None
