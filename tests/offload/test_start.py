"""What a run starts with, and what is refused before anything is paid for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.small import write_checkpoint
from tests.models.test_vllm import LIBRARY
from tests.offload.runs import (
    Silent,
    StoppedError,
    config_of,
    first_experience,
    results_of,
    run_new,
    run_on,
    trajectory,
)
from tests.tasks.published import mbpp_row, write_lines
from understudy.errors import ConfigError, SandboxError
from understudy.models.vllm import VllmEngine
from understudy.offload.learn import ask_pull
from understudy.offload.loop import objective_of
from understudy.offload.start import build_tasks, load_policy, start
from understudy.offload.team import Team
from understudy.recipes import build_method, resumed_config
from understudy.run import RunDirectory
from understudy.tasks.data import DataSet


def test_vllm_draws_every_step_by_the_adapter_that_the_last_one_left(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.models.vllm._installed", lambda: LIBRARY)
    phases = [{"families": "facts", "levels": [1, 1], "steps": 2}]
    settings = {"stream": phases, "max_completion_length": 4, "eval_queries": 2}
    small = {"calibration_queries": 2, "batch_size": 2, "num_generations": 2}
    config = config_of("understudy", model, sampler="vllm", lora__rank=2, **settings, **small)
    with pytest.raises(ConfigError, match="sampler=vllm"):
        start(config, build_method(config), Team(0, 2))
    lines, state = trajectory(config)
    engine = state.policy.engine
    assert isinstance(engine, VllmEngine)
    assert len(lines.steps) == 2
    # Two steps; before and after them the test questions, and those that fit the threshold.
    assert engine.version == 6


def test_weights_that_are_trained_are_kept_whole(model: Path) -> None:
    config = config_of("understudy", model, dtype="bfloat16")
    with pytest.raises(ConfigError, match="dtype=bfloat16"):
        start(config, build_method(config))


def test_threads_and_precision_are_chosen_once_and_kept(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed run computes as it began, whatever the machine would choose now."""
    place = "understudy.offload.settled"
    monkeypatch.setattr(f"{place}.chosen_bf16", lambda *_: True)
    config = config_of("understudy", model)
    config = config.model_copy(update={"threads": None, "bf16": None})
    whole, display = run_new(tmp_path / "whole", config), Silent(stop_at=3)
    with pytest.raises(StoppedError):
        run_new(tmp_path / "stopped", config, display)
    assert display.notes == ["chosen for 0.013M parameters: threads=1, bf16=true"]
    monkeypatch.setattr(f"{place}.chosen_bf16", lambda *_: False)
    run = RunDirectory.open(tmp_path / "stopped")
    kept = resumed_config(run, None, [])
    assert (kept.threads, kept.bf16) == (1, True)
    assert results_of(run_on(run, kept)) == results_of(whole)
    other = config_of("understudy", model, bf16=False)
    assert results_of(run_new(tmp_path / "other", other)) != results_of(whole)


def test_rewards_of_one_name_are_refused(model: Path, tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("def worth(prompts, completions, **_): return [1.0]\n")
    functions = [f"{tmp_path / name}:worth" for name in ("a.py", "b.py")]
    config = config_of("understudy", model, reward__functions=functions)
    with pytest.raises(ConfigError, match=r"reward\.functions.*two are called worth"):
        start(config, build_method(config))


def test_programs_that_could_not_be_checked_are_refused_at_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lines(tmp_path / "mbpp.jsonl", [mbpp_row(number) for number in (20, 520, 700)])
    monkeypatch.setattr("understudy.sandbox.bubblewrap.shutil.which", lambda _: None)
    phases = [{"families": "mbpp", "steps": 1}]
    config = config_of("understudy", model, stream=phases, data={"mbpp": {"path": str(path)}})
    with pytest.raises(SandboxError):
        start(config, build_method(config))


@pytest.mark.parametrize("settings", [{"sampler": "own"}, {"sampler": "vllm", "lora__rank": 2}])
def test_options_that_the_sampler_does_not_take_are_refused(
    model: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    monkeypatch.setattr("understudy.models.vllm._installed", lambda: LIBRARY)
    options = {"max_lora_rank": 64}
    config = config_of("understudy", model, sampler_options=options, **settings)
    with pytest.raises(ConfigError, match="sampler_options"):
        start(config, build_method(config))


def test_questions_that_are_too_long_are_left_out_before_the_run(
    model: Path, tmp_path: Path
) -> None:
    rows = [{"prompt": f"{i} " * count, "solution": "1"} for i, count in enumerate([2, 3] * 4)]
    rows[3]["prompt"] = "3 " * 5000
    path = write_lines(tmp_path / "long.jsonl", rows)
    data = {"path": str(path), "checker": "number", "prompt": "prompt", "solution": "solution"}
    phases = [{"families": "long", "steps": 1}]
    config = config_of("understudy", model, stream=phases, data={"long": data})
    with pytest.warns(UserWarning, match="1 questions are too long"):
        _, helpers = start(config, build_method(config))
    family = helpers.tasks.families["long"]
    assert isinstance(family, DataSet)
    left = [problem.prompt.strip() for part in family.questions.values() for problem in part]
    assert sorted(left) == sorted(row["prompt"].strip() for row in rows if len(row["prompt"]) < 99)
    helpers.close()


def _labelled(folder: Path, words: int, examples: int | None) -> dict[str, Any]:
    rows = [{"text": f"{i} " + "long " * words, "label": "ab"[i % 2]} for i in range(16)]
    path = write_lines(folder / "mine.jsonl", rows)
    return {"mine": {"path": str(path), "form": "label", "examples": examples}}


@pytest.mark.parametrize(
    ("words", "examples", "said"),
    [
        (8, 4, r"data\.mine\.examples=4: they take \d+ of the model's 256 positions .* lower it"),
        (0, 64, r"data\.mine\.examples=64: they are all of its \d+ training questions; lower it"),
    ],
)
def test_too_many_examples_are_refused_by_name(
    words: int, examples: int, said: str, tmp_path: Path
) -> None:
    base = write_checkpoint(tmp_path / "base", "llama", chat=True)
    data = _labelled(tmp_path, words, examples)
    config = config_of("grpo", base, stream=[{"families": "mine", "steps": 1}], data=data)
    config = config.model_copy(update={"request": ""})
    with pytest.raises(ConfigError, match=said):
        start(config, build_method(config))


def test_the_usual_examples_leave_something_to_train_on(tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", "llama", chat=True, max_position_embeddings=4096)
    labels = [f"kind {i}" for i in range(12)]
    rows = [{"text": f"text {i}", "label": label} for i, label in enumerate(labels)]
    data = {"mine": {"path": str(write_lines(tmp_path / "mine.jsonl", rows)), "form": "label"}}
    config = config_of("grpo", base, stream=[{"families": "mine", "steps": 1}], data=data)
    with build_tasks(config, load_policy(config)) as tasks:
        family = tasks.families["mine"]
        assert isinstance(family, DataSet)
        assert family.questions["train"]
        assert family.examples


def test_the_guide_does_not_pull_at_responses_that_asked_in_words(model: Path) -> None:
    config = config_of("understudy", model, price__anchor=1.0)
    state, helpers, experience = first_experience(config)
    batch = experience.batch
    spoken = torch.arange(len(batch.drawn.mask)) % 3 == 0
    in_words = replace(batch, drawn=replace(batch.drawn, in_words=spoken))
    objective = objective_of(state, experience, 1)
    _, plain = ask_pull(objective, objective.ask_terms)
    spoken_too = replace(objective, experience=replace(experience, batch=in_words))
    _, pull = ask_pull(spoken_too, objective.ask_terms)
    assert plain.abs().min() > 0
    assert pull.tolist() == plain.masked_fill(spoken, 0.0).tolist()
    helpers.close()
