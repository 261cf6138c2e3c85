"""The study behind docs/results.md: does the budget hold, and what is the asking worth?

    python bench/study.py --out runs/study            run what is missing, then write the JSON
    python bench/study.py --out runs/study --only budget methods

Every cell is an ordinary run directory made by `understudy train`, several at a time, one thread
each. A finished run is kept, an unfinished one resumed: the study can be stopped at any moment.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.environment import environment

RESULTS = Path(__file__).parent / "results" / "study.json"
EXAM = {"budget": 2048, "changing": 2048}  # questions per task and examination; enough to see 0.02
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Cell:
    """One run of the study: where it belongs, what it varies, and how to make it."""

    study: str
    variant: str
    recipe: str
    settings: tuple[str, ...]
    seed: int

    @property
    def name(self) -> str:
        return f"{self.study}/{self.variant}/seed-{self.seed}"


def cells() -> Iterator[Cell]:
    for seed in SEEDS:
        for recipe in ("understudy", "dagrpo", "gapg", "shaped", "grpo"):
            yield Cell("methods", recipe, recipe, (), seed)
    for budget in (0.1, 0.3, 0.5):
        for initial in (0, 0.5, 2):
            settings = (f"budget={budget}", f"price.initial={initial}")
            yield Cell("budget", f"tau={budget} lambda0={initial}", "understudy", settings, 0)
    for seed in SEEDS[:2]:
        yield Cell("changing", "understudy", "understudy", ("stream=changing-budget",), seed)
    yield Cell("changing", "dagrpo", "dagrpo", ("stream=changing-budget",), 0)
    for budget in (0.1, 0.5):
        settings = (f"budget={budget}",)
        yield Cell("budget", f"dagrpo tau={budget} lambda0=0.5", "dagrpo", settings, 0)
    integral = ("price.rule=proportional-integral", "price.shift=false", "price.guide=0")
    ablations = {
        "without shift": ("price.shift=false",),
        "without trend": ("price.trend=false",),
        "without guide": ("price.guide=0",),
        "without shift and guide": ("price.shift=false", "price.guide=0"),
        "without distillation": ("distill=0",),
        "without spare": ("price.spare=false",),
        "PI price alone": (*integral, "distill=0", "price.spare=false"),
        "PI price and rate anchor": (
            *integral,
            "distill=0",
            "price.spare=false",
            "price.anchor=0.3",
        ),
    }
    for seed in SEEDS[:2]:
        for name, settings in ablations.items():
            yield Cell("ablation", name, "understudy", settings, seed)
        if seed == 0:
            yield Cell("published", "eta=0.05", "dagrpo", ("price.rate=0.05",), seed)


def run(cell: Cell, out: Path) -> Cell:
    """Make or finish one run directory."""
    folder = out / cell.name
    if (folder / "summary.json").exists():
        return cell
    command = [sys.executable, "-m", "understudy", "train", cell.recipe, "--out", str(folder)]
    if any(folder.glob("checkpoints/step-*")):
        command.append("--resume")
    else:
        shutil.rmtree(folder, ignore_errors=True)
        count = EXAM.get(cell.study, 512)
        exam = (f"eval_queries={count}", f"calibration_queries={count}")
        for setting in (*exam, *cell.settings, f"seed={cell.seed}"):
            command += ["--set", setting]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(f"done {cell.name}", flush=True)
    return cell


def record(cell: Cell, out: Path) -> dict[str, Any]:
    """The figures of a run that the tables are made of."""
    folder = out / cell.name
    summary = json.loads((folder / "summary.json").read_text())
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timings = [json.loads(line) for line in (folder / "timings.jsonl").read_text().splitlines()]
    matrix = json.loads((folder / "matrix.json").read_text())
    return {
        "study": cell.study,
        "variant": cell.variant,
        "recipe": cell.recipe,
        "settings": list(cell.settings),
        "seed": cell.seed,
        "summary": summary,
        "failures": settled_failures(lines, summary),
        "curves": [task["curve"] for task in matrix[-1]["tasks"]],
        "final": [{k: v for k, v in task.items() if k != "curve"} for task in matrix[-1]["tasks"]],
        "seconds_training": sum(line["step_time"] for line in timings),
    }


def settled_failures(lines: list[dict[str, Any]], summary: dict[str, Any]) -> list[float]:
    """Per phase, the share the local model got wrong in training, over the second half."""
    shares = []
    for phase in summary["phases"]:
        own = [line for line in lines if line["phase"] == phase["phase"]]
        half = own[len(own) // 2 :]
        right = [line["local_accuracy"] or 0.0 for line in half]  # null: nobody answered
        shares.append(1 - sum(right) / len(right))
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/study"))
    parser.add_argument("--only", nargs="*", help="studies to run; all by default")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    wanted = [cell for cell in cells() if not args.only or cell.study in args.only]
    with ThreadPoolExecutor(args.workers) as pool:
        list(pool.map(lambda cell: run(cell, args.out), wanted))
    done = [cell for cell in cells() if (args.out / cell.name / "summary.json").exists()]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    content = {
        "command": "python bench/study.py",
        "commit": commit.strip(),
        "machine": environment(),
        "runs": [record(cell, args.out) for cell in done],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")
    print(f"{len(done)} runs in {RESULTS}")


if __name__ == "__main__":
    main()
