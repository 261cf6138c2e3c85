"""The study of federations: Fed-LSCL beside its rivals, and what each of its parts is worth.

    python bench/federated/study.py --data FOLDER                    every cell that is missing
    python bench/federated/study.py --data FOLDER --only rivals      of a line, or of a variant
    python bench/federated/study.py --data FOLDER --model FOLDER     weights on this disk
    python bench/federated/study.py --list

A cell is one federation: a variant of banking77.yaml or sent140.yaml, with one seed. Its file in
bench/results/federated is written when it ends, so the study can be stopped at any moment. Lines
come in the order of what they are worth. FOLDER holds banking77/train.csv, banking77/test.csv and
sent140/users.json. `--only tuning` are the cells by which settings were chosen: other questions,
other users, other seeds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from federated.lines import LINES, tuned

from understudy.actors.crew import together
from understudy.actors.loop import run as run_all
from understudy.environment import environment
from understudy.federate.clock import moments_of
from understudy.federate.losses import masked
from understudy.federate.methods.method import Method
from understudy.federate.population import Federation, carriers_of
from understudy.federate.settings import FederateConfig
from understudy.federate.summary import federation_result
from understudy.federate.variants import FederateRun, variants_of
from understudy.files import write_text
from understudy.plain import to_plain
from understudy.settings import check_settings, merged

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "bench" / "results" / "federated"
MODES = ("seen", "task")  # among which classes an answer is looked for, in the end


@dataclass(frozen=True, eq=False)
class Cell:
    """One federation of the study. settings: over those of its variant."""

    line: str
    file: str
    variant: str
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""  # in place of the variant's name

    @property
    def name(self) -> str:
        words = "".join(c if c.isalnum() else " " for c in (self.label or self.variant).lower())
        return f"{self.file}-{'-'.join(words.split())}-{self.seed}"

    @property
    def path(self) -> Path:
        return RESULTS / f"{self.name}.json"


def cells() -> Iterator[Cell]:
    """A variant of several lines is one cell a seed, of the first."""
    known = set()
    for line, (file, variants) in LINES.items():
        for seed in settings_of(file)["seeds"]:
            for variant in variants:
                cell = Cell(line, file, variant, seed)
                if cell.name not in known:
                    known.add(cell.name)
                    yield cell
    for file, variant, label, settings, seed in tuned():
        yield Cell("tuning", file, variant, seed, settings, label)


def settings_of(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HERE / f"{file}.yaml").read_text(encoding="utf-8"))
    return found


def config_of(cell: Cell, data: Path, model: str | None) -> FederateConfig:
    given = settings_of(cell.file)
    own = given.pop("variants")[cell.variant]
    known = given["data_options"]
    options = {key: str(data / Path(value).relative_to("data")) for key, value in known.items()}
    here: dict[str, Any] = {"data": f"{HERE / 'sets.py'}:{cell.file}", "data_options": options}
    if model is not None:
        here["foundation"] = {"name": model}
    settings = merged(merged(merged(given, here), own), cell.settings)
    run = check_settings(FederateRun, settings | {"seeds": [cell.seed], "variants": {"it": {}}})
    return variants_of(run)["it"]


def ran(cell: Cell, config: FederateConfig, loaded: dict[str, Any]) -> dict[str, Any]:
    """What the tables are made of. loaded: what earlier cells of this process have read."""
    federation = Federation(config, loaded=loaded)
    federation.check()
    carriers = carriers_of(config)
    wall, started = time.monotonic(), time.process_time()
    with closing(together(federation)) as crew:
        run_all(crew, carriers, moments_of(config))
        took = time.process_time() - started
        logs, reports = crew.logs()[0], crew.reports()[0]
        clients = [actor.method for actor in crew.populations[0][1:]]  # type: ignore[attr-defined]
    result = federation_result(config, cell.seed, reports, logs, carriers[0])
    return {
        "command": f"python bench/federated/study.py --data FOLDER --only {cell.name}",
        "commit": _commit(),
        "machine": environment(),
        "cell": {"line": cell.line, "file": cell.file, "seed": cell.seed}
        | {"variant": cell.label or cell.variant},
        "settings": _plain_settings(config),
        "processor_seconds": round(took, 1),
        "seconds": round(time.monotonic() - wall, 1),
        "result": to_plain(result),
        "terms": [_terms(log) for log in logs[1:]],
        "right": {mode: [right(each, mode) for each in clients] for mode in MODES},
    }


def right(method: Method, mode: str, chunk: int = 256) -> list[str]:
    """Of a client's tasks, a sign for each test question: 1 where its last answer is right."""
    found = []
    with torch.no_grad():
        for task in method.own.tasks:
            allowed, signs = method.allowed(mode, task), ""
            for first in range(0, len(task.test), chunk):
                part = task.test.rows(slice(first, first + chunk))
                same = masked(method.logits(part), allowed).argmax(dim=1) == part.label
                signs += "".join("1" if each else "0" for each in same.tolist())
            found.append(signs)
    return found


def _terms(log: list[Any]) -> list[dict[str, float]]:
    """Of a client's loss in each round."""
    return [
        {name: round(value, 5) for name, value in entry.terms.items()}
        for entry in log
        if entry.act == "train"
    ]


def _plain_settings(config: FederateConfig) -> dict[str, Any]:
    """Without what may name a folder of this machine."""
    found = config.model_dump(mode="json", exclude={"data", "data_options"})
    found["foundation"].pop("name")
    return found


def _commit() -> str:
    words = ["git", "rev-parse", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--model", help="a folder with MiniLM's weights, in place of its name")
    parser.add_argument("--only", nargs="*", help="lines, variants, or beginnings of cells' names")
    parser.add_argument("--list", action="store_true", help="say what is done, and do nothing")
    args = parser.parse_args()
    wanted = [cell for cell in cells() if _is_wanted(cell, args.only)]
    if args.list:
        for cell in wanted:
            print(f"{cell.line}: {cell.name}: {'done' if cell.path.exists() else 'missing'}")
        return
    torch.set_num_threads(1)
    RESULTS.mkdir(parents=True, exist_ok=True)
    loaded: dict[str, Any] = {}
    for cell in wanted:
        if not cell.path.exists():
            found = ran(cell, config_of(cell, args.data, args.model), loaded)
            write_text(cell.path, json.dumps(found) + "\n")
            print(f"{cell.name}: {found['processor_seconds']} s, {summary_of(found)}", flush=True)


def summary_of(found: Mapping[str, Any]) -> str:
    """In a line: the shares of answers that are right, and what crossed."""
    shares = {
        mode: "".join("".join(tasks) for tasks in found["right"][mode]).count("1")
        / max(1, sum(len("".join(tasks)) for tasks in found["right"][mode]))
        for mode in MODES
    }
    sent = sum(
        sum(client["traffic"][way].values())
        for client in found["result"]["clients"]
        for way in ("bytes_up", "bytes_down")
    )
    words = ", ".join(f"{mode} {share:.3f}" for mode, share in shares.items())
    return f"{words}, {sent / 1e6:.2f} MB"


def _is_wanted(cell: Cell, only: list[str] | None) -> bool:
    if only is None:
        return cell.line != "tuning"
    return any(each in (cell.line, cell.variant) or cell.name.startswith(each) for each in only)


if __name__ == "__main__":
    main()
