"""The tables of docs/results-federated.md, built from the cells in bench/results/federated.

A figure with an interval is `mean [low, high]`, 95 %: seeds are drawn again with replacement, and
within each its test questions. Variants of one line have the same clients and test questions, and
are compared question by question.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent))
from federated.lines import LINES

Run = dict[str, Any]
Runs = Mapping[tuple[str, str], Mapping[int, Run]]  # by file and variant, then by seed
Floats = npt.NDArray[np.float64]
Table = tuple[list[str], list[list[str]]]
DRAWS = 2000  # of the bootstrap
# What a variant's messages are worth is read against the same without any.
ALONE = {
    "Fed-LSCL": "Fed-LSCL, local only",
    "Fed-LSCL, head at home": "Fed-LSCL, local only",
    "FedAvg of generators": "Fed-LSCL, local only",
    "FedAvg of a head": "head, local only",
    "FedAvg of a cosine head, by class": "cosine head, local only",
    "FedAvg of a head, by class": "head, local only",
    "FedAvg of LoRA, by class": "LoRA, local only",
    "FedAvg of LoRA": "LoRA, local only",
    "FedProx of LoRA": "LoRA, local only",
    "FedAvg of small networks": "small network, local only",
}


PAIRS = (
    ("FedAvg of a head", "head, local only"),
    ("FedAvg of a head, by class", "FedAvg of a head"),
    ("FedAvg of a cosine head, by class", "FedAvg of a head, by class"),
    ("Fed-LSCL", "FedAvg of a head, by class"),
    ("Fed-LSCL, cosine head", "FedAvg of a cosine head, by class"),
    ("Fed-LSCL, cosine head", "FedAvg of a head, by class"),
    ("Fed-LSCL, cosine head, small generator", "FedAvg of a head, by class"),
    ("Fed-LSCL, cosine head", "Fed-LSCL, cosine head, small generator"),
    ("FedAvg of LoRA, cosine head, by class", "FedAvg of a cosine head, by class"),
    ("Fed-LSCL, cosine head", "FedAvg of LoRA, cosine head, by class"),
    ("Fed-LSCL, cosine head, small generator", "FedAvg of LoRA, cosine head, by class"),
    ("head, joint", "Fed-LSCL, cosine head"),
)


def runs_of(folder: Path) -> Runs:
    found: dict[tuple[str, str], dict[int, Run]] = defaultdict(dict)
    for path in sorted(folder.glob("*.json")):
        run = json.loads(path.read_text())
        cell = run["cell"]
        found[cell["file"], cell["variant"]][cell["seed"]] = run
    return found


def line_table(line: str) -> Callable[[Runs], Table]:
    """A row per variant that has run: how well in the end, against the first, and for how much."""

    def table(runs: Runs) -> Table:
        file, variants = LINES[line]
        first = runs.get((file, variants[0]), {})
        rows = []
        for variant in variants:
            group = runs.get((file, variant), {})
            if not group:
                continue
            alone = runs.get((file, ALONE.get(variant, "")), {})
            rows.append(
                [
                    variant,
                    str(len(group)),
                    with_interval(list(rights(group, "seen").values())),
                    "" if variant == variants[0] else over(group, first),
                    f"{mean(map(np.mean, rights(group, 'task').values())):.3f}",
                    _number(mean_of(group, "forgetting")),
                    f"{megabytes(group):.2f}",
                    over(group, alone) if alone else "",
                    _per_megabyte(group, alone),
                    f"{mean(run['processor_seconds'] for run in group.values()):.0f}",
                ]
            )
        header = ["", "seeds", "accuracy", "over the first", "task known", "forgetting"]
        return [*header, "MB", "over local only", "points a MB", "processor s"], rows

    return table


def pairs_table(runs: Runs) -> Table:
    """A row per two variants: how much more of the same questions the first has right."""
    rows = []
    for one, other in PAIRS:
        group, beside = (runs.get(("banking77", name), {}) for name in (one, other))
        if found := over(group, beside):
            seeds, times = set(group) & set(beside), megabytes(beside)
            ratio = f"{megabytes(group) / times:.1f}" if times else ""
            rows.append([one, other, str(len(seeds)), found, ratio])
    return ["this", "over this", "seeds", "more right", "times its MB"], rows


def rights(group: Mapping[int, Run], mode: str) -> dict[int, Floats]:
    """By seed: 1 where a test question is answered rightly in the end, of all clients and tasks."""
    return {
        seed: np.array([float(sign) for tasks in run["right"][mode] for sign in "".join(tasks)])
        for seed, run in sorted(group.items())
    }


def over(group: Mapping[int, Run], other: Mapping[int, Run]) -> str:
    """How much more of the same questions is right, in seeds that both have."""
    ours, theirs = rights(group, "seen"), rights(other, "seen")
    seeds = [seed for seed in ours if seed in theirs and len(ours[seed]) == len(theirs[seed])]
    if not seeds:
        return ""
    less = [ours[seed] - theirs[seed] for seed in seeds]
    low, high = bootstrap(less)
    return f"{mean(map(np.mean, less)):+.3f} [{low:+.3f}, {high:+.3f}]"


def with_interval(values: Sequence[Floats]) -> str:
    low, high = bootstrap(values)
    return f"{mean(map(np.mean, values)):.3f} [{low:.3f}, {high:.3f}]"


def bootstrap(values: Sequence[Floats]) -> tuple[float, float]:
    """95 % of the mean over seeds of means over questions, both drawn again."""
    random = np.random.default_rng(0)
    means = []
    for _ in range(DRAWS):
        drawn = [values[place] for place in random.integers(len(values), size=len(values))]
        means.append(
            np.mean([each[random.integers(len(each), size=len(each))].mean() for each in drawn])
        )
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def megabytes(group: Mapping[int, Run]) -> float:
    """That crossed in a federation, both ways, labels and headers included; mean over seeds."""
    return (
        mean(
            sum(
                sum(client["traffic"][way].values())
                for client in run["result"]["clients"]
                for way in ("bytes_up", "bytes_down")
            )
            for run in group.values()
        )
        / 1e6
    )


def mean_of(group: Mapping[int, Run], figure: str) -> float | None:
    """Over seeds of the mean over clients."""
    found = [
        client[figure]
        for run in group.values()
        for client in run["result"]["clients"]
        if client[figure] is not None
    ]
    return mean(found) if found else None


def _per_megabyte(group: Mapping[int, Run], alone: Mapping[int, Run]) -> str:
    ours, theirs = rights(group, "seen"), rights(alone, "seen")
    seeds = [seed for seed in ours if seed in theirs]
    sent = megabytes(group)
    if not seeds or not sent:
        return ""
    gain = mean(float(np.mean(ours[seed])) - float(np.mean(theirs[seed])) for seed in seeds)
    return f"{100 * gain / sent:+.2f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def tuning_table(runs: Runs) -> Table:
    """A row per method: the share right on the validation questions, by learning rate."""
    found: dict[tuple[str, str], dict[str, Run]] = defaultdict(dict)
    for (file, name), group in runs.items():
        if name.startswith("tuning: "):
            method, _, setting = name.removeprefix("tuning: ").rpartition(", ")
            found[file, method][setting] = next(iter(group.values()))
    rows = []
    for (file, method), settings in sorted(found.items()):
        shares = {
            setting: float(np.mean(next(iter(rights({0: run}, "seen").values()))))
            for setting, run in settings.items()
        }
        best = max(shares, key=lambda setting: shares[setting])
        listed = ", ".join(f"{setting}: {share:.3f}" for setting, share in shares.items())
        rows.append([f"{file}, {method}", best, listed])
    return ["", "best", "accuracy on validation questions"], rows


def depth_table(record: dict[str, Any]) -> Table:
    """A row per network and steered blocks, mean over seeds: before any training, and after."""
    rows = []
    for network, found in record["results"].items():
        for blocks, seeds in found.items():
            before = [each["before"] for each in seeds.values()]
            after = [each["after"] for each in seeds.values() if "after" in each]
            cells = [
                f"{mean(mean(each[key]) for each in before):.3g}"
                for key in ("reads", "gives", "gradient")
            ]
            cells.append(f"{mean(each['leverage'] for each in before):.3f}")
            for key in ("right", "moved", "change"):
                cells.append(f"{mean(each[key] for each in after):.3f}" if after else "")
            rows.append([f"{network}, {blocks}", str(len(seeds)), *cells])
    header = ["steered", "seeds", "scale read", "scale given", "gradient", "leverage"]
    return [*header, "right", "features moved", "layers changed"], rows


TABLES: dict[str, Callable[[Runs], Table]] = {
    **{f"federated {line}": line_table(line) for line in LINES},
    "federated pairs": pairs_table,
    "federated tuning": tuning_table,
}
