"""The study of recipes on a real pre-trained model, with a recorded cloud: runs, one by one.

    export UNDERSTUDY_DATA=data
    python bench/real/study.py --out runs/real                     what is missing of all runs
    python bench/real/study.py --out runs/real --only understudy   of those whose name begins so
    python bench/real/study.py --out runs/real --only qwen --model FOLDER      weights on this disk
    python bench/real/study.py --out runs/real --list

Every run is an ordinary run directory of `understudy train` and a file in bench/results/real, which
is written when the run ends. A finished run is kept and an unfinished one resumed, so the study can
be stopped at any moment. `--workers 2` makes two runs side by side, of one thread each.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from understudy.environment import environment

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "bench" / "results" / "real"
SEEDS = (0, 1, 2)
# What recipe understudy has by itself and the others can have too: few responses of the untrained
# model have the form of an answer.
WARM = ("warm_start.steps=24",)


@dataclass(frozen=True)
class Cell:
    """One run of the study: its name, its recipe and what it sets beside the configuration."""

    name: str
    recipe: str
    seed: int
    settings: tuple[str, ...] = ()
    config: str = "smollm2.yaml"

    @property
    def file(self) -> Path:
        return RESULTS / f"{self.name}-{self.seed}.json.gz"


def cells() -> Iterator[Cell]:
    for seed in SEEDS:
        yield Cell("understudy", "understudy", seed)
        yield Cell("dagrpo-taught", "dagrpo", seed, (*WARM, "distill=0.5"))
        yield Cell("grpo-taught", "grpo", seed, WARM)
    yield Cell("dagrpo", "dagrpo", 0)
    yield Cell("no-trend", "understudy", 0, ("price.trend=false",))
    yield Cell("no-rehearsal", "understudy", 0, ("retention=none",))
    yield Cell("random-rehearsal", "understudy", 0, ("retention.choose=random",))
    for recipe in ("understudy", "grpo"):
        yield Cell(f"qwen-{recipe}", recipe, 0, config="qwen.yaml")


def run(cell: Cell, out: Path, model: str | None) -> None:
    """Make or finish one run directory, and its file."""
    folder = out / f"{cell.name}-{cell.seed}"
    if not (folder / "summary.json").exists():
        command = [sys.executable, "-m", "understudy", "train", cell.recipe, "--out", str(folder)]
        if any(folder.glob("checkpoints/step-*")):
            command.append("--resume")
        else:
            shutil.rmtree(folder, ignore_errors=True)
            command += ["--config", str(HERE / cell.config)]
            own = () if model is None else (f"model={model}",)
            for setting in (*cell.settings, *own, f"seed={cell.seed}", "threads=1"):
                command += ["--set", setting]
        with (out / f"{folder.name}.log").open("ab") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log, cwd=ROOT)
    RESULTS.mkdir(exist_ok=True, parents=True)
    write_record(cell.file, record(cell, folder))
    print(f"done {folder.name}", flush=True)


def write_record(path: Path, content: dict[str, Any]) -> None:
    """Compressed: every examined question is in it."""
    part = path.with_suffix(".part")
    part.write_bytes(gzip.compress(json.dumps(content).encode(), mtime=0))
    part.replace(path)


def record(cell: Cell, folder: Path) -> dict[str, Any]:
    """What the tables are made of: every step's asking, and every examined question."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT
    ).stdout
    steps = lines_of(folder / "metrics.jsonl")
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    examinations = {
        path.stem: columns_of(lines_of(path))
        for path in sorted((folder / "examinations").glob("*.jsonl"))
    }
    return {
        "command": f"python bench/real/study.py --only {cell.name}-{cell.seed}",
        "commit": commit.strip(),
        "machine": environment(),
        "cell": {"name": cell.name, "recipe": cell.recipe, "seed": cell.seed}
        | {"settings": list(cell.settings), "config": cell.config},
        "seconds": sum(line["step_time"] for line in lines_of(folder / "timings.jsonl")),
        "responses": settings["batch_size"] * settings["num_generations"],  # of a step
        "summary": json.loads((folder / "summary.json").read_text()),
        "matrix": json.loads((folder / "matrix.json").read_text()),
        "steps": {key: [line.get(key) for line in steps] for key in STEP_KEYS},
        "examinations": examinations,
    }


STEP_KEYS = ("phase", "cloud/ask_rate", "cloud/budget", "local_accuracy", "system_accuracy")
STEP_KEYS += ("completions/clipped_ratio", "cloud/calls", "cloud/shift", "cloud/price")
ROW_KEYS = ("local_right", "cloud_right", "asked", "margin", "mean_entropy", "digest")


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def columns_of(rows: list[dict[str, Any]]) -> dict[str, dict[str, list[Any]]]:
    """Test questions by task, a list for each figure of theirs."""
    found: dict[str, dict[str, list[Any]]] = {}
    for row in rows:
        if row["split"] == "test":
            columns = found.setdefault(row["task"], {key: [] for key in ROW_KEYS})
            for key in ROW_KEYS:
                columns[key].append(shortened(row.get(key)))
    return found


def shortened(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return round(value, 4)
    return value[:12] if isinstance(value, str) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/real"))
    parser.add_argument("--model", help="a folder, in place of each configuration's own")
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of names, as NAME-SEED")
    parser.add_argument("--list", action="store_true", help="say what is done, and do nothing")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    wanted = [
        cell
        for cell in cells()
        if any(f"{cell.name}-{cell.seed}".startswith(each) for each in args.only)
    ]
    if args.list:
        for cell in wanted:
            print(f"{cell.name}-{cell.seed}: {'done' if cell.file.exists() else 'missing'}")
        return
    if args.model and len({cell.config for cell in wanted}) > 1:
        parser.error("--model is for runs of one configuration; choose them by --only")
    args.out.mkdir(exist_ok=True, parents=True)
    missing = [cell for cell in wanted if not cell.file.exists()]
    with ThreadPoolExecutor(args.workers) as pool:
        list(pool.map(lambda cell: run(cell, args.out, args.model), missing))


if __name__ == "__main__":
    main()
