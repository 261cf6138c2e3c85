"""Several processes that train together do what one would do with all of their prompts."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.offload.runs import config_of, run_new
from understudy.config import Config
from understudy.offload.team import Team
from understudy.run import RunDirectory

# Half of the prompts ask for help that fails at times, so that every path is taken by both.
SHARED: dict[str, Any] = {"cloud.faults.failure_rate": 0.2, "cloud.accuracy": 0.8, "distill": 0.5}


@pytest.mark.parametrize("count", [0, 1, 2, 7, 64])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_shares_are_everything_once(count: int, size: int) -> None:
    shares = [Team(rank, size).share(count) for rank in range(size)]
    assert [place for share in shares for place in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def launched(processes: int, out: Path, config: Config) -> RunDirectory:
    """A run by `torchrun`, as a user types it."""
    settings = json.loads(config.model_dump_json())
    (out.parent / f"{out.name}.json").write_text(json.dumps(settings))  # JSON is YAML
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += [f"--nproc_per_node={processes}"]
    command = [*launcher, "-m", "understudy", "train", config.recipe, "--out", str(out)]
    done = subprocess.run(
        [*command, "--config", str(out.parent / f"{out.name}.json")],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("report:") == 1  # one process speaks
    return RunDirectory.open(out)


@pytest.mark.slow
def test_two_processes_are_one_with_twice_the_batch(model: Path, tmp_path: Path) -> None:
    settings = {key.replace(".", "__"): value for key, value in SHARED.items()}
    alone = run_new(tmp_path / "alone", config_of("understudy", model, batch_size=8, **settings))
    pair = launched(2, tmp_path / "pair", config_of("understudy", model, batch_size=4, **settings))
    ours, theirs = alone.metric_lines(), pair.metric_lines()
    assert len(ours) == len(theirs) == 4
    assert any(line["grad_norm"] > 0 for line in ours)
    assert ours[-1]["cloud/calls"] > 0
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
    spent = [run.read(run.summary)["spend"] for run in (alone, pair)]
    assert spent[0]["calls"] == spent[1]["calls"]  # the bill is the team's, not each process's
