"""One batch of given completions, half of it in each of two processes: `two_processes.py OUT`."""

import json
import os
import sys
from pathlib import Path

from tests.integrations.given import GIVEN, GivenCloud, rows, trainer_of


def main(out: Path) -> None:
    rank, cloud = int(os.environ["RANK"]), GivenCloud()
    trainer = trainer_of(out / f"run-{rank}", GIVEN, cloud, processes=2, price_rate=0.1)
    half = len(rows(GIVEN)) // 2
    batch = trainer._generate_and_score_completions(rows(GIVEN)[rank * half : (rank + 1) * half])
    told = {
        "advantages": batch["advantages"].tolist(),
        "price": trainer.price,
        "seen": cloud.seen,
        "calls": trainer._metrics["train"]["cloud/calls"][-1],
        "dollars": trainer._metrics["train"]["cloud/dollars"][-1],
    }
    (out / f"{rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
