"""The tables on real models in docs/results.md, built from the runs in bench/results/real.

A figure with an interval is `mean [low, high]`, 95 %: over the questions of all seeds together
where they are compared question by question, over responses where it is a share of responses.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt

from understudy.metrics import paired_difference, wilson_interval

FOLDER = Path(__file__).parent / "results" / "real"
Run = dict[str, Any]
Floats = npt.NDArray[np.float64]
Table = tuple[list[str], list[list[str]]]
SETTLED = 0.5  # the share of a phase's steps after which its asking is looked at


def runs_by_name(folder: Path = FOLDER) -> dict[str, list[Run]]:
    """The runs of each variant, one per seed."""
    found: dict[str, list[Run]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        run = json.loads(path.read_text())
        if "cell" in run:
            found[run["cell"]["name"]].append(run)
    return found


def accuracy_table(runs: dict[str, list[Run]]) -> Table:
    """A row per variant and task: the local model before, after its phase and at the end."""
    rows = []
    for name, group in runs.items():
        for task in tasks_of(group[0]):
            last = len(group[0]["matrix"]) - 1
            before, after, end = (
                pooled(group, examination, task, "local_right")
                for examination in (0, phase_of(group[0], task), last)
            )
            cells = [cell_of(run, phase_of(run, task), task) for run in group]
            rows.append(
                [
                    name,
                    task,
                    str(len(group)),
                    share(before),
                    with_interval(after),
                    with_interval(end),
                    difference(after, end),
                    f"{mean(cell['macro_f1'] for cell in cells):.2f}",
                    f"{mean(cell['constant'] for cell in cells):.2f}",
                    share(pooled(group, last, task, "cloud_right")),
                ]
            )
    header = ["recipe", "task", "seeds", "untrained", "after its phase", "at the end", "forgotten"]
    return [*header, "macro-F1", "one label", "cloud"], rows


def asking_table(runs: dict[str, list[Run]]) -> Table:
    """A row per variant and task: how much was asked, and what the asking was worth."""
    rows = []
    for name, group in runs.items():
        for task in tasks_of(group[0]):
            phase = phase_of(group[0], task)
            budget = budget_of(group[0], phase)
            asked, local, cloud, entropy = (
                pooled(group, phase, task, key)
                for key in ("asked", "local_right", "cloud_right", "mean_entropy")
            )
            gain = cloud - local
            system = local + asked * gain
            by_entropy = local + above(entropy, float(asked.mean())) * gain
            rows.append(
                [
                    name,
                    task,
                    f"{budget:g}",
                    settled_share(group, phase),
                    with_interval(asked),
                    share(local),
                    with_interval(system),
                    difference(system, local + asked.mean() * gain),
                    difference(system, by_entropy),
                    correlation(asked, gain),
                ]
            )
    header = ["recipe", "task", "budget", "asked in training", "asked as served", "local", "system"]
    return [*header, "over random calls", "over entropy", "asking with gain"], rows


def tasks_of(run: Run) -> list[str]:
    """In the order of the phases."""
    return list(run["examinations"]["phase-0"])


def phase_of(run: Run, task: str) -> int:
    """The number, from 1, of the phase in which a task is learnt."""
    return tasks_of(run).index(task) + 1


def cell_of(run: Run, examination: int, task: str) -> dict[str, Any]:
    cell: dict[str, Any] = run["matrix"][examination]["tasks"][tasks_of(run).index(task)]
    return cell


def budget_of(run: Run, phase: int) -> float:
    steps = run["steps"]
    return float(steps["cloud/budget"][steps["phase"].index(phase)])


def pooled(group: Sequence[Run], examination: int, task: str, key: str) -> Floats:
    """A figure of every examined question, of all seeds one after the other."""
    columns = [run["examinations"][f"phase-{examination}"][task][key] for run in group]
    return np.array([value for column in columns for value in column], dtype=np.float64)


def settled_share(group: Sequence[Run], phase: int) -> str:
    """The share of responses that asked in the second half of a phase."""
    shares: list[float] = []
    for run in group:
        steps = run["steps"]
        own = [i for i, number in enumerate(steps["phase"]) if number == phase]
        shares += [steps["cloud/ask_rate"][i] for i in own[int(len(own) * SETTLED) :]]
    return with_interval(np.array(shares))


def above(score: Floats, wanted: float) -> Floats:
    """1 for the questions with the highest scores, so that a share of them is 1."""
    count = round(wanted * len(score))
    chosen = np.zeros(len(score))
    chosen[np.argsort(-score, kind="stable")[:count]] = 1.0
    return chosen


def share(values: Floats) -> str:
    return f"{np.nanmean(values):.2f}" if values.size else "-"


def with_interval(values: Floats) -> str:
    """Of a share among outcomes Wilson's interval, of shares that of their mean."""
    known = values[~np.isnan(values)]
    if np.isin(known, (0.0, 1.0)).all():
        low, high = wilson_interval(float(known.sum()), len(known))
    else:
        _, error = paired_difference(known, np.zeros_like(known))
        low, high = known.mean() - 1.96 * error, known.mean() + 1.96 * error
    return f"{known.mean():.2f} [{low:.2f}, {high:.2f}]"


def difference(first: Floats, second: Floats) -> str:
    """Mean of first - second, question by question."""
    found, error = paired_difference(first, second)
    return f"{found:+.3f} [{found - 1.96 * error:+.3f}, {found + 1.96 * error:+.3f}]"


def correlation(asked: Floats, gain: Floats) -> str:
    """Pearson's, with Fisher's interval."""
    known = ~np.isnan(gain)
    one, other = asked[known], gain[known]
    if one.std() == 0 or other.std() == 0:
        return "-"
    r = float(np.corrcoef(one, other)[0, 1])
    reach = 1.96 / np.sqrt(len(one) - 3)
    low, high = np.tanh(np.arctanh(r) - reach), np.tanh(np.arctanh(r) + reach)
    return f"{r:+.2f} [{low:+.2f}, {high:+.2f}]"


TABLES: dict[str, Callable[[dict[str, list[Run]]], Table]] = {
    "real accuracy": accuracy_table,
    "real asking": asking_table,
}
