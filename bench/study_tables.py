"""The tables of docs/results.md, built from bench/results/study.json."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from statistics import mean
from typing import Any

from understudy.metrics import apgr, mean_and_spread
from understudy.offload.grade import SHARES

Run = dict[str, Any]
Table = tuple[list[str], list[list[str]]]  # header and rows
ABOVE, BELOW = 0.02, 0.03  # how far a settled rate may lie from the budget


def methods_table(study: dict[str, Any]) -> Table:
    """A row per recipe, mean and standard deviation over seeds, after the last phase."""
    rows = []
    for recipe, runs in grouped(study, "methods", "recipe").items():
        figures = [
            over_seeds(runs, lambda run: run["summary"]["local"]["average_accuracy"]),
            over_seeds(runs, at_budget),
            over_seeds(runs, random_at_budget),
            over_seeds(runs, lambda run: run["summary"]["system"]["average_accuracy"]),
            over_seeds(runs, lambda run: mean(cell["ask_rate"] for cell in run["final"])),
            over_seeds(runs, worst_excess),
            over_seeds(runs, lambda run: run["summary"]["local"]["forgetting"]),
            over_seeds(runs, area),
        ]
        rows.append([recipe, str(len(runs)), *figures])
    return METHODS_HEADER, rows


METHODS_HEADER = [
    "recipe",
    "seeds",
    "local",
    "system at the budget",
    "random at the budget",
    "system as served",
    "asked as served",
    "worst excess in training",
    "local forgetting",
    "APGR",
]


def budget_table(study: dict[str, Any]) -> Table:
    """A row per run: the settled ask rate of every phase in training and, behind the slash, as
    served. In brackets: asking does not pay for the whole budget there."""
    rows = []
    for study_name in ("budget", "changing"):
        for run in (run for run in study["runs"] if run["study"] == study_name):
            phases = run["summary"]["phases"]
            cells = [shown_rate(*pair) for pair in zip(phases, run["failures"], strict=True)]
            name = f"{run['variant']}, seed {run['seed']}"
            if study_name == "changing":
                budgets = ", ".join(f"{phase['budget']:g}" for phase in phases)
                name = f"{run['recipe']} tau={budgets}, seed {run['seed']}"
            rows.append([name, *cells, "yes" if holds(run, "training") else "no"])
            rows[-1].append("yes" if holds(run, "served") else "no")
    return ["run", *phase_names(study), "holds in training", "holds as served"], rows


def ablation_table(study: dict[str, Any]) -> Table:
    """A row per variant of recipe understudy, seeds 0 and 1; the whole recipe first."""
    whole = [r for r in study["runs"] if r["study"] == "methods" and r["recipe"] == "understudy"]
    variants = {"the whole recipe": [run for run in whole if run["seed"] < 2]}
    variants |= grouped(study, "ablation", "variant")
    rows = []
    for name, runs in variants.items():
        figures = [
            over_seeds(runs, lambda run: run["summary"]["local"]["average_accuracy"]),
            over_seeds(runs, at_budget),
            over_seeds(runs, worst_excess),
            over_seeds(runs, lowest_rate),
            over_seeds(runs, lambda run: run["summary"]["ask_level_correlation"]),
            over_seeds(runs, lambda run: run["summary"]["local"]["forgetting"]),
            over_seeds(runs, area),
        ]
        rows.append([name, str(len(runs)), *figures])
    return ABLATION_HEADER, rows


ABLATION_HEADER = [
    "variant",
    "seeds",
    "local",
    "system at the budget",
    "worst excess in training",
    "lowest settled rate",
    "asking with level",
    "local forgetting",
    "APGR",
]


def published_table(study: dict[str, Any]) -> Table:
    """The published rule and the shaped reward: settled ask rates phase by phase, budget 0.3."""
    rows = []
    for run in study["runs"]:
        first = run["study"] == "methods" and run["recipe"] in ("dagrpo", "shaped", "gapg")
        if first or run["study"] in ("published", "shaped"):
            name = run["recipe"] if first else f"{run['recipe']}, {run['variant']}"
            rates = [phase["training"]["settled_mean"] for phase in run["summary"]["phases"]]
            rows.append([name, str(run["seed"]), *(f"{rate:.2f}" for rate in rates)])
    return ["recipe", "seed", *phase_names(study)], sorted(rows)


def phase_names(study: dict[str, Any]) -> list[str]:
    return [phase["task"] for phase in study["runs"][0]["summary"]["phases"]]


def grouped(study: dict[str, Any], name: str, key: str) -> dict[str, list[Run]]:
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in study["runs"]:
        if run["study"] == name:
            groups[run[key]].append(run)
    return dict(groups)


def over_seeds(runs: list[Run], figure: Callable[[Run], float | None]) -> str:
    values = [value for value in map(figure, runs) if value is not None]
    if not values:
        return "-"
    centre, spread, count = mean_and_spread(values)
    return f"{centre:.3f} ± {spread:.3f}" if count > 1 else f"{centre:.3f}"


def at_budget(run: Run) -> float:
    """System accuracy at the fitted threshold; with random calls where none is fitted."""
    which = "system" if run["recipe"] == "grpo" else "calibrated_system"
    return float(run["summary"][which]["average_accuracy"])


def random_at_budget(run: Run) -> float:
    """The same local model with the budget's share of questions sent at random."""
    budgets = [phase["budget"] for phase in run["summary"]["phases"]]
    cells = zip(run["final"], budgets, strict=True)
    return mean(cell["local"] + tau * (cell["cloud"] - cell["local"]) for cell, tau in cells)


def worst_excess(run: Run) -> float:
    return max(p["training"]["settled_mean"] - p["budget"] for p in run["summary"]["phases"])


def lowest_rate(run: Run) -> float:
    return min(p["training"]["settled_mean"] for p in run["summary"]["phases"])


def area(run: Run) -> float | None:
    """Mean APGR over tasks, as in the report; a recipe that never learns to ask has none."""
    if run["recipe"] == "grpo":
        return None
    return mean(float(apgr(SHARES, curve, curve[0], curve[-1])) for curve in run["curves"])


def rates_of(phase: dict[str, Any], which: str) -> float:
    if which == "training":
        return float(phase["training"]["settled_mean"])
    return float(phase["evaluation"]["ask_rate"])


def holds(run: Run, which: str) -> bool:
    """Every phase at most 0.02 over its budget and, where asking pays, at most 0.03 under it."""
    for phase, failures in zip(run["summary"]["phases"], run["failures"], strict=True):
        failing = failures if which == "training" else 1 - phase["evaluation"]["local"]
        excess = rates_of(phase, which) - phase["budget"]
        if excess > ABOVE or (excess < -BELOW and failing >= phase["budget"]):
            return False
    return True


def shown_rate(phase: dict[str, Any], failures: float) -> str:
    shown = f"{rates_of(phase, 'training'):.3f} / {rates_of(phase, 'served'):.3f}"
    return f"({shown})" if failures < phase["budget"] else shown
