"""The state of a run: one record, saved whole and resumed bit for bit."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from understudy.errors import CheckpointError
from understudy.models.policy import Policy
from understudy.offload.helpers import Helpers
from understudy.offload.method import Method
from understudy.offload.records import MatrixRow
from understudy.retention.retention import Retention

_OPTIMISER, _METHOD = "optimizer.safetensors", "method.safetensors"
_RETENTION = "retention.safetensors"
_RECORDED = {"tensors", "step", "dual", "matrix", "cloud", "examiner"}


@dataclass
class State:
    """Everything that changes while a run goes on, and that a checkpoint holds.

    Random numbers are no part of it: every draw is seeded by the run's seed and the step. Nor are
    those who help; of them only the place that the clouds' bills have come to is saved.
    """

    policy: Policy
    method: Method
    retention: Retention
    optimiser: Optimizer
    dual: Any
    step: int = 0
    matrix: list[MatrixRow] = field(default_factory=list)  # a row per evaluation

    def trained(self) -> list[Tensor]:
        """What the optimiser trains: the model's tensors, then the method's own."""
        return [*self.policy.trainable(), *self.method.parameters()]


def save_state(state: State, helpers: Helpers, folder: Path) -> None:
    """An ordinary model checkpoint, with the optimiser and the rest of the run beside it."""
    state.policy.save(folder)
    saved = state.optimiser.state_dict()["state"]
    moments = {
        f"{i}.{key}": torch.as_tensor(value)  # some optimisers keep plain numbers
        for i, entry in saved.items()
        for key, value in entry.items()
        if value is not None
    }
    save_file(moments, folder / _OPTIMISER)
    own = {_METHOD: state.method.tensors(), _RETENTION: state.retention.tensors()}
    kept = {name: tensors for name, tensors in own.items() if tensors}
    for name, tensors in kept.items():
        stored = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        save_file(stored, folder / name)
    record = {
        "tensors": list(kept),  # files beside the model's and the optimiser's
        "step": state.step,
        "dual": asdict(state.dual),
        "matrix": [row.to_json() for row in state.matrix],
        "cloud": helpers.cloud.state(),
        "examiner": helpers.examiner.state(),
    }
    (folder / "state.json").write_text(json.dumps(record))


def load_state(state: State, helpers: Helpers, folder: Path) -> tuple[State, Helpers]:
    """The saved run in place of a freshly started one; the policy's weights are already loaded."""
    record = _record(folder)
    entries: dict[int, dict[str, Tensor]] = {}
    for name, value in _tensors(folder / _OPTIMISER).items():
        number, _, key = name.partition(".")
        entries.setdefault(int(number), {})[key] = value
    groups = state.optimiser.state_dict()["param_groups"]
    state.optimiser.load_state_dict({"state": entries, "param_groups": groups})
    for name, owner in ((_METHOD, state.method), (_RETENTION, state.retention)):
        if name in record["tensors"]:
            owner.restore(_tensors(folder / name, state.policy.device))
    if helpers.team.leads:  # the cloud, its bill and its log are the first process's alone
        cloud, examiner = (
            meter.restored(record[name])
            for name, meter in (("cloud", helpers.cloud), ("examiner", helpers.examiner))
        )
        helpers = replace(helpers, cloud=cloud, examiner=examiner)
    dual = type(state.dual)(**record["dual"])
    matrix = [MatrixRow.from_json(row) for row in record["matrix"]]
    return replace(state, dual=dual, step=record["step"], matrix=matrix), helpers


def restore_retention(retention: Retention, policy: Policy, folder: Path) -> None:
    """Give a retention what a checkpoint keeps of it."""
    if _RETENTION in _record(folder)["tensors"]:
        retention.restore(_tensors(folder / _RETENTION, policy.device))


def _tensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    try:
        return load_file(path, device)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


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
