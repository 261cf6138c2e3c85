"""The state of a run: one record, saved whole and resumed bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from understudy.errors import CheckpointError
from understudy.models.policy import Policy
from understudy.offload.helpers import Helpers
from understudy.offload.method import Dual, Method
from understudy.offload.records import MatrixRow, WarmStarted
from understudy.retention.retention import Retention

_OPTIMISER, _METHOD = "optimizer.safetensors", "method.safetensors"
_RETENTION = "retention.safetensors"
_ORDER = "order"  # of the tensors in a file, which itself sorts them


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
    warm_start: WarmStarted = field(default_factory=WarmStarted)  # of the phase in progress

    def trained(self) -> list[Tensor]:
        """What the optimiser trains: the model's tensors, then the method's own."""
        return [*self.policy.trainable(), *self.method.parameters()]


@dataclass(frozen=True, slots=True)
class SavedState:
    """What a checkpoint keeps in state.json."""

    tensors: tuple[str, ...]  # files beside the model's and the optimiser's
    step: int
    dual: Mapping[str, Any]  # the fields of the method's own dual
    matrix: tuple[MatrixRow, ...]
    cloud: Mapping[str, Any]  # how far the bill has come, of training
    examiner: Mapping[str, Any]  # and of the examinations
    warm_start: WarmStarted

    def to_json(self) -> dict[str, Any]:
        return {
            "tensors": list(self.tensors),
            "step": self.step,
            "dual": self.dual,
            "matrix": [row.to_json() for row in self.matrix],
            "cloud": self.cloud,
            "examiner": self.examiner,
            "warm_start": asdict(self.warm_start),
        }


_SAVED = TypeAdapter(SavedState)


def save_state(state: State, helpers: Helpers, folder: Path) -> None:
    """An ordinary model checkpoint, with the optimiser and the rest of the run beside it."""
    state.policy.save(folder)
    entries = state.optimiser.state_dict()["state"]
    moments = {
        f"{i}.{key}": torch.as_tensor(value)  # some optimisers keep plain numbers
        for i, entry in entries.items()
        for key, value in entry.items()
        if value is not None
    }
    save_file(moments, folder / _OPTIMISER)
    own = {_METHOD: state.method.tensors(), _RETENTION: state.retention.tensors()}
    kept = {name: tensors for name, tensors in own.items() if tensors}
    for name, tensors in kept.items():
        stored = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        save_file(stored, folder / name, {_ORDER: json.dumps(list(stored))})
    saved = SavedState(
        tensors=tuple(kept),
        step=state.step,
        dual=asdict(state.dual),
        matrix=tuple(state.matrix),
        cloud=helpers.cloud.state(),
        examiner=helpers.examiner.state(),
        warm_start=state.warm_start,
    )
    (folder / "state.json").write_text(json.dumps(saved.to_json()))


def load_state(state: State, helpers: Helpers, folder: Path) -> tuple[State, Helpers]:
    """The saved run in place of a freshly started one; the policy's weights are already loaded."""
    saved = _read(folder)
    entries: dict[int, dict[str, Tensor]] = {}
    for name, value in _tensors(folder / _OPTIMISER).items():
        number, _, key = name.partition(".")
        entries.setdefault(int(number), {})[key] = value
    groups = state.optimiser.state_dict()["param_groups"]
    state.optimiser.load_state_dict({"state": entries, "param_groups": groups})
    for name, owner in ((_METHOD, state.method), (_RETENTION, state.retention)):
        if name in saved.tensors:
            owner.restore(_tensors(folder / name, state.policy.device))
    if helpers.team.leads:  # the cloud, its bill and its log are the first process's alone
        cloud, examiner = (
            meter.restored(bill)
            for bill, meter in ((saved.cloud, helpers.cloud), (saved.examiner, helpers.examiner))
        )
        helpers = replace(helpers, cloud=cloud, examiner=examiner)
    dual = type(state.dual)(**saved.dual)
    matrix, shown = list(saved.matrix), saved.warm_start
    return replace(state, dual=dual, step=saved.step, matrix=matrix, warm_start=shown), helpers


def restore_retention(retention: Retention, policy: Policy, folder: Path) -> None:
    """Give a retention what a checkpoint keeps of it."""
    if _RETENTION in _read(folder).tensors:
        retention.restore(_tensors(folder / _RETENTION, policy.device))


def _tensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt", device) as file:
            # As they were given: who adds something up over all of them gets the same sum again.
            order = json.loads((file.metadata() or {}).get(_ORDER, "null")) or file.keys()
            return {name: file.get_tensor(name) for name in order}
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def saved_dual(folder: Path) -> Dual:
    """The price and the shift of a checkpoint."""
    dual = _read(folder).dual
    return Dual(dual["price"], dual["shift"])


def _read(folder: Path) -> SavedState:
    path = folder / "state.json"
    try:
        return _SAVED.validate_python(json.loads(path.read_text()))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "all of it"
        needed = ", ".join(each.name for each in fields(SavedState))
        raise _unreadable(path, f"{where}: {first['msg']}; it needs {needed}") from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, reason: object) -> CheckpointError:
    return CheckpointError(
        f"{path}: cannot be read ({reason}); "
        f"remove {path.parent.name} to resume from the checkpoint before"
    )
