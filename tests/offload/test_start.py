"""What a run starts with, and what is refused before anything is paid for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.test_vllm import LIBRARY
from tests.offload.runs import config_of, trajectory
from tests.tasks.published import mbpp_row, write_lines
from understudy.errors import ConfigError, SandboxError
from understudy.models.vllm import VllmEngine
from understudy.offload.start import start
from understudy.offload.team import Team
from understudy.recipes import method


def test_vllm_draws_every_step_by_the_adapter_that_the_last_one_left(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.models.vllm._installed", lambda: LIBRARY)
    phases = [{"families": "facts", "levels": [1, 1], "steps": 2}]
    settings = {"stream": phases, "max_completion_length": 4, "eval_queries": 2}
    small = {"calibration_queries": 2, "batch_size": 2, "num_generations": 2}
    config = config_of("understudy", model, sampler="vllm", lora__rank=2, **settings, **small)
    with pytest.raises(ConfigError, match="sampler=vllm"):
        start(config, method("understudy")(config), Team(0, 2))
    lines, state = trajectory(config)
    engine = state.policy.engine
    assert isinstance(engine, VllmEngine)
    assert len(lines.steps) == 2
    # Two steps; before and after them the test questions, and those that fit the threshold.
    assert engine.version == 6


def test_weights_that_are_trained_are_kept_whole(model: Path) -> None:
    config = config_of("understudy", model, dtype="bfloat16")
    with pytest.raises(ConfigError, match="dtype=bfloat16"):
        start(config, method("understudy")(config))


def test_rewards_of_one_name_are_refused(model: Path, tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("def worth(prompts, completions, **_): return [1.0]\n")
    functions = [f"{tmp_path / name}:worth" for name in ("a.py", "b.py")]
    config = config_of("understudy", model, reward__functions=functions)
    with pytest.raises(ConfigError, match=r"reward\.functions.*two are called worth"):
        start(config, method("understudy")(config))


def test_programs_that_could_not_be_checked_are_refused_at_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lines(tmp_path / "mbpp.jsonl", [mbpp_row(number) for number in (20, 520, 700)])
    monkeypatch.setattr("understudy.sandbox.bubblewrap.shutil.which", lambda _: None)
    phases = [{"families": "mbpp", "steps": 1}]
    config = config_of("understudy", model, stream=phases, data={"mbpp": {"path": str(path)}})
    with pytest.raises(SandboxError):
        start(config, method("understudy")(config))
