"""The state of a run: one record, saved whole and resumed bit for bit."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from understudy.clouds import MeteredCloud
from understudy.errors import CheckpointError
from understudy.models.policy import Policy
from understudy.offload.config import Config
from understudy.offload.examination import Examiner
from understudy.offload.records import MatrixRow
from understudy.offload.scores import Valuation
from understudy.offload.team import ALONE, Team
from understudy.tasks import Tasks

_RECORDED = {"step", "dual", "matrix", "cloud", "examiner"}


@dataclass
class State:
    """Everything that changes while a run goes on, and who works on it.

    Random numbers are no part of it: every draw is seeded by the run's seed and the step.
    """

    policy: Policy
    optimiser: torch.optim.Adam
    dual: Any
    cloud: MeteredCloud
    examiner: MeteredCloud  # the same cloud, on the evaluation's own bill
    tasks: Tasks
    valuation: Valuation
    team: Team = ALONE
    step: int = 0
    matrix: list[MatrixRow] = field(default_factory=list)  # a row per evaluation

    def examination(self, config: Config) -> Examiner:
        """No more answers at once than a step of training draws: what fits there fits here."""
        rows = config.batch_size * config.num_generations
        return Examiner(self.tasks, self.examiner, self.team, rows)

    def close(self) -> None:
        """Let connections and checking processes go."""
        self.cloud.close()
        self.examiner.close()
        self.tasks.close()


def save_state(state: State, folder: Path) -> None:
    """An ordinary model checkpoint, with the optimiser and the rest of the run beside it."""
    state.policy.save(folder)
    saved = state.optimiser.state_dict()["state"]
    moments = {f"{i}.{key}": value for i, entry in saved.items() for key, value in entry.items()}
    save_file(moments, folder / "optimizer.safetensors")
    record = {
        "step": state.step,
        "dual": asdict(state.dual),
        "matrix": [row.to_json() for row in state.matrix],
        "cloud": state.cloud.state(),
        "examiner": state.examiner.state(),
    }
    (folder / "state.json").write_text(json.dumps(record))


def load_state(state: State, folder: Path) -> State:
    """The saved run in place of a freshly started one; the policy's weights are already loaded."""
    record, path = _record(folder), folder / "optimizer.safetensors"
    try:
        moments = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    entries: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in moments.items():
        number, _, key = name.partition(".")
        entries.setdefault(int(number), {})[key] = value
    groups = state.optimiser.state_dict()["param_groups"]
    state.optimiser.load_state_dict({"state": entries, "param_groups": groups})
    if state.team.leads:  # the cloud, its bill and its log are the first process's alone
        cloud, examiner = (
            meter.restored(record[name])
            for name, meter in (("cloud", state.cloud), ("examiner", state.examiner))
        )
        state = replace(state, cloud=cloud, examiner=examiner)
    dual = type(state.dual)(**record["dual"])
    matrix = [MatrixRow.from_json(row) for row in record["matrix"]]
    return replace(state, dual=dual, step=record["step"], matrix=matrix)


def saved_dual(folder: Path) -> dict[str, Any]:
    """The dual variables of a checkpoint, by name."""
    dual: dict[str, Any] = _record(folder)["dual"]
    return dual


def _record(folder: Path) -> dict[str, Any]:
    path = folder / "state.json"
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(record, dict) or not record.keys() >= _RECORDED:
        raise _unreadable(path, f"it needs {', '.join(sorted(_RECORDED))}")
    return record


def _unreadable(path: Path, reason: object) -> CheckpointError:
    return CheckpointError(
        f"{path}: cannot be read ({reason}); "
        f"remove {path.parent.name} to resume from the checkpoint before"
    )
