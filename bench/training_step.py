"""One whole GRPO step, samples per second: this loop beside TRL's GRPOTrainer, on the CPU.

    python bench/training_step.py

A step draws a group per prompt, rewards every sample and takes one optimiser step. Both sides
have the same checkpoint, questions, group size, longest completion, reward function, loss,
learning rate, temperature, float32 and number of threads, and take turns, step by step, within
one run; the figure is that of the median step after warm-up. A completion ends at <eos> or at
<ask> on both sides, and an asker's reward is 0 on both. TRL generates with transformers, keeps
no gradient checkpoints, logs and saves nothing. Questions are drawn beforehand; tokenising them
is part of the step. Our step includes the simulated cloud's replies and the step's metrics.

Seconds are wall-clock; the processor's own seconds stand beside them, which other work on the
machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from understudy.config import Config, resolve_config
from understudy.environment import environment
from understudy.models.checkpoint import resolve
from understudy.models.policy import Policy
from understudy.models.sampling import Completions, Drawing, Prompts
from understudy.objectives import has_signal
from understudy.offload.loop import rollout, update
from understudy.offload.measure import step_metrics
from understudy.offload.method import Dual
from understudy.offload.start import start
from understudy.recipes import defaults, method
from understudy.tasks.stream import Phase
from understudy.types import Query

ROOT = Path(__file__).resolve().parents[1]
FAMILIES = ["stories", "strings", "programs", "facts", "calendar"]
MILLION = ["--hidden", "160", "--layers", "3", "--inner", "448", "--steps", "400"]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TimedPolicy(Policy):
    """A policy that notes how long drawing takes."""

    seconds: list[float] = field(default_factory=list)

    def sample(
        self,
        prompts: Prompts,
        group: int,
        drawing: Drawing,
        uniforms: torch.Tensor | None = None,
    ) -> Completions:
        started = time.perf_counter()
        drawn = Policy.sample(self, prompts, group, drawing, uniforms)
        self.seconds.append(time.perf_counter() - started)
        return drawn


class Ours:
    """This project's loop, a step at a time."""

    def __init__(self, config: Config, phase: Phase) -> None:
        self.config, self.phase, self.method = config, phase, method("grpo")(config)
        self.state = start(config, self.method)
        policy = self.state.policy
        self.policy = TimedPolicy(
            policy.decoder, policy.tokens, policy.folder, policy.device, policy.bf16
        )
        self.state.policy = self.policy
        self.state.dual = Dual(price=0.0, shift=0.0)  # it may ask, as TRL's model may

    def step(self, queries: list[Query]) -> Row:
        wall, processor = time.perf_counter(), time.process_time()
        state, config, method = self.state, self.config, self.method
        batch, scores = rollout(state, queries, config.budget, config)
        advantage = method.advantage(scores, state.dual)
        drawn = time.perf_counter()
        update(state, method, batch, scores, advantage, 0.0, config, None)
        updated = time.perf_counter()
        metrics = step_metrics(state, 1, self.phase, 0.0, batch, scores, advantage)
        state.step += 1
        ended = time.perf_counter()
        sample = self.policy.seconds[-1]
        return {
            "seconds": ended - wall,
            "processor_seconds": time.process_time() - processor,
            "sample": sample,
            "score": drawn - wall - sample + ended - updated,
            "update": updated - drawn,
            "mean_length": metrics["completions/mean_length"],
            "reward": metrics["reward"],
            "groups_without_signal": 1.0 - float(has_signal(advantage).float().mean()),
        }


class Theirs:
    """TRL's GRPOTrainer in its own process, held before each step until it is asked for."""

    def __init__(self, config: Config, stops: list[int], queries: list[Query]) -> None:
        case = {
            "model": str(resolve(config.model)),
            "queries": [asdict(query) | {"prompt": query.prompt + "\n"} for query in queries],
            "stops": stops,
            "group": config.num_generations,
        }
        names = "batch_size max_completion_length temperature learning_rate"
        names += " loss_type epsilon max_grad_norm threads seed"
        case |= {name: getattr(config, name) for name in names.split()}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("trl_step.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ
            | {
                "PYTHONPATH": str(ROOT),
                "HF_HUB_OFFLINE": "1",
                "OMP_NUM_THREADS": str(config.threads),
            },
        )
        self._write(json.dumps(case))
        self.versions = self._read()
        self._read()  # ready for its first step

    def step(self, last: bool) -> Row:
        self._write("step")
        told = self._read()
        if not last:
            self._read()  # ready for the next
        return told

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _write(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _read(self) -> Row:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("TRL's process ended; its error stands above")
        told: Row = json.loads(line)
        return told


@contextmanager
def trl_process(*args: Any) -> Iterator[Theirs]:
    theirs = Theirs(*args)
    try:
        yield theirs
    finally:
        theirs.close()


def compare(model: str, args: argparse.Namespace) -> Row:
    """Both sides through the same batches, in turns; TRL first in every other pair."""
    config, phase = settings(model, args), Phase(families=args.families)
    total = args.warm_up + args.steps
    batches = [phase.batch(config.batch_size, "train", f"{args.seed} {i}") for i in range(total)]
    ours, half = Ours(config, phase), Ours(config.model_copy(update={"bf16": True}), phase)
    stops = [ours.policy.tokens.end, ours.policy.tokens.ask]
    queries = [query for batch in batches for query in batch]
    rows: dict[str, list[Row]] = {"understudy": [], "trl": [], "understudy_bf16": []}
    with trl_process(config, stops, queries) as theirs:
        for number, batch in enumerate(batches):
            if number % 2:
                rows["trl"].append(theirs.step(number + 1 == total))
            rows["understudy"].append(ours.step(batch))
            rows["understudy_bf16"].append(half.step(batch))
            if not number % 2:
                rows["trl"].append(theirs.step(number + 1 == total))
        versions = theirs.versions
    samples = config.batch_size * config.num_generations
    sides = {name: summary(steps[args.warm_up :], samples) for name, steps in rows.items()}
    decoder = ours.policy.decoder
    return {
        "model": model if model == "tiny" else Path(model).name,
        "parameters": sum(parameter.numel() for parameter in decoder.parameters()),
        "shape": asdict(decoder.shape),
        "trl_versions": versions,
        **sides,
        "ratio": ratio(sides, "understudy", "seconds"),
        "ratio_of_processor_time": ratio(sides, "understudy", "processor_seconds"),
        "ratio_bf16": ratio(sides, "understudy_bf16", "seconds"),
    }


def settings(model: str, args: argparse.Namespace) -> Config:
    given = {
        "model": model,
        "batch_size": args.batch_size,
        "num_generations": args.group,
        "max_completion_length": args.length,
        "learning_rate": 1e-6,  # so small that both sides stay the model they started from
        "loss_type": "grpo",
        "scale_rewards": "group",
        "epsilon": 0.2,
        "reward.cloud": 0.0,
        "threads": args.threads,
        "seed": args.seed,
    }
    return resolve_config(
        defaults("grpo"), None, [f"{key}={value}" for key, value in given.items()]
    )


def summary(steps: list[Row], samples: int) -> Row:
    """The median step, and the mean of what was drawn."""
    timed = ("seconds", "processor_seconds", "sample", "score", "update")
    drawn = ("mean_length", "reward", "groups_without_signal")
    middle = {name: statistics.median(step[name] for step in steps) for name in timed}
    mean = {name: statistics.fmean(step[name] for step in steps) for name in drawn}
    return {
        "samples_per_second": samples / middle["seconds"],
        **middle,
        **mean,
        "tokens_drawn": round(sum(step["mean_length"] * samples for step in steps)),
        "all_seconds": [step["seconds"] for step in steps],
    }


def ratio(sides: dict[str, Row], ours: str, name: str) -> float:
    return float(sides["trl"][name] / sides[ours][name])


def million() -> str:
    """A checkpoint of one million parameters, trained for a few minutes where there is none."""
    folder = ROOT / "build" / "bench-1m"
    if not (folder / "config.json").is_file():
        command = [sys.executable, "-m", "understudy.recipes.pretrain_tiny", "--out", str(folder)]
        subprocess.run([*command, *MILLION], check=True, cwd=ROOT)
    return str(folder)


def shown(row: Row) -> str:
    lines = [f"{row['model']}: {row['parameters']} parameters"]
    for name in ("understudy", "understudy_bf16", "trl"):
        side = row[name]
        split = " ".join(f"{part} {side[part]:.3f}" for part in ("sample", "score", "update"))
        rate, length = side["samples_per_second"], side["mean_length"]
        lines.append(
            f"  {name:16} {rate:7.1f} samples/s  {side['seconds']:.3f} s ({split})  "
            f"processor {side['processor_seconds']:.3f} s  mean length {length:.2f}  "
            f"without signal {side['groups_without_signal']:.2f}"
        )
    ratios = f"{row['ratio']:.2f} (processor time {row['ratio_of_processor_time']:.2f}"
    return "\n".join([*lines, f"  ratio {ratios}, bf16 {row['ratio_bf16']:.2f})"])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="*", default=["tiny", "million"])
    parser.add_argument("--families", nargs="*", default=FAMILIES, help="what is asked, mixed")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--length", type=int, default=28, help="longest completion, in tokens")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results/training_step.json")
    return parser.parse_args()


def main() -> None:
    args = parsed()
    rows = []
    for name in args.models:
        rows.append(compare(million() if name == "million" else name, args))
        print(shown(rows[-1]), flush=True)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    names = ("families", "steps", "warm_up", "batch_size", "group", "length", "threads", "seed")
    record = {
        "command": " ".join(["python", "bench/training_step.py", *sys.argv[1:]]),
        "commit": commit.stdout.strip(),
        "settings": {name: getattr(args, name) for name in names},
        "load_average": os.getloadavg(),
        "environment": environment() | {"platform": f"{platform.system()} {platform.machine()}"},
        "results": rows,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
