"""Data sets: their public forms are read, splits are disjoint, mistakes are named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.published import gsm8k_row, mbpp_row, write_lines
from understudy.errors import ConfigError
from understudy.tasks.data import SPLITS, DataConfig, DataSet, load_data, sixteenth
from understudy.tasks.forms import FORMS
from understudy.types import Problem


def data_of(name: str, path: Path | str, **settings: Any) -> DataSet:
    return load_data(name, DataConfig(path=str(path), **settings))


def every(data: DataSet) -> list[Problem]:
    return [problem for split in SPLITS for problem in data.questions[split]]


def sizes(data: DataSet) -> list[int]:
    return [len(data.questions[split]) for split in SPLITS]


def only(name: str, row: dict[str, Any], tmp_path: Path, **settings: Any) -> Problem:
    (problem,) = every(data_of(name, write_lines(tmp_path / "one.jsonl", [row]), **settings))
    return problem


def test_gsm8k(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", map(gsm8k_row, range(400)))
    write_lines(tmp_path / "test.jsonl", map(gsm8k_row, range(400, 440)))
    data = data_of("gsm8k", tmp_path)
    train, validation, test = sizes(data)
    assert (train + validation, test) == (400, 40)
    assert 30 <= validation <= 70  # 1/8 of 400, give or take three deviations
    by_prompt = {problem.prompt: problem for problem in every(data)}
    problem = by_prompt["Question 11?"]
    assert (problem.solution, problem.level, problem.family) == ("1011", 3, "gsm8k")
    assert problem.worked.endswith("One more: 2+1=3.\n#### 1,011")
    assert "####" in problem.instruction
    assert problem.columns["answer"] == gsm8k_row(11)["answer"]
    assert {problem.level for problem in every(data)} == {1, 2, 3, 4, 5}


def test_math(tmp_path: Path) -> None:
    row = {
        "problem": "What is $\\frac{1}{4}+\\frac14$?",
        "level": "Level 2",
        "type": "Prealgebra",
        "solution": "It is $\\boxed{\\frac{1}{2}}$.",
    }
    for folder in ("train/algebra", "test/geometry"):  # a file per problem, as published
        (tmp_path / folder).mkdir(parents=True)
        own = row | {"problem": f"{folder}: {row['problem']}"}
        (tmp_path / folder / "1.json").write_text(json.dumps(own))
    data = data_of("MATH", tmp_path)
    assert len(every(data)) == 2
    (problem,) = data.questions["test"]
    assert (problem.solution, problem.level, problem.worked) == ("\\frac{1}{2}", 2, row["solution"])
    assert problem.columns["type"] == "Prealgebra"


def test_mbpp_is_divided_by_number_and_hides_tests(tmp_path: Path) -> None:
    numbers = (1, 10, 11, 510, 511, 600, 601, 974)
    data = data_of("mbpp", write_lines(tmp_path / "mbpp.jsonl", map(mbpp_row, numbers)))
    found = {split: [q.columns["task_id"] for q in data.questions[split]] for split in SPLITS}
    assert {split: sorted(ids) for split, ids in found.items()} == {
        "train": [1, 10, 601, 974],
        "validation": [511, 600],
        "test": [11, 510],
    }
    problem = data.questions["test"][0]
    assert "assert add(0)" in problem.prompt
    assert "assert add(1)" not in problem.prompt
    assert problem.worked.startswith("```python\ndef add(x):\n    return")
    assert problem.columns["tests"] == mbpp_row(problem.columns["task_id"])["test_list"]


def test_arc_as_the_hub_has_it(tmp_path: Path) -> None:
    choices = {"text": ["dry", "wet", "oily"], "label": ["1", "2", "3"]}
    row = {"id": "x", "question": "Which?", "choices": choices, "answerKey": "3"}
    problem = only("arc", row, tmp_path)
    assert problem.prompt == "Which?\nA. dry\nB. wet\nC. oily"
    assert (problem.solution, problem.columns["options"]) == ("C", ["dry", "wet", "oily"])


def test_arc_as_instructions(tmp_path: Path) -> None:
    row = {
        "instruction": "Please choose the correct answer to the question: Which?\n\n"
        "Answer1: dry Answer2: wet Answer3: oily\n\nAnswer format: answer1/answer2/answer3",
        "input": "",
        "output": "the correct answer is answer3",
        "answer": "answer3",
    }
    problem = only("arc-challenge", row, tmp_path)
    assert (problem.prompt, problem.solution) == ("Which?\nA. dry\nB. wet\nC. oily", "C")


@pytest.mark.parametrize("answer", [1, "1", "B"])
def test_mmlu(answer: Any, tmp_path: Path) -> None:
    row = {"question": "Which?", "subject": "physics", "choices": ["a", "b"], "answer": answer}
    problem = only("mmlu", row, tmp_path)
    assert (problem.prompt, problem.solution) == ("Which?\nA. a\nB. b", "B")


def test_a_label_ends_at_a_line_break_and_other_answers_where_it_is_set(tmp_path: Path) -> None:
    row, sum_row = {"text": "Free prize!", "label": "spam"}, gsm8k_row(1)
    assert only("sms", row, tmp_path).stop == ("\n",)
    assert only("sms", row, tmp_path, stop=[]).stop == ()
    assert only("gsm8k", sum_row, tmp_path).stop == ()
    problem = only("gsm8k", sum_row, tmp_path, stop=["\n\n", "Q:"])
    assert problem.stop == problem.local_question.options.stop == ("\n\n", "Q:")
    assert problem.question.options.stop == ()  # the cloud may think in lines
    data = data_of("sms", write_lines(tmp_path / "one.jsonl", [row]))
    assert data.question("Hi").stop == ("\n",)
    with pytest.raises(ValueError, match="stop: ''"):
        DataConfig(path="x", stop=[""])


def test_labels_are_told_while_they_are_few(tmp_path: Path) -> None:
    lines = [f"question {i},intent_{i % 3}" for i in range(60)]
    (tmp_path / "train.csv").write_text("\n".join(["text,category", *lines]))
    (tmp_path / "test.csv").write_text('text,category\n"a, quoted ""text""",intent_1\n')
    (tmp_path / "categories.json").write_text('["intent_0"]')
    data = data_of("banking77", tmp_path)
    assert data.checker.labels == ("intent_0", "intent_1", "intent_2")
    (problem,) = data.questions["test"]
    assert (problem.prompt, problem.solution) == ('a, quoted "text"', "intent_1")
    assert "intent_0, intent_1, intent_2" in problem.instruction
    (tmp_path / "train.csv").write_text(
        "\n".join(["text,category"] + [f"q{i},l{i}" for i in range(101)])
    )
    assert "l7" not in data_of("banking77", tmp_path).questions["test"][0].instruction


@pytest.mark.parametrize("labels", [("-1", "1"), ("C", "C++"), ("+", "a"), ("a b", "A_b")])
def test_labels_that_answers_cannot_tell_apart_are_refused(
    labels: tuple[str, str], tmp_path: Path
) -> None:
    rows = [{"text": f"q{i}", "label": label} for i, label in enumerate(labels)]
    with pytest.raises(ConfigError, match=r"data\.mine: label.*rename"):
        data_of("mine", write_lines(tmp_path / "mine.jsonl", rows), form="label")


def test_programs_without_tests_are_left_out_and_counted(tmp_path: Path) -> None:
    tested = {"inputs": ["1\n"], "outputs": ["2\n"]}
    rows = [{"question": f"q{i}", "input_output": "", "solutions": "[]"} for i in range(3)]
    path = write_lines(tmp_path / "taco.jsonl", rows)
    with pytest.raises(ConfigError, match=r"data\.taco: none of its 3 rows"):
        data_of("taco", path)
    write_lines(path, [*rows, {"question": "q", "input_output": json.dumps(tested)}])
    with pytest.warns(UserWarning, match="3 rows hold no test"):
        (problem,) = every(data_of("taco", path))
    assert problem.columns["cases"] == [("1\n", "2\n")]
    assert not {"input_output", "solutions"} & problem.columns.keys()


def test_only_a_list_of_one_may_come_unwrapped(tmp_path: Path) -> None:
    def test_of(output: Any) -> str:
        told = {"fn_name": "f", "inputs": [[1]], "outputs": [output]}
        problem = only("taco", {"question": "q", "input_output": json.dumps(told)}, tmp_path)
        return str(problem.columns["tests"][0])

    for output, passes in (([7], True), ([7, 8], False), (7, True)):
        try:
            exec(test_of(output), {"f": lambda x: 7})
        except AssertionError:
            assert not passes
        else:
            assert passes


def test_sms_as_published(tmp_path: Path) -> None:
    """No header, no ending, quotation marks that are text, a message broken in two, repeats."""
    path = tmp_path / "SMSSpamCollection"
    path.write_text('ham\tsay "hi\nspam\tWIN\nham\tlives around he\nre though\nspam\tWIN\n')
    data = data_of("sms-spam", tmp_path)
    found = {problem.prompt: problem.solution for problem in every(data)}
    assert found == {'say "hi': "ham", "WIN": "spam", "lives around he re though": "ham"}
    assert len(every(data)) == 3


def test_equal_prompts_stand_in_one_split_only(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", [gsm8k_row(i) for i in (*range(50), *range(50))])
    write_lines(tmp_path / "test.jsonl", map(gsm8k_row, range(40, 60)))
    data = data_of("gsm8k", tmp_path)
    prompts = [problem.prompt for problem in every(data)]
    assert len(prompts) == len(set(prompts)) == 60
    assert len(data.questions["test"]) == 20


def test_an_undivided_file_is_divided_by_its_prompts_alone(tmp_path: Path) -> None:
    rows = [gsm8k_row(i) for i in range(600)]
    data = data_of("gsm8k", write_lines(tmp_path / "rows.jsonl", rows))
    again = data_of("other-gsm8k", write_lines(tmp_path / "other.jsonl", reversed(rows)))
    for split, sixteenths in (("test", 3), ("validation", 3), ("train", 10)):
        part = {problem.prompt for problem in data.questions[split]}  # type: ignore[index]
        assert part == {problem.prompt for problem in again.questions[split]}  # type: ignore[index]
        assert len(part) / 600 == pytest.approx(sixteenths / 16, abs=0.06)


def test_a_split_of_its_own_is_kept(tmp_path: Path) -> None:
    for split, first in (("train", 0), ("dev", 100), ("test", 200)):
        write_lines(tmp_path / f"{split}.jsonl", map(gsm8k_row, range(first, first + 30)))
    assert sizes(data_of("gsm8k", tmp_path)) == [30, 30, 30]


def test_validation_may_serve_as_test(tmp_path: Path) -> None:
    """Where the official test has no answers: validation is then cut from train."""
    write_lines(tmp_path / "train.jsonl", map(gsm8k_row, range(200)))
    write_lines(tmp_path / "validation.jsonl", map(gsm8k_row, range(200, 230)))
    train, validation, test = sizes(data_of("gsm8k", tmp_path, test="validation"))
    assert (train + validation, test) == (200, 30)
    assert validation > 0


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "json", "csv", "tsv", "parquet"])
def test_a_file_of_ones_own(ending: str, tmp_path: Path) -> None:
    rows = [{"asked": f"q{i}", "right": str(i), "hard": str(1 + i % 5)} for i in range(40)]
    path = tmp_path / f"mine.{ending}"
    if ending == "jsonl":
        write_lines(path, rows)
    elif ending == "jsonl.gz":
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    elif ending == "json":
        path.write_text(json.dumps({"data": rows}))
    elif ending == "parquet":
        arrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(arrow.Table.from_pylist(rows), path)
    else:
        mark = "," if ending == "csv" else "\t"
        path.write_text(
            "\n".join(mark.join(line) for line in (rows[0], *(r.values() for r in rows)))
        )
    data = data_of("mine", path, checker="number", prompt="asked", solution="right", level="hard")
    assert data.checker.kind == "number"
    found = {problem.prompt: (problem.solution, problem.level) for problem in every(data)}
    assert found == {row["asked"]: (row["right"], int(row["hard"])) for row in rows}


def test_programs_of_ones_own(tmp_path: Path) -> None:
    rows = [
        {"ask": "one", "check": ["assert f() == 1"]},
        {"ask": "two", "check": json.dumps({"inputs": ["1\n"], "outputs": ["2\n"]})},
        {"ask": "three", "check": "assert f() == 3"},
    ]
    path = write_lines(tmp_path / "mine.jsonl", rows)
    data = data_of("mine", path, form="columns", checker="code", prompt="ask", solution="check")
    found = {problem.prompt: problem.columns for problem in every(data)}
    assert found["one"]["tests"] == ["assert f() == 1"]
    assert found["two"]["cases"] == [("1\n", "2\n")]
    assert found["three"]["tests"] == ["assert f() == 3"]


def test_the_datasets_library_reads_what_it_saved(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    labels = datasets.ClassLabel(names=["ham", "spam"])
    features = datasets.Features({"text": datasets.Value("string"), "label": labels})
    parts = {
        split: datasets.Dataset.from_dict(
            {"text": [f"{split} {i}" for i in range(n)], "label": [i % 2 for i in range(n)]},
            features=features,
        )
        for split, n in (("train", 80), ("test", 10))
    }
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    data = data_of("sms", tmp_path / "saved")
    assert len(data.questions["test"]) == 10
    assert data.checker.labels == ("ham", "spam")


def test_load_dataset_is_called_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of data files is a data set's name to the library as one on the hub is."""
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    write_lines(tmp_path / "mine" / "train.jsonl", map(gsm8k_row, range(64)))
    write_lines(tmp_path / "mine" / "test.jsonl", map(gsm8k_row, range(64, 80)))
    data = load_data("gsm8k", DataConfig(hub=str(tmp_path / "mine")))
    train, validation, test = sizes(data)
    assert (train + validation, test) == (64, 16)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ["path", "hub"]),
        ({"path": "a", "hub": "b"}, ["path", "hub", "both"]),
        ({"path": "a", "form": "columns", "prompt": "x"}, ["checker", "solution"]),
        ({"path": "a", "form": "gsm8k", "checker": "text"}, ["checker", "gsm8k"]),
        ({"path": "a", "form": "poem"}, ["form"]),
        ({"path": "a", "promt": "x"}, ["promt"]),
    ],
)
def test_settings_that_clash_are_refused(settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        DataConfig(**settings)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("gsm8k.jsonl", '{"question": "a", "answer": "#### 1"}\n{"question": 1', ["line 2"]),
        ("gsm8k.jsonl", '{"question": "a", "answer": "1"}', ["row 1", "gsm8k", "####"]),
        ("gsm8k.jsonl", '{"text": "a"}', ["row 1", "no column", "text"]),
        ("gsm8k.jsonl", "[1]", ["line 1", "list"]),
        ("gsm8k.json", "3", ["list of objects"]),
        ("gsm8k.jsonl", "", ["no rows"]),
        ("gsm8k.csv", "a,b\n1,2,3\n", ["row 2", "3 cells"]),
        ("gsm8k.txt", "hello", [".jsonl"]),
        ("mbpp.jsonl", '{"text": "a", "task_id": "x", "test_list": ["b"], "code": ""}', ["row 1"]),
        ("arc.jsonl", '{"question": "a", "choices": ["b"], "answer": 1}', ["options"]),
        ("taco.jsonl", '{"question": "a", "input_output": "{"}', ["inputs"]),
    ],
)
def test_a_file_of_another_form_is_refused_in_one_line(
    name: str, text: str, words: list[str], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        data_of(name.partition(".")[0], tmp_path / name)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        data_of("gsm8k", tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no file is named after a split"):
        data_of("gsm8k", tmp_path)
    (tmp_path / "rows.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(ConfigError, match="cannot be read"):
        data_of("gsm8k", tmp_path / "rows.jsonl.gz")
    with pytest.raises(ConfigError, match="set form to one of gsm8k"):
        data_of("poems", write_lines(tmp_path / "poems.jsonl", [{}]))
    path = write_lines(tmp_path / "some.jsonl", [gsm8k_row(1)])
    with pytest.raises(ConfigError, match="exam, but its rows are not divided"):
        data_of("gsm8k", path, test="exam")


def test_a_level_that_no_question_has_is_named(tmp_path: Path) -> None:
    rows = [gsm8k_row(9 * i) for i in range(60)]  # one step each
    data = data_of("gsm8k", write_lines(tmp_path / "rows.jsonl", rows))
    with pytest.raises(ConfigError, match="level from 4 to 5"):
        data.pool("train", (4, 5))


def test_every_form_is_described() -> None:
    assert all(form.summary for form in FORMS.values())


def test_a_hash_is_the_same_for_ever() -> None:
    """Else a resumed run would train on what it was examined with."""
    assert [sixteenth(text) for text in ("", "a", "How?")] == [1, 14, 11]
