"""Gather runs of `understudy share` into one record: more seeds, or more variants.

    understudy share bench/sharing/mnist.yaml --set data=FOLDER --out runs/mnist
    python bench/share_study.py runs/mnist --out bench/results/share_mnist.json

Several runs that differ in seeds or variants count as one: every variant of every seed is a
population of its own, so that it makes no difference in which run each was computed. Also of a run
that is not finished: variants that are.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from understudy.actors.variants import saved_settings
from understudy.environment import environment
from understudy.errors import ConfigError
from understudy.files import write_json
from understudy.plain import from_plain, to_plain
from understudy.run import RunDirectory
from understudy.share.records import PopulationResult
from understudy.share.session import Progress
from understudy.share.settings import ShareConfig
from understudy.share.summary import summarise
from understudy.share.variants import ShareRun, variants_of

_FREE = {"seeds", "data", "workers", "checkpoint_seconds", "variants"}


def gathered(runs: list[Path]) -> dict[str, Any]:
    opened = [RunDirectory.open(path) for path in runs]
    settings = [saved_settings(ShareRun, run) for run in opened]
    first = settings[0].model_dump(exclude=_FREE)
    for path, other in zip(runs, settings, strict=True):
        if other.model_dump(exclude=_FREE) != first:
            raise ConfigError(f"{path}: its settings are not those of {runs[0]}")
    same = {"seeds": settings[0].seeds, "data": settings[0].data}  # so that a base is found
    whole: dict[str, ShareConfig] = {}
    variants: dict[str, ShareConfig] = {}
    records: dict[str, list[PopulationResult]] = {}
    for path, run, asked in zip(runs, opened, settings, strict=True):
        own = variants_of(asked)
        whole = own | whole
        saved = run.last_checkpoint() / "progress.json"
        done = from_plain(Progress, run.read(saved), saved).records
        for name, seeds in done.items():
            known_as = variants.setdefault(name, own[name].model_copy(update=same))
            if known_as.model_dump(exclude=_FREE) != own[name].model_dump(exclude=_FREE):
                raise ConfigError(f"{path}: its variant {name!r} is not that of another run")
            known = {seed.seed for seed in records.get(name, [])}
            records.setdefault(name, []).extend(s for s in seeds if s.seed not in known)
    summary = to_plain(summarise(variants, records))
    for each in summary["variants"].values():
        each["users"] = {"unweighted": each["users"]["unweighted"]}
        each["seeds"] = [
            {"seed": seed["seed"], "agents": [agent["accuracy"] for agent in seed["agents"]]}
            for seed in each["seeds"]
        ]
    left = [name for name in whole if name not in records]
    first.pop("data_options")  # they may name a folder of this machine
    return {"settings": first, "environment": environment(), "not run": left} | summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    record = gathered(options.runs)
    write_json(options.out, record)
    print(json.dumps({n: v["accuracy"] for n, v in record["variants"].items()}, indent=2))


if __name__ == "__main__":
    main()
