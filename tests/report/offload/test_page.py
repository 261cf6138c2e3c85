"""The report of a finished run: complete, alone, repeatable, and not fooled by what it is given."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.report.offload.conftest import written_run
from tests.report.pages import (
    HOSTILE,
    Elements,
    assert_needs_nothing_else,
    assert_nothing_became_markup,
    change,
    page,
    shown,
    terminal,
)
from understudy.errors import RunError
from understudy.report import tables, write
from understudy.run import RunDirectory

MakeRun = Callable[..., RunDirectory]
TEN = (*(f"task{n}" for n in range(1, 9)), "task1", "sums+strings+facts+calendar")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """An ordinary run with its page, for tests that only look at it: drawing takes a while."""
    tasks, settings = ("stories", "strings", "facts"), {"learning_rate": 2e-4}
    run = written_run(tmp_path_factory.mktemp("whole") / "run", tasks, settings)
    write(run)
    return run


def change_lines(run: RunDirectory, **values: Any) -> None:
    lines = [line | values for line in run.metric_lines()]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_figures_of_the_summary_are_on_the_page(whole: RunDirectory) -> None:
    text, summary = Elements(shown(whole)).text, whole.read(whole.summary)
    for which in ("local", "system"):
        for metric in ("average_accuracy", "forgetting", "backward_transfer", "post_switch"):
            assert f"{summary[which][metric]:.3f}".replace("-", "−") in text
    for phase in summary["phases"]:
        assert f"{phase['phase']} {phase['task']}" in text
        for figure in (phase["training"]["settled_mean"], phase["evaluation"]["system"]):
            assert f"{figure:.3f}" in text
    assert all(figure in text for figure in ("4,321", "43,688", "238", "$0.0371", "$12.50"))


def test_a_page_needs_nothing_but_itself(whole: RunDirectory) -> None:
    assert_needs_nothing_else(shown(whole))


def test_the_same_run_gives_the_same_bytes_in_every_process(
    whole: RunDirectory, tmp_path: Path
) -> None:
    first = shown(whole)
    run = RunDirectory.open(shutil.copytree(whole.path, tmp_path / whole.path.name))
    assert page(run) == first
    run.report.unlink()
    code = "import sys; from pathlib import Path; from understudy.run import RunDirectory as R; "
    code += "from understudy.report import write as w; w(R.open(Path(sys.argv[1])))"
    subprocess.run([sys.executable, "-c", code, str(run.path)], check=True)
    assert run.report.read_text(encoding="utf-8") == first
    assert not list(run.path.glob(".*.part"))


def test_how_exact_a_figure_is_goes_by_the_questions_that_were_asked(make_run: MakeRun) -> None:
    """Not by those that were asked for: a data set may have fewer."""
    run = make_run(settings={"eval_queries": 512})
    assert "Each figure is over 256 different test questions per task: ±0.06 at most." in page(run)
    change(run, "matrix", lambda rows: rows[0]["tasks"][1].update(distinct_questions=46))
    assert (
        "Each figure is over 46 different test questions or more per task: ±0.14 at most."
        in page(run)
    )


def test_a_task_that_asks_more_than_its_budget_is_named_if_chance_cannot_explain_it(
    make_run: MakeRun,
) -> None:
    """0.5 of 57 questions is 0.37 to 0.63: above 0.3, and not above 0.4."""
    for budget, named in ((0.3, True), (0.4, False)):
        run = make_run(f"run-{budget}", tasks=("sums",))
        served = {"ask_rate": 0.5, "distinct_questions": 57}
        change(run, "matrix", lambda rows, served=served: rows[1]["tasks"][0].update(served))
        change(run, "summary", lambda found, most=budget: found["phases"][0].update(budget=most))
        words = f"sums asks 0.50 as served, above its budget of {budget:.2f} (0.37 to 0.63 by 57"
        assert (words in page(run)) is named


def test_what_is_served_and_what_is_trained_are_told_apart(make_run: MakeRun) -> None:
    run = make_run(tasks=("sums", "facts"))

    def asked(summary: Any) -> None:
        for phase, trained in zip(summary["phases"], (0.26, 0.31), strict=True):
            phase["training"]["mean"] = trained
            phase["evaluation"]["ask_rate"] = 0.2

    change(run, "summary", asked)
    text = page(run)
    assert "As served at the end of its phase, no task asks above the budget." in text
    assert "In training, where it is steered to, 1 of 2 phases asked above it on the whole" in text
    assert "In training, 26% to 31% of a phase&#x27;s responses asked; the budget is 30%" in text


@pytest.mark.parametrize("tasks", [("sums",), TEN])
def test_any_number_of_phases(make_run: MakeRun, tasks: tuple[str, ...]) -> None:
    text = page(make_run(tasks=tasks))
    assert text.count("<svg") == text.count("</svg>") == 2 * 6  # for a wide page and a narrow one
    assert not re.search(r"\b(nan|None|inf)\b", text)


def test_a_run_that_never_asks(make_run: MakeRun) -> None:
    text = page(make_run(asks=False))
    assert "logit shift" not in text
    assert "In training, 0% of a phase" in text
    # Silence is what such a recipe does: no warning.
    assert "Warnings in training" not in text


def test_the_shift_is_drawn_where_there_is_one(whole: RunDirectory, make_run: MakeRun) -> None:
    assert "logit shift" in shown(whole)
    run = make_run(tasks=("sums",))
    change_lines(run, **{"cloud/shift": 0.0})
    assert "logit shift" not in page(run)


def test_what_was_not_measured_is_a_dash(make_run: MakeRun) -> None:
    run = make_run()

    def unknown(summary: Any) -> None:
        for which in ("local", "system", "calibrated_system"):
            summary[which] = dict.fromkeys(summary[which])
        for phase in summary["phases"]:
            phase["training"] = dict.fromkeys(phase["training"])

    change(run, "summary", unknown)
    change_lines(run, local_accuracy=None, **{"cloud/shift": None})
    text = page(run)
    assert text.count("–") > 10
    assert not re.search(r"\b(nan|None)\b", text)


def dead(run: RunDirectory) -> None:
    """A run whose every call failed."""

    def no_answer(cells: Iterable[Any]) -> None:
        for cell in cells:
            cell |= {"cloud": None, "system": cell["local"]}
            cell |= {"curve": [cell["local"], *[None] * 10]} if "curve" in cell else {}

    change(run, "matrix", lambda matrix: no_answer(c for row in matrix for c in row["tasks"]))
    change(run, "summary", lambda summary: no_answer(p["evaluation"] for p in summary["phases"]))
    for bill in ("spend", "evaluation_spend"):
        change(run, "summary", lambda s, bill=bill: s[bill].update(calls=182, failed_calls=182))


def test_of_a_cloud_that_never_answered_nothing_is_claimed(make_run: MakeRun) -> None:
    run = make_run()
    dead(run)
    replies = ["no route: <b>", "circuit open", "circuit open", None]
    run.replies.write_text("".join(json.dumps({"error": each}) + "\n" for each in replies))
    text = Elements(page(run)).text
    reasons = "circuit open (2), no route: <b> (1)"
    assert f"182 of 182 calls failed in training: {reasons}. " in text
    assert "182 of 182 calls failed in the examinations. " in text
    assert "the cloud alone: –" in text
    assert "APGR –" not in text
    assert "there is nothing to draw" in text
    assert not re.search(r"\b(nan|None)\b", shown(run))
    assert " – " in terminal(*tables(run))


def test_a_few_failed_calls_are_no_warning(make_run: MakeRun) -> None:
    run = make_run()
    assert "calls failed in" not in page(run)
    change(run, "summary", lambda summary: summary["spend"].update(failed_calls=3000))
    assert "3,000 of 4,321 calls failed in training" in page(run)


def test_a_cloud_no_better_than_the_model_has_no_gap_to_recover(make_run: MakeRun) -> None:
    run = make_run()

    def level(matrix: Any) -> None:
        for cell in matrix[-1]["tasks"]:
            cell["curve"] = [0.5] * 11

    change(run, "matrix", level)
    assert "APGR – on average" in page(run)


def test_warnings_of_the_training_are_said_again(make_run: MakeRun) -> None:
    run = make_run(tasks=("sums",))
    change_lines(run, **{"completions/clipped_ratio": 0.8})
    text = page(run)
    assert "Warnings in training" in text
    assert text.count("80% of the responses are cut off") == 1


def test_an_unfinished_run_is_refused(make_run: MakeRun) -> None:
    run = make_run()
    run.summary.unlink()
    with pytest.raises(RunError, match=r"summary\.json.*--resume"):
        write(run)
    assert not run.report.exists()


def test_a_page_that_cannot_be_written_says_so(make_run: MakeRun) -> None:
    run = make_run()
    run.report.mkdir()
    with pytest.raises(RunError, match=r"report\.html: cannot be written"):
        write(run)


def test_names_and_settings_cannot_become_markup(make_run: MakeRun) -> None:
    settings = {"recipe": HOSTILE, "model": HOSTILE, "note": {HOSTILE: [HOSTILE]}, "seed": HOSTILE}
    run = make_run(tasks=(HOSTILE, "sums"), settings=settings)
    change_lines(run, **{"completions/clipped_ratio": 0.8})  # a warning names its task
    assert_nothing_became_markup(page(run))


def test_a_run_can_be_repeated_from_its_page(whole: RunDirectory) -> None:
    text = Elements(shown(whole)).text
    assert "understudy train understudy --config config.yaml --out runs/again" in text
    settings = text[text.index("All settings") + len("All settings") :]
    assert yaml.safe_load(settings) == whole.settings()
