"""One whole GRPO step, samples per second: this loop beside TRL's GRPOTrainer.

    python bench/training_step.py
    python bench/training_step.py --size qwen2-0.5b --batch-size 2 --group 4 --sides understudy trl

A step draws a group per prompt, rewards every sample and takes one optimiser step. Both sides
have the same checkpoint, questions, group size, longest completion, reward function, loss,
learning rate, temperature, precision and number of threads, and take turns, step by step, within
one run; the figure is that of the median step after warm-up. A completion ends at <eos> or at
<ask> on both sides, and an asker's reward is 0 on both. TRL generates with transformers, keeps
no gradient checkpoints, logs and saves nothing. Questions are drawn beforehand; tokenising them
is part of the step. Our step includes the simulated cloud's replies and the step's metrics.

Models of `shapes.py` have random weights; there the reward is a checksum of the text, so that
every sample has a signal. `flops_share` is what training has to compute, each prompt once for its
group, per second of the update (on a CPU the processor's own), as a share of what the machine does
in products of large matrices, measured in the same run.

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
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch
from roofline import peak_flops, peak_gigabytes, synchronise, training_flops
from shapes import SHAPES, checkpoint
from trl_side import ROOT, Row, Theirs

from understudy.environment import environment
from understudy.models.checkpoint import read_shape, resolve
from understudy.models.decoder import Decoder, Shape
from understudy.models.policy import Policy
from understudy.models.sampling import Completions, Drawing, Prompts
from understudy.models.tokens import Tokens
from understudy.objectives import has_signal
from understudy.offload.config import Config
from understudy.offload.loop import objective_of, source_of, update
from understudy.offload.measure import step_metrics
from understudy.offload.method import Dual
from understudy.offload.settled import settled
from understudy.offload.start import start
from understudy.recipes import build_method, resolve_config
from understudy.tasks import open_tasks
from understudy.tasks.stream import Phase
from understudy.types import Problem

FAMILIES = ["stories", "strings", "programs", "facts", "calendar"]
MILLION = ["--hidden", "160", "--layers", "3", "--inner", "448", "--steps", "400"]
SIDES = ["understudy", "trl", "understudy_bf16", "trl_bf16"]


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
        synchronise(self.device)
        self.seconds.append(time.perf_counter() - started)
        return drawn


class Ours:
    """This project's loop, a step at a time."""

    def __init__(self, config: Config, phase: Phase) -> None:
        self.config, self.phase, self.method = config, phase, build_method(config)
        self.state, self.helpers = start(config, self.method)
        policy = self.state.policy
        self.policy = TimedPolicy(
            **{each.name: getattr(policy, each.name) for each in fields(policy)}
        )
        self.state.policy = self.policy
        if config.recipe == "grpo":
            self.state.dual = Dual(price=0.0, shift=0.0)  # it may ask, as TRL's model may

    def step(self, problems: list[Problem], last: bool = False) -> Row:
        wall, processor = time.perf_counter(), time.process_time()
        state, helpers, config = self.state, self.helpers, self.config
        experience = source_of(state, helpers, config, config.budget).draw(problems)
        objective = objective_of(state, experience, 1)
        drawn, update_processor = time.perf_counter(), time.process_time()
        learnt = update(state, helpers, objective, config)
        synchronise(self.policy.device)
        updated = time.perf_counter()
        update_processor = time.process_time() - update_processor
        place = 1, self.phase
        metrics = step_metrics(state, helpers.cloud.spend, place, objective, learnt)
        state.step += 1
        ended = time.perf_counter()
        sample = self.policy.seconds[-1]
        return {
            "seconds": ended - wall,
            "processor_seconds": time.process_time() - processor,
            "sample": sample,
            "score": drawn - wall - sample + ended - updated,
            "update": updated - drawn,
            "update_processor_seconds": update_processor,
            "mean_length": metrics.mean_length,
            "reward": metrics.reward,
            "groups_without_signal": 1.0 - float(has_signal(objective.advantage).float().mean()),
            "prompt_tokens": int(experience.batch.prompts.mask.sum()),
            "peak_gigabytes": peak_gigabytes(self.policy.device),
        }

    def close(self) -> None:
        self.helpers.close()


def side(name: str, config: Config, phase: Phase, problems: list[Problem]) -> Ours | Theirs:
    config = config.model_copy(update={"bf16": name.endswith("bf16")})
    return Theirs(config, problems) if name.startswith("trl") else Ours(config, phase)


def compare(size: str, args: argparse.Namespace) -> Row:
    """All sides through the same batches, in turns, the order reversed at every step."""
    config, phase = settings(size, args), Phase(families=args.families)
    total = args.warm_up + args.steps
    with open_tasks() as tasks:
        keys = [f"{args.seed} {number}" for number in range(total)]
        batches = [tasks.batch(phase, config.batch_size, "train", key) for key in keys]
    problems = [problem for batch in batches for problem in batch]
    rows: dict[str, list[Row]] = {name: [] for name in args.sides}
    versions: Row = {}
    with ExitStack() as stack:
        sides: dict[str, Ours | Theirs] = {}
        for name in args.sides:
            sides[name] = stack.enter_context(closing(side(name, config, phase, problems)))
        for number, batch in enumerate(batches):
            for name in args.sides if number % 2 else args.sides[::-1]:
                rows[name].append(sides[name].step(batch, number + 1 == total))
        for each in sides.values():
            versions |= each.versions if isinstance(each, Theirs) else {}
    shape = read_shape(resolve(config.model))
    samples = config.batch_size * config.num_generations
    found = {name: summary(steps[args.warm_up :], samples) for name, steps in rows.items()}
    if size in SHAPES:
        for name, row in found.items():
            row |= flops(name, row, shape, prompt_tokens(config, problems) / total, args)
    return {
        "model": size if size in ("tiny", *SHAPES) else Path(config.model).name,
        "parameters": parameters(shape),
        "shape": asdict(shape),
        "trl_versions": versions,
        **found,
        **ratios(found),
    }


def prompt_tokens(config: Config, problems: list[Problem]) -> int:
    _, mask = Tokens(resolve(config.model)).encode_questions(
        [problem.question for problem in problems]
    )
    return int(mask.sum())


def parameters(shape: Shape) -> int:
    with torch.device("meta"):
        model = Decoder(shape)
    return sum(weight.numel() for weight in model.parameters())


def flops(name: str, row: Row, shape: Shape, prompts: float, args: argparse.Namespace) -> Row:
    """What the update had to compute, and at what share of the machine's pace."""
    dtype = torch.bfloat16 if name.endswith("bf16") else torch.float32
    samples = args.batch_size * args.group
    needed = training_flops(shape, round(prompts), round(row["mean_length"] * samples))
    peak = peak_flops(args.device, dtype)
    seconds = row["update_processor_seconds" if args.device == "cpu" else "update"]
    share = needed / seconds / peak
    return {"update_flops": needed, "peak_flops": peak, "flops_share": share}


def model_of(size: str) -> str:
    if size in SHAPES:
        return str(checkpoint(size))
    return million() if size == "million" else size


def settings(size: str, args: argparse.Namespace) -> Config:
    given: Row = {
        "model": model_of(size),
        "device": args.device,
        "batch_size": args.batch_size,
        "num_generations": args.group,
        "max_completion_length": args.length,
        "learning_rate": 1e-6,  # so small that both sides stay the model they started from
        "loss_type": "grpo",
        "scale_rewards": "group",
        "epsilon": 0.2,
        "lora.rank": 0,
        "gradient_accumulation_steps": 1,
        "threads": args.threads,
        "seed": args.seed,
    }
    if size in SHAPES:
        given["reward.functions"] = [f"{Path(__file__).with_name('shapes.py')}:checksum"]
    config = settled(
        resolve_config("grpo", None, [f"{key}={json.dumps(value)}" for key, value in given.items()])
    )
    # The recipe asks nothing, but here a response may, as TRL's model may; it is worth nothing.
    return config.model_copy(update={"reward": config.reward.model_copy(update={"cloud": 0.0})})


def summary(steps: list[Row], samples: int) -> Row:
    """The median step, and the mean of what was drawn."""
    timed = ("seconds", "processor_seconds", "sample", "score", "update")
    timed += ("update_processor_seconds",)
    drawn = ("mean_length", "reward", "groups_without_signal")
    middle = {name: statistics.median(step[name] for step in steps) for name in timed}
    mean = {name: statistics.fmean(step[name] for step in steps) for name in drawn}
    return {
        "samples_per_second": samples / middle["seconds"],
        **middle,
        **mean,
        "tokens_drawn": round(sum(step["mean_length"] * samples for step in steps)),
        "peak_gigabytes": max(step["peak_gigabytes"] for step in steps),
        "all_seconds": [step["seconds"] for step in steps],
    }


def ratios(sides: dict[str, Row]) -> Row:
    """How many times as fast as TRL's first side ours are."""
    theirs = [row for name, row in sides.items() if name.startswith("trl")]
    ours = {name: row for name, row in sides.items() if not name.startswith("trl")}
    if not theirs or not ours:
        return {}
    first = next(iter(ours.values()))
    found = {"ratio": "seconds", "ratio_of_processor_time": "processor_seconds"}
    row = {name: theirs[0][timed] / first[timed] for name, timed in found.items()}
    if "understudy_bf16" in ours:
        row["ratio_bf16"] = theirs[0]["seconds"] / ours["understudy_bf16"]["seconds"]
    return row


def million() -> str:
    """A checkpoint of one million parameters, trained for a few minutes where there is none."""
    folder = ROOT / "build" / "bench-1m"
    if not (folder / "config.json").is_file():
        command = [sys.executable, "-m", "understudy.recipes.pretrain_tiny", "--out", str(folder)]
        subprocess.run([*command, *MILLION], check=True, cwd=ROOT)
    return str(folder)


def shown(row: Row) -> str:
    lines = [f"{row['model']}: {row['parameters']} parameters"]
    for name in (name for name in SIDES if name in row):
        side = row[name]
        split = " ".join(f"{part} {side[part]:.3f}" for part in ("sample", "score", "update"))
        rate, length = side["samples_per_second"], side["mean_length"]
        lines.append(
            f"  {name:16} {rate:7.2f} samples/s  {side['seconds']:.3f} s ({split})  "
            f"processor {side['processor_seconds']:.3f} s  mean length {length:.2f}  "
            f"without signal {side['groups_without_signal']:.2f}  "
            f"peak {side['peak_gigabytes']:.1f} GB"
        )
        if "flops_share" in side:
            lines[-1] += f"  {side['flops_share']:.0%} of peak FLOP/s"
    figures = [f"{name} {value:.2f}" for name, value in row.items() if name.startswith("ratio")]
    return "\n".join([*lines, *(f"  {figure}" for figure in figures)])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    sizes = f"tiny, million, {', '.join(SHAPES)}, or a checkpoint's folder"
    parser.add_argument("--size", nargs="*", default=["tiny", "million"], help=sizes)
    parser.add_argument("--sides", nargs="*", choices=SIDES, default=SIDES[:3], help="in turns")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--families", nargs="*", default=FAMILIES, help="what is asked, mixed")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--length", type=int, default=28, help="longest completion, in tokens")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="its JSON; bench/results/training_step*.json")
    args = parser.parse_args()
    if args.out is None:
        added = [size for size in args.size if size in SHAPES]
        args.out = ROOT / "bench" / "results" / f"{'_'.join(['training_step', *added])}.json"
    return args


def main() -> None:
    args = parsed()
    rows = []
    for size in args.size:
        rows.append(compare(size, args))
        print(shown(rows[-1]), flush=True)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    names = (
        "device",
        "sides",
        "families",
        "steps",
        "warm_up",
        "batch_size",
        "group",
        "length",
        "threads",
        "seed",
    )
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
