"""The state on disk: whole, or refused in one line that names the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.offload.runs import (
    EVERYTHING,
    Lines,
    Silent,
    StoppedError,
    config_of,
    run_new,
    run_on,
)
from understudy.errors import CheckpointError
from understudy.offload.config import Config
from understudy.offload.loop import train
from understudy.offload.method import Dual, Method
from understudy.offload.scores import Scores
from understudy.offload.start import start
from understudy.offload.state import load_state, save_state, saved_dual
from understudy.offload.team import ALONE, Team
from understudy.recipes import build_method
from understudy.run import RunDirectory
from understudy.tasks.stream import load_stream

FAULTY = {key.replace(".", "__"): value for key, value in EVERYTHING.items()}


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("recipe", ["understudy", "grpo"])
def test_a_state_comes_back_as_it_was(recipe: str, model: Path, tmp_path: Path) -> None:
    distill = 0.0 if recipe == "grpo" else 0.5  # grpo asks nothing that it could learn from
    config = config_of(recipe, model, **FAULTY | {"distill": distill})
    state, helpers = start(config, build_method(config))
    state = train(state, helpers, load_stream(config.stream), config, Lines(), lambda _: None)
    save_state(state, helpers, tmp_path)
    fresh = start(config, build_method(config), checkpoint=tmp_path)
    loaded, others = load_state(*fresh, tmp_path)
    assert (loaded.step, loaded.matrix, loaded.dual) == (state.step, state.matrix, state.dual)
    assert others.cloud.state() == helpers.cloud.state()
    assert others.examiner.state() == helpers.examiner.state()
    weights = zip(
        loaded.policy.network.parameters(), state.policy.network.parameters(), strict=True
    )
    assert all(torch.equal(ours, theirs) for ours, theirs in weights)
    ours, theirs = loaded.optimiser.state_dict(), state.optimiser.state_dict()
    assert ours["param_groups"] == theirs["param_groups"]
    assert ours["state"].keys() == theirs["state"].keys()
    for number, moments in theirs["state"].items():
        for name, value in moments.items():
            assert torch.equal(ours["state"][number][name], value)
    assert saved_dual(tmp_path).shift == state.dual.shift


def test_those_who_follow_resume_without_the_clouds_log(model: Path, tmp_path: Path) -> None:
    config = config_of("understudy", model)
    run = run_new(tmp_path / "run", config)
    saved = run.last_checkpoint()
    fresh, helpers = start(config, build_method(config), Team(rank=1, size=2), saved)
    assert load_state(fresh, helpers, saved)[0].step == 4
    with pytest.raises(CheckpointError, match="no log"):  # as whoever leads would have to
        load_state(fresh, replace(helpers, team=ALONE), saved)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("keep", [0, 5, 0.5, None])
def test_a_damaged_checkpoint_is_named_and_left_alone(
    name: str, keep: float | None, model: Path, tmp_path: Path
) -> None:
    config = config_of("understudy", model)
    with pytest.raises(StoppedError):
        run_new(tmp_path / "run", config, Silent(stop_at=4))
    run = RunDirectory.open(tmp_path / "run")
    damaged = run.last_checkpoint() / name
    content = damaged.read_bytes()
    if keep is None:
        damaged.unlink()
    else:
        damaged.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    before = snapshot(tmp_path)
    with pytest.raises(CheckpointError, match=name) as caught:
        run_on(run, config)
    assert "\n" not in str(caught.value)
    assert snapshot(tmp_path) == before
    damaged.write_bytes(content)
    assert run_on(run, config).summary.exists()


@pytest.mark.parametrize("record", [[], {}, {"step": 1}])
def test_a_state_that_lacks_a_part_is_refused(record: object, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"state\.json.*dual"):
        saved_dual(tmp_path)


def test_a_damaged_newest_checkpoint_can_be_removed_for_the_one_before(
    model: Path, tmp_path: Path
) -> None:
    config = config_of("dagrpo", model, checkpoint_every=1)
    whole = run_new(tmp_path / "run", config)
    wanted = whole.metrics.read_bytes()
    newest = whole.last_checkpoint()
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    assert run_on(whole, config).metrics.read_bytes() == wanted
    assert whole.last_checkpoint() == newest


class Remembers(Method):
    """Has nothing to save before its first step."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.seen: dict[str, torch.Tensor] = {}

    def advantage(self, scores: Scores, dual: Dual) -> torch.Tensor:
        total = self.seen.get("total", torch.zeros(()))
        self.seen = {"total": total + scores.reward.sum(), "last": scores.reward.sum()}
        return scores.reward

    def tensors(self) -> dict[str, torch.Tensor]:
        return self.seen

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.seen = dict(tensors)


def test_what_a_method_comes_to_remember_is_restored(model: Path, tmp_path: Path) -> None:
    config = config_of("dagrpo", model)
    state, helpers = start(config, Remembers(config))
    save_state(state, helpers, tmp_path / "before")
    state = train(state, helpers, load_stream(config.stream), config, Lines(), lambda _: None)
    save_state(state, helpers, tmp_path / "after")
    for folder, wanted in (("before", {}), ("after", state.method.tensors())):
        method = Remembers(config)
        fresh = start(config, method, checkpoint=tmp_path / folder)
        load_state(*fresh, tmp_path / folder)
        assert method.seen == wanted
        assert [*method.seen] == [*wanted], "sums over all of them depend on it"
    assert wanted
