"""The tables on real models in docs/results-real.md, built from the runs in bench/results/real.

A figure with an interval is `mean [low, high]`, 95 %. Questions are drawn again with replacement,
each with its outcomes in all seeds, since seeds share questions; and so are seeds, where there are
several. Rows are of one recipe, and paired by seed and question where recipes are compared.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt

from understudy.metrics import wilson_interval

FOLDER = Path(__file__).parent / "results" / "real"
Run = dict[str, Any]
Floats = npt.NDArray[np.float64]
Table = tuple[list[str], list[list[str]]]
SETTLED = 0.5  # the share of a phase's steps after which its asking is looked at
DRAWS = 2000  # of the bootstrap
OURS = "understudy"


def runs_by_name(folder: Path = FOLDER, config: str = "smollm2.yaml") -> dict[str, list[Run]]:
    """The runs of each variant, one per seed."""
    found: dict[str, list[Run]] = defaultdict(list)
    for path in sorted(folder.glob("*.json.gz")):
        run = json.loads(gzip.decompress(path.read_bytes()))
        if run["cell"]["config"] == config:
            found[run["cell"]["name"]].append(run)
    ours_first = sorted(found, key=lambda name: (not name.startswith(OURS), name))
    return {name: found[name] for name in ours_first}


def accuracy_table(runs: dict[str, list[Run]]) -> Table:
    """A row per variant and task: the local model before, after its phase and at the end."""
    rows = []
    for name, group in runs.items():
        for task in tasks_of(group[0]):
            last = len(group[0]["matrix"]) - 1
            before, after, end = (
                of_questions(group, examination, task, "local_right")
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
                    mean_of(cell["macro_f1"] for cell in cells),
                    mean_of(cell["constant"] for cell in cells),
                    share(of_questions(group, last, task, "cloud_right")),
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
            asked, local, cloud, entropy = (
                of_questions(group, phase, task, key)
                for key in ("asked", "local_right", "cloud_right", "mean_entropy")
            )
            gain = cloud - local
            system = local + asked * gain
            at_random = local + np.nanmean(asked, axis=1, keepdims=True) * gain
            by_entropy = local + highest(entropy, asked) * gain
            rows.append(
                [
                    name,
                    task,
                    f"{group[0]['summary']['phases'][phase - 1]['budget']:g}",
                    asked_in_training(group, phase),
                    with_interval(asked),
                    share(local),
                    with_interval(system),
                    difference(system, at_random),
                    difference(system, by_entropy),
                    correlation(asked, gain),
                ]
            )
    header = ["recipe", "task", "budget", "asked in training", "asked as served", "local", "system"]
    return [*header, "over random calls", "over entropy", "asking with gain"], rows


def rivals_table(runs: dict[str, list[Run]]) -> Table:
    """A row per other variant and task: what recipe understudy has more, on the same questions."""
    rows = []
    for name, group in runs.items():
        own = {run["cell"]["seed"]: run for run in runs.get(OURS, [])}
        pairs = [(own[run["cell"]["seed"]], run) for run in group if run["cell"]["seed"] in own]
        if name == OURS or not pairs:
            continue
        ours, theirs = (list(side) for side in zip(*pairs, strict=True))
        for task in tasks_of(group[0]):
            phase, last = phase_of(group[0], task), len(group[0]["matrix"]) - 1
            after, end = (
                [of_questions(side, at, task, "local_right") for side in (ours, theirs)]
                for at in (phase, last)
            )
            forgotten = [at - then for at, then in zip(after, end, strict=True)]
            systems = [_system(side, last, task) for side in (ours, theirs)]
            compared = [difference(*each) for each in (after, end, forgotten, systems)]
            rows.append([name, task, str(len(pairs)), *compared])
    header = ["understudy less", "task", "seeds", "local after its phase", "local at the end"]
    return [*header, "forgotten", "system at the end"], rows


def _system(group: Sequence[Run], examination: int, task: str) -> Floats:
    local, cloud, asked = (
        of_questions(group, examination, task, key)
        for key in ("local_right", "cloud_right", "asked")
    )
    return np.where(asked > 0, local + asked * (cloud - local), local)


def tasks_of(run: Run) -> list[str]:
    """In the order of the phases."""
    return list(run["examinations"]["phase-0"])


def phase_of(run: Run, task: str) -> int:
    """The number, from 1, of the phase in which a task is learnt."""
    return tasks_of(run).index(task) + 1


def cell_of(run: Run, examination: int, task: str) -> dict[str, Any]:
    cell: dict[str, Any] = run["matrix"][examination]["tasks"][tasks_of(run).index(task)]
    return cell


def of_questions(group: Sequence[Run], examination: int, task: str, key: str) -> Floats:
    """(runs, questions) a figure of every question that any run was examined on, NaN where it was
    not; questions in the order of their digests."""
    columns = [run["examinations"][f"phase-{examination}"][task] for run in group]
    places = {d: i for i, d in enumerate(sorted({d for each in columns for d in each["digest"]}))}
    found = np.full((len(group), len(places)), np.nan)
    for row, each in zip(found, columns, strict=True):
        row[[places[digest] for digest in each["digest"]]] = each[key]
    return found


def asked_in_training(group: Sequence[Run], phase: int) -> str:
    """The share of responses that asked in the second half of a phase, and the phase's share of
    calls that showed the form of an answer before it."""
    shares: list[float] = []
    for run in group:
        steps = run["steps"]
        own = [i for i, number in enumerate(steps["phase"]) if number == phase]
        shares += [steps["cloud/ask_rate"][i] for i in own[int(len(own) * SETTLED) :]]
    settled, responses = np.array(shares), sum(run["responses"] for run in group) / len(group)
    low, high = wilson_interval(float(settled.sum()) * responses, round(len(shares) * responses))
    warm = mean(run["summary"]["phases"][phase - 1]["warm_start_usage"] for run in group)
    shown = f" + {warm:.2f}" if warm >= 0.005 else ""
    return f"{settled.mean():.2f} [{low:.2f}, {high:.2f}]{shown}"


def highest(score: Floats, asked: Floats) -> Floats:
    """1 for the questions of each run with the highest scores, as many as asked."""
    chosen = np.where(np.isnan(asked), np.nan, 0.0)
    for row, scores, own in zip(chosen, score, asked, strict=True):
        known = np.flatnonzero(~np.isnan(own))
        order = known[np.argsort(-scores[known], kind="stable")]
        row[order[: round(float(own[known].sum()))]] = 1.0
    return chosen


def share(values: Floats) -> str:
    return "-" if np.isnan(values).all() else f"{np.nanmean(values):.2f}"


def mean_of(values: Any) -> str:
    known = [value for value in values if value is not None]
    return f"{mean(known):.2f}" if known else "-"


def with_interval(values: Floats) -> str:
    """Of a figure (runs, questions); where all are 0 or all are 1 Wilson's, for as many questions
    as there are."""
    known = values[:, ~np.isnan(values).all(axis=0)]
    found = np.nanmean(known)
    if found in (0.0, 1.0):
        low, high = wilson_interval(found * known.shape[1], known.shape[1])
    else:
        low, high = bootstrap(known)
    return f"{found:.2f} [{low:.2f}, {high:.2f}]"


def difference(first: Floats, second: Floats) -> str:
    """Mean of first - second, seed by seed and question by question."""
    less = first - second
    if np.isnan(less).all():
        return "-"
    less = less[:, ~np.isnan(less).all(axis=0)]
    low, high = bootstrap(less)
    return f"{np.nanmean(less):+.3f} [{low:+.3f}, {high:+.3f}]"


def bootstrap(values: Floats) -> tuple[float, float]:
    """95 % of the means of (runs, questions) with both drawn again; NaN: not examined."""
    means = [np.nanmean(drawn) for drawn in _drawn_again(values)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def correlation(asked: Floats, gain: Floats) -> str:
    """Pearson's, over questions of all runs."""
    known = ~np.isnan(gain) & ~np.isnan(asked)
    if not known.any() or np.ptp(asked[known]) == 0 or np.ptp(gain[known]) == 0:
        return "-"
    found = []
    for drawn in _drawn_again(np.stack((asked, gain), axis=2)):
        one, other = drawn[~np.isnan(drawn).any(axis=2)].T
        if np.ptp(one) and np.ptp(other):
            found.append(np.corrcoef(one, other)[0, 1])
    low, high = np.quantile(found, [0.025, 0.975])
    r = np.corrcoef(asked[known], gain[known])[0, 1]
    return f"{r:+.2f} [{low:+.2f}, {high:+.2f}]"


def _drawn_again(values: Floats) -> Any:
    random = np.random.default_rng(0)
    runs, questions = values.shape[:2]
    for _ in range(DRAWS):
        rows = random.integers(runs, size=runs)
        yield values[rows][:, random.integers(questions, size=questions)]


TABLES: dict[str, Callable[[dict[str, list[Run]]], Table]] = {
    "real accuracy": accuracy_table,
    "real asking": asking_table,
    "real rivals": rivals_table,
}
