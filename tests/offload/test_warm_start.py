"""A model without the form of an answer is shown it from replies; one that has it pays nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.small import write_checkpoint
from tests.offload.runs import (
    Lines,
    Silent,
    StoppedError,
    config_of,
    results_of,
    run_new,
    run_on,
    saved_model,
    trajectory,
)
from understudy.errors import ConfigError
from understudy.objectives.terms import Term
from understudy.offload.config import Config
from understudy.offload.learn import asking_of
from understudy.offload.learner import PolicyLearner
from understudy.offload.loop import train
from understudy.offload.settled import settled
from understudy.offload.start import start
from understudy.offload.steps import read_steps
from understudy.offload.warm_start import enough, right_replies, warm_start
from understudy.recipes import build_method, resolve_config
from understudy.report import comparison
from understudy.retention.retention import Retention
from understudy.run import RunDirectory
from understudy.tasks.stream import load_stream
from understudy.types import Example, Question

ONE = [{"families": "facts", "levels": [1, 1], "steps": 3}]
SHOWN: dict[str, Any] = {"warm_start__steps": 24, "warm_start__examples": 6}


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt nothing."""
    return saved_model(tmp_path_factory.mktemp("blank"), schooled=False)


def shown(blank: Path, **settings: Any) -> Config:
    given = {"stream": ONE, "budget": 1.0, "cloud__accuracy": 1.0, "learning_rate": 0.004}
    return config_of("dagrpo", blank, **(given | SHOWN | settings))


def first_line(config: Config) -> dict[str, Any]:
    lines, _ = trajectory(config)
    assert not any(key.startswith("warm_start/") for line in lines.steps[1:] for key in line)
    return lines.steps[0]


def test_a_model_without_the_form_gets_it_and_every_call_is_counted(blank: Path) -> None:
    line = first_line(shown(blank))
    assert line["warm_start/formed_before"] < 0.2
    assert line["warm_start/formed_after"] >= 0.8
    assert (line["warm_start/asked"], line["warm_start/examples"]) == (6, 6)
    assert 0 < line["warm_start/steps"] <= 24
    assert line["cloud/calls"] >= 6
    assert line["warm_start/usage"] == 6 / (3 * 4)
    assert line["cloud/budget"] == 1.0 - 6 / (3 * 4)  # what the responses may ask


def test_it_stops_as_soon_as_enough_responses_have_the_form(blank: Path) -> None:
    short, long = (
        first_line(shown(blank, warm_start__share=share))["warm_start/steps"]
        for share in (0.2, 1.0)
    )
    assert short < long


def test_half_of_the_budget_is_the_most_that_it_asks(blank: Path) -> None:
    # 3 steps of 4 questions, of which 0.7 may be asked: 8, and 4 of them here.
    assert first_line(shown(blank, budget=0.7))["warm_start/asked"] == 4
    assert "warm_start/asked" not in first_line(shown(blank, budget=0.0))


def test_questions_that_were_paid_for_before_are_no_part_of_a_later_phases_budget(
    blank: Path,
) -> None:
    config = shown(blank)
    _, helpers = start(config, build_method(config))
    phase = load_stream(config.stream)[0]
    first, second = (helpers.batch(phase, step, config) for step in (0, 1))
    new = {problem.question.digest for problem in second}
    new -= {problem.question.digest for problem in first}
    assert right_replies(helpers, first)[1] == helpers.cloud.spend.calls
    replies, paid, right = right_replies(helpers, [*first, *second])
    assert (replies, paid, len(right)) == (8, len(new), 8)


def test_a_phase_reports_all_that_it_asked(blank: Path, tmp_path: Path) -> None:
    run = run_new(tmp_path / "run", shown(blank, budget=0.75))
    (phase,) = run.read(run.summary)["phases"]
    rates = [step.ask_rate for step in read_steps(run)]
    assert phase["budget"] == 0.75
    assert phase["warm_start_usage"] == 4 / 12
    assert phase["usage"] == pytest.approx(sum(rates) / 3 + 4 / 12)
    asked = phase["training"]["settled_mean"] + 4 / 12
    (compared,) = comparison([run])
    assert compared["asked in training"] == pytest.approx(asked)


def test_a_model_that_has_the_form_pays_no_call_and_learns_the_same(model: Path) -> None:
    """`model` was schooled in the form of facts."""
    (plain, was), (lines, state) = (
        trajectory(config_of("understudy", model, stream=ONE, **settings))
        for settings in ({"warm_start__steps": 0}, SHOWN | {"warm_start__share": 0.5})
    )
    assert lines.steps[0].pop("warm_start/formed_before") >= 0.5
    assert lines.steps[0].pop("warm_start/formed_after") >= 0.5
    for key in ("asked", "replies", "examples", "steps", "usage"):
        assert lines.steps[0].pop(f"warm_start/{key}") == 0
    assert lines.steps == plain.steps
    pairs = zip(state.trained(), was.trained(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def asking_after(config: Config, shift: float) -> tuple[float, float]:
    """The mean log-probability of asking along right answers, before and after a warm start."""
    state, helpers = start(config, build_method(config))
    state.dual = replace(state.dual, shift=shift)
    phase = load_stream(config.stream)[0]
    problems = helpers.tasks.batch(phase, 16, "train", "others")
    examples = [Example(problem.question, problem.worked) for problem in problems]

    def mean() -> float:
        return float(torch.cat(asking_of(state.policy, examples, config)).mean())

    before = mean()
    assert warm_start(state, helpers, (1, phase), config).steps > 0
    return before, mean()


def test_asking_is_not_unlearnt(blank: Path) -> None:
    """Of a run that never asks it is not held: there it falls."""
    config = shown(blank, warm_start__share=1.0)
    before, held = asking_after(config, 0.0)
    _, free = asking_after(config, float("-inf"))
    assert free < before - 1
    assert abs(held - before) < (before - free) / 3


def test_no_right_reply_teaches_nothing_and_is_said(blank: Path, tmp_path: Path) -> None:
    display = Silent()
    run = run_new(tmp_path / "run", shown(blank, cloud__accuracy=0.0), display)
    line = run.metric_lines()[0]
    assert (line["warm_start/asked"], line["warm_start/examples"]) == (6, 0)
    assert line["warm_start/steps"] == 0
    (text,) = [text for text in display.warnings if "warm start" in text]
    assert "0 of the cloud's 6 replies were right" in text
    cut = shown(blank, max_completion_length=2)  # no worked answer fits
    assert first_line(cut)["warm_start/examples"] == first_line(cut)["warm_start/steps"] == 0


def test_too_few_replies_or_one_label_alone_teach_nothing(blank: Path, tmp_path: Path) -> None:
    def example(answer: str) -> Example:
        return Example(Question.of("?"), answer)

    assert enough([example(text) for text in ("ham", "spam", "ham", "ham")])
    assert not enough([example(text) for text in ("ham", "spam", "ham")])
    assert not enough([example("ham")] * 16)
    display = Silent()
    run = run_new(tmp_path / "run", shown(blank, cloud__max_calls=8), display)
    line = run.metric_lines()[0]  # an examination of 6 questions came first
    assert (line["warm_start/examples"], line["warm_start/steps"]) == (2, 0)
    assert line["warm_start/formed_after"] == line["warm_start/formed_before"]
    assert sum("2 of the cloud's 2 replies were right" in each for each in display.warnings) == 1


def test_a_budget_for_too_few_questions_asks_none_of_them(blank: Path) -> None:
    config = shown(blank, budget=0.5)  # 6 of the 12 questions, and 3 of them here
    with pytest.warns(UserWarning, match="it may ask 3 of the phase's questions and needs 4"):
        line = first_line(config)
    assert line["warm_start/asked"] == line["warm_start/steps"] == line["warm_start/usage"] == 0
    assert line["cloud/budget"] == 0.5


def test_a_question_that_no_cap_lets_through_is_not_asked(blank: Path, tmp_path: Path) -> None:
    run = run_new(tmp_path / "run", shown(blank, cloud__max_calls=8))
    line = run.metric_lines()[0]  # an examination of 6 questions came first
    assert line["warm_start/asked"] == line["warm_start/examples"] == 2


LABELS = ("ham", "spam")


@pytest.fixture
def messages(tmp_path: Path) -> dict[str, Any]:
    """A label task of which one label is rare; the simulated cloud names labels alone."""
    file = tmp_path / "sms.jsonl"
    rows = [{"text": f"message {i}", "label": LABELS[i % 10 == 0]} for i in range(200)]
    file.write_text("\n".join(map(json.dumps, rows)))
    return {"data": {"sms": {"path": str(file), "form": "label"}}}


def test_every_label_is_shown_as_often(blank: Path, messages: dict[str, Any]) -> None:
    stream = [{"families": "sms", "steps": 20}]
    config = shown(blank, stream=stream, warm_start__examples=8, **messages)
    state, helpers = start(config, build_method(config))
    replies: list[str] = []

    class Listening:
        def __getattr__(self, name: str) -> Any:
            return getattr(helpers.cloud, name)

        def replies(self, questions: Sequence[Any]) -> Any:
            found = helpers.cloud.replies(questions)
            replies.extend(reply.text or "" for reply in found)
            return found

    listening: Any = Listening()
    given = replace(helpers, cloud=listening)
    warm_start(state, given, (1, load_stream(config.stream, ["sms"])[0]), config)
    assert sorted(replies) == ["ham"] * 4 + ["spam"] * 4


@pytest.mark.parametrize("event", range(1, 7))
def test_a_run_stopped_anywhere_resumes_bit_for_bit(
    event: int, blank: Path, tmp_path: Path, whole: dict[str, bytes], two_phases: Config
) -> None:
    with pytest.raises(StoppedError):
        run_new(tmp_path / "run", two_phases, Silent(stop_at=event))
    assert results_of(run_on(RunDirectory.open(tmp_path / "run"), two_phases)) == whole


TWO = [
    {"families": "facts", "levels": [1, 1], "steps": 2, "budget": 1.0},
    {"families": "strings", "levels": [1, 2], "steps": 2, "budget": 0.9},
]


@pytest.fixture(scope="module")
def two_phases(blank: Path) -> Config:
    faults = {"cloud__faults__failure_rate": 0.1, "cloud__accuracy": 0.95, "batch_size": 6}
    settings = {"stream": TWO, "checkpoint_every": 1, "warm_start__share": 1.0}
    return config_of("understudy", blank, **(faults | SHOWN | settings))


@pytest.fixture(scope="module")
def whole(two_phases: Config, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    run = run_new(tmp_path_factory.mktemp("whole") / "run", two_phases)
    lines = run.metric_lines()
    assert [line["step"] for line in lines if line.get("warm_start/steps")] == [1, 3]
    return results_of(run)


def test_a_retention_gives_its_terms_before_every_step_that_is_taken(blank: Path) -> None:
    """Those of the warm start have the number of the step to come."""
    config = shown(blank, stream=TWO, warm_start__steps=5, warm_start__share=1.0, batch_size=6)
    state, helpers = start(config, build_method(config))
    events: list[tuple[str, int, int]] = []

    class Noted(Retention):
        wants_examples = True

        def terms(self, phase: int, step: int) -> Sequence[Term]:
            events.append(("terms", phase, step))
            return ()

        def after_step(self, phase: int, step: int, verified: Sequence[Example]) -> None:
            events.append(("after", phase, step))

        def at_switch(self, phase: int) -> None:
            events.append(("switch", phase, 0))

    state.retention = Noted(
        config.retention, PolicyLearner(state.policy, lambda: state.policy, 8), 0
    )
    train(state, helpers, load_stream(config.stream), config, Lines(), lambda _: None)
    one, two = ([("terms", n, 2 * n - 2)] * 6 for n in (1, 2))
    last = [
        [
            ("after", n, 2 * n - 2),
            ("terms", n, 2 * n - 1),
            ("after", n, 2 * n - 1),
            ("switch", n, 0),
        ]
        for n in (1, 2)
    ]
    assert events == [*one, *last[0], *two, *last[1]]


FALLS = """
from tests.offload.runs import StoppedError
from understudy.retention.rehearsal import Rehearsal

calls = []


class Falls(Rehearsal):
    def terms(self, phase, step):
        calls.append(phase)
        if phase == 2 and calls.count(2) == 2:
            raise StoppedError
        return super().terms(phase, step)
"""


def test_a_run_killed_within_it_pays_nothing_twice(
    two_phases: Config, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """A retention that raises in the middle of the second phase's warm start."""
    kind = tmp_path / "falls.py"
    kind.write_text(FALLS)
    settings = two_phases.model_dump(mode="json") | {"retention": f"{kind}:Falls"}
    config = type(two_phases).model_validate(settings)
    with pytest.raises(StoppedError):
        run_new(tmp_path / "run", config)
    run = RunDirectory.open(tmp_path / "run")
    paid = run.replies.read_text()
    again = results_of(run_on(run, config))
    assert run.replies.read_text().startswith(paid)
    assert again["metrics.jsonl"] == whole["metrics.jsonl"]
    name = next(name for name in whole if name.endswith("model.safetensors"))
    assert again[name] == whole[name]


def test_where_it_is_on_by_itself(tmp_path: Path) -> None:
    """For chat models in recipe understudy alone; never for the tiny model."""
    chat = str(write_checkpoint(tmp_path / "chat", "llama", chat=True))
    plain = str(write_checkpoint(tmp_path / "plain", "llama"))
    steps = {
        (recipe, name): settled(resolve_config(recipe, None, [f"model={path}"])).warm_start.steps
        for recipe in ("understudy", "dagrpo", "grpo", "gapg", "shaped")
        for name, path in (("chat", chat), ("plain", plain), ("tiny", "tiny"))
    }
    assert steps.pop(("understudy", "chat")) > 0
    assert set(steps.values()) == {0}


def test_a_setting_that_would_have_no_effect_is_refused() -> None:
    with pytest.raises(ConfigError, match="examples=3 has an effect with steps above 0"):
        resolve_config("grpo", None, ["warm_start.examples=3"])
    assert resolve_config("grpo", None, ["warm_start.steps=2"]).warm_start.steps == 2
