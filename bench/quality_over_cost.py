"""The picture of README.md: quality over cost, drawn from the runs in bench/results/real.

    python bench/tables.py      # writes docs/quality-over-cost.svg beside the tables

Every question that the runs of a recipe were examined on after their last phase is one of a mixture
of all tasks. A curve sends a growing share of the mixture to the cloud: the questions with the
highest score first (the lead of the model's own request, or the entropy of its answer), or any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from real_tables import OURS, Floats, Table, of_questions, runs_by_name, tasks_of

from understudy.metrics import deferral_curve

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "quality-over-cost.svg"
SHARES = np.linspace(0, 1, 51)
WIDTH, HEIGHT = 860, 400
LEFT, TOP, RIGHT, BOTTOM = 66, 66, 564, 340  # of the plot itself
LOW, HIGH = 0.5, 0.9  # share answered right, at the bottom and at the top

STYLE = """
  .page { fill: #ffffff; stroke: #dfe3e6; }
  .grid { stroke: #e3e7ea; }
  text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #22262b; }
  .title { font-size: 16px; font-weight: 600; }
  .quiet { fill: #5d6770; font-size: 12px; }
  .line { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
  .own { stroke: #0072b2; stroke-width: 3.4; } .own-dot { fill: #0072b2; }
  .entropy { stroke: #c75b00; stroke-dasharray: 7 4; }
  .random { stroke: #667079; stroke-dasharray: 2 4; }
  .dagrpo { stroke: #8a3f8a; }
  .grpo { stroke: #007a5a; stroke-dasharray: 2 4; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #161b22; stroke: #343a40; }
    .grid { stroke: #2b3138; }
    text { fill: #e8ebed; }
    .quiet { fill: #9aa5ae; }
    .own { stroke: #56b4e9; } .own-dot { fill: #56b4e9; }
    .entropy { stroke: #e69f00; }
    .random { stroke: #9aa5ae; }
    .dagrpo { stroke: #cc79a7; }
    .grpo { stroke: #35b892; }
  }
"""


@dataclass(frozen=True)
class Mixture:
    """All questions of all tasks and seeds of a recipe, (questions,) each."""

    local: Floats
    cloud: Floats
    asked: Floats
    signals: dict[str, Floats]
    seeds: int

    @classmethod
    def of(cls, group: Sequence[dict[str, Any]]) -> Mixture:
        keys = ("local_right", "cloud_right", "asked", "margin", "mean_entropy")
        last = len(group[0]["matrix"]) - 1
        columns = {}
        for key in keys:
            tasks = [of_questions(group, last, task, key) for task in tasks_of(group[0])]
            columns[key] = np.concatenate([values.ravel() for values in tasks])
        known = ~np.isnan(columns["local_right"] + columns["cloud_right"])
        local, cloud, asked, *signals = (columns[key][known] for key in keys)
        return cls(local, cloud, asked, dict(zip(keys[3:], signals, strict=True)), len(group))

    def curve(self, signal: str | None) -> Floats:
        """Accuracy over SHARES; None: any question leaves."""
        score = np.zeros_like(self.local) if signal is None else self.signals[signal]
        return deferral_curve(score, self.local, self.cloud, SHARES)

    def served(self) -> tuple[float, float]:
        """Share asked and accuracy, as the recipe decides by itself."""
        right = self.local + self.asked * (self.cloud - self.local)
        return float(self.asked.mean()), float(right.mean())


RECIPES = {OURS: "understudy", "dagrpo-taught": "DA-GRPO", "grpo-taught": "GRPO"}
SENT = 0.2  # the share that the table shows


def table(runs: dict[str, list[dict[str, Any]]]) -> Table:
    """A row per recipe: accuracy on the mixture without a cloud, and with SENT of it sent there."""
    rows, at = [], int(np.flatnonzero(np.isclose(SHARES, SENT))[0])
    for name, shown in RECIPES.items():
        mixture = Mixture.of(runs[name])
        sent = {signal: mixture.curve(signal)[at] for signal in (None, "mean_entropy", "margin")}
        own = "-" if name == "grpo-taught" else f"{sent['margin']:.0%}"  # it never learns to ask
        figures = [mixture.local.mean(), sent[None], sent["mean_entropy"]]
        shares = [f"{figure:.0%}" for figure in figures]
        rows.append([shown, str(mixture.seeds), *shares, own, f"{mixture.cloud.mean():.0%}"])
    sending = f"right with {SENT:.0%} sent to the cloud"
    header = ["trained by", "seeds", "right without the cloud", f"{sending}: at random"]
    header += ["those with the highest entropy", "those that it asks for most", "the cloud alone"]
    return header, rows


def picture(runs: dict[str, list[dict[str, Any]]]) -> str:
    ours, dagrpo, grpo = (Mixture.of(runs[name]) for name in RECIPES)
    curves = [
        ("own", "understudy, by its own request", ours.curve("margin"), ours),
        ("entropy", "understudy, by its entropy", ours.curve("mean_entropy"), ours),
        ("random", "understudy, at random", ours.curve(None), ours),
        ("dagrpo", "DA-GRPO, by its own request", dagrpo.curve("margin"), dagrpo),
        ("grpo", "GRPO, at random", grpo.curve(None), grpo),
    ]
    parts = [*frame(), *(drawn(kind, curve) for kind, _, curve, _ in reversed(curves))]
    share, right = ours.served()
    parts.append(f'<circle class="own-dot" cx="{x(share):.1f}" cy="{y(right):.1f}" r="6"/>')
    parts += legend([(kind, name, mixture) for kind, name, _, mixture in curves])
    title = "Four kinds of work learnt one after the other, by a model of 135M parameters"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n"
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8"/>\n'
        f'<text class="title" x="{LEFT - 42}" y="32">{title}</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def x(share: float) -> float:
    return LEFT + share * (RIGHT - LEFT)


def y(right: float) -> float:
    return BOTTOM - (right - LOW) / (HIGH - LOW) * (BOTTOM - TOP)


def frame() -> list[str]:
    found = [f'<text class="quiet" x="{LEFT - 42}" y="{TOP - 12}">questions answered right</text>']
    for right in np.arange(LOW, HIGH + 0.01, 0.1):
        height = y(right)
        found.append(f'<path class="grid" d="M{LEFT} {height:.1f}H{RIGHT}"/>')
        found.append(
            f'<text class="quiet" x="{LEFT - 8}" y="{height + 4:.1f}" text-anchor="end">'
            f"{right:.0%}</text>"
        )
    for share in np.arange(0, 1.01, 0.2):
        found.append(
            f'<text class="quiet" x="{x(share):.1f}" y="{BOTTOM + 20}" text-anchor="middle">'
            f"{share:.0%}</text>"
        )
    middle = (LEFT + RIGHT) / 2
    label = "questions sent to the cloud"
    return [
        *found,
        f'<text class="quiet" x="{middle}" y="{BOTTOM + 40}" text-anchor="middle">{label}</text>',
    ]


def drawn(kind: str, curve: Floats) -> str:
    points = " ".join(f"{x(s):.1f},{y(right):.1f}" for s, right in zip(SHARES, curve, strict=True))
    return f'<polyline class="line {kind}" points="{points}"/>'


def legend(entries: list[tuple[str, str, Mixture]]) -> list[str]:
    found, left = [], RIGHT + 26
    for row, (kind, name, mixture) in enumerate(entries):
        height = TOP + 14 + 40 * row
        seeds = f"{mixture.seeds} seed{'s' if mixture.seeds > 1 else ''}"
        found.append(f'<path class="line {kind}" d="M{left} {height - 4}h28"/>')
        found.append(f'<text x="{left + 36}" y="{height}">{name}</text>')
        found.append(f'<text class="quiet" x="{left + 36}" y="{height + 16}">{seeds}</text>')
    height = TOP + 14 + 40 * len(entries)
    found.append(f'<circle class="own-dot" cx="{left + 14}" cy="{height - 4}" r="6"/>')
    found.append(f'<text x="{left + 36}" y="{height}">understudy as it is served</text>')
    return found


def write() -> bool:
    """Whether it has changed."""
    new = picture(runs_by_name())
    if PICTURE.is_file() and PICTURE.read_text(encoding="utf-8") == new:
        return False
    PICTURE.write_text(new, encoding="utf-8")
    return True
