"""Makes the model that `understudy serve` shows when it is given none, of a run of the demo.

    make demo
    python -m understudy.recipes.asking_tiny --run runs/demo --out understudy/gateway/demo

The shipped tiny model knows how to ask and not when; a minute of training teaches it when. Kept are
its newest weights, and the router of every task with its scores on the validation questions. They
are all that serving reads of a run, so the run's megabytes of records stay out of the package.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from understudy import recipes
from understudy.files import write_folder
from understudy.offload.serve import TrainedModel
from understudy.routing.calibration import CALIBRATION, Calibration
from understudy.run import RunDirectory

_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
_SCORES = 256  # of the validation questions of a task, evenly over their order


def make(run: RunDirectory, out: Path) -> None:
    with TrainedModel(run, recipes.saved_config(run)) as model:
        fitted = {name: _thinned(model.fitted.of(name)) for name in model.fitted.names}
        last = list(model.stream[-1].families)[-1]
    folder = run.last_checkpoint()
    record = {"tasks": {name: each.to_json() for name, each in fitted.items()}, "usual": last}

    def fill(target: Path) -> None:
        for name in _FILES:
            shutil.copyfile(folder / name, target / name)
        (target / CALIBRATION).write_text(json.dumps(record) + "\n")

    write_folder(out, fill)


def _thinned(calibration: Calibration) -> Calibration:
    scores = sorted(calibration.scores)
    step = max(len(scores) // _SCORES, 1)
    return Calibration(calibration.router, tuple(scores[step // 2 :: step]))


def main(arguments: Any = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--run", type=Path, required=True, help="a run of the demo")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    given = parser.parse_args(arguments)
    make(RunDirectory.open(given.run), given.out)


if __name__ == "__main__":
    main()
