"""Several processes that train together do what one would do with all of their prompts."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.offload.processes import finished, killed, started_team
from tests.offload.runs import config_of, results_of, run_new
from understudy.offload.config import Config
from understudy.offload.team import Team
from understudy.run import RunDirectory

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "extend"
# Half of the prompts ask for help that fails at times, so that every path is taken by both.
SHARED: dict[str, Any] = {"cloud.faults.failure_rate": 0.2, "cloud.accuracy": 0.8, "distill": 0.5}


@pytest.mark.parametrize("count", [0, 1, 2, 7, 64])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_shares_are_everything_once(count: int, size: int) -> None:
    shares = [Team(rank, size).share(count) for rank in range(size)]
    assert [place for share in shares for place in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def arguments(config: Config, out: Path) -> list[str]:
    file = out.with_suffix(".yaml")
    file.write_text(config.model_dump_json())  # JSON is YAML
    return ["train", config.recipe, "--out", str(out), "--config", str(file)]


def launched(out: Path, config: Config) -> RunDirectory:
    said = out.with_suffix(".said")
    finished(started_team(arguments(config, out), 2, said), said)
    return RunDirectory.open(out)


@pytest.fixture(scope="module")
def half(model: Path) -> Config:
    """The settings of each of two processes."""
    settings = {key.replace(".", "__"): value for key, value in SHARED.items()}
    shown = {"steps": 3, "examples": 8, "share": 1.0}
    settings |= {"budget": 1.0}  # for enough right replies
    return config_of(
        "understudy", model, batch_size=4, checkpoint_every=1, warm_start=shown, **settings
    )


@pytest.fixture(scope="module")
def pair(half: Config, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return launched(tmp_path_factory.mktemp("team") / "pair", half)


def test_a_team_that_was_killed_resumes_bit_for_bit(
    half: Config, pair: RunDirectory, tmp_path: Path
) -> None:
    out, said = tmp_path / "run", tmp_path / "run.said"
    start = arguments(half, out)
    codes = killed(started_team(start, 2, said), out, 0.0, signal.SIGKILL)
    assert all(codes)  # none had finished; one may have died of the other's death
    finished(started_team([*start[:4], "--resume"], 2, said), said)
    assert results_of(RunDirectory.open(out)) == results_of(pair)


def test_two_processes_are_one_with_twice_the_batch(
    half: Config, pair: RunDirectory, tmp_path: Path
) -> None:
    alone = run_new(tmp_path / "alone", half.model_copy(update={"batch_size": 8}))
    assert_one(alone, pair)
    assert any(line.get("warm_start/steps") for line in alone.metric_lines())
    spent = [run.read(run.summary)["spend"] for run in (alone, pair)]
    assert spent[0]["calls"] == spent[1]["calls"] > 0  # the bill is the team's, not each process's


def test_groups_drawn_again_and_what_is_rehearsed_are_the_team_s(
    model: Path, tmp_path: Path
) -> None:
    hint = f"{EXAMPLES / 'hint.py'}:Hint"
    rehearsal = {"kind": "rehearsal", "size": 8, "rows": 5}
    settings = {key.replace(".", "__"): value for key, value in SHARED.items()}
    config = config_of(hint, model, batch_size=4, retention=rehearsal, budget=0.0, **settings)
    pair = launched(tmp_path / "pair", config)
    alone = run_new(tmp_path / "alone", config.model_copy(update={"batch_size": 8}))
    assert_one(alone, pair)
    kept, theirs = (
        load_file(run.last_checkpoint() / "retention.safetensors") for run in (alone, pair)
    )
    assert int(kept["1.seen"]) > 0
    assert kept.keys() == theirs.keys()
    for name, value in kept.items():
        # Losses are sums in another order.
        near = {"rtol": 1e-3, "atol": 1e-5} if name.endswith("losses") else {"rtol": 0, "atol": 0}
        torch.testing.assert_close(value, theirs[name], **near)


def assert_one(alone: RunDirectory, pair: RunDirectory) -> None:
    """Both left the same lines and weights, to the precision of sums in another order."""
    ours, theirs = alone.metric_lines(), pair.metric_lines()
    assert len(ours) == len(theirs) == 4
    assert any(line["grad_norm"] > 0 for line in ours)
    for one, two in zip(ours, theirs, strict=True):
        assert one.keys() == two.keys()
        for key, value in one.items():
            if isinstance(value, float):
                assert math.isclose(value, two[key], rel_tol=1e-3, abs_tol=1e-5), key
            else:
                assert value == two[key], key
    first, second = (
        load_file(run.last_checkpoint() / "model.safetensors") for run in (alone, pair)
    )
    for name, weight in first.items():
        torch.testing.assert_close(weight, second[name], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_torchrun_starts_a_team_in_which_one_speaks(half: Config, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launcher, "-m", "understudy", *arguments(half, tmp_path / "run")],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("report:") == 1
