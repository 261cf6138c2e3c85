"""A training step on a real model and real questions: recipes `grpo` and `understudy`, and TRL.

    python bench/real_step.py --model FOLDER --name HuggingFaceTB/SmolLM2-135M-Instruct \
        --data sms-spam=FOLDER --length 8

Every side runs alone in a process of its own, so that its peak of memory is its own: what the
process held at most, from loading to the last step. All have the same questions, group, longest
completion, adapter and number of threads. A checksum of the text is part of the reward, so that
every group has a signal, as it has once a model is right now and then. The first step warms up.
Our sides divide a step's rows by themselves; TRL does with `--trl-portions`, where all of them do
not fit into memory. Processor seconds stand beside wall-clock seconds: others on the machine
disturb them less. A run of some sides leaves the others' figures of the same case in the file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import transformers
from training_step import Ours, summary
from trl_side import ROOT, Row, Theirs

from understudy.environment import environment
from understudy.offload.config import Config
from understudy.offload.settled import settled
from understudy.recipes import resolve_config
from understudy.tasks import open_tasks
from understudy.tasks.stream import Phase

SIDES = ("grpo", "understudy", "trl")


def settings(side: str, args: argparse.Namespace) -> Config:
    name, _, path = args.data.partition("=")
    given: Row = {
        "model": args.model,
        "backend": "auto",
        "batch_size": args.batch_size,
        "num_generations": args.group,
        "max_completion_length": args.length,
        "learning_rate": 1e-6,  # so small that all sides stay the model they started from
        "loss_type": "grpo",
        "lora.rank": args.rank,
        "threads": args.threads,
        "bf16": args.bf16,
        "seed": args.seed,
        "stream": [{"families": name, "steps": 1}],
        "data": {name: {"path": path}} if path else {},
        "reward.functions": [f"{Path(__file__).with_name('shapes.py')}:checksum"],
    }
    if side != "understudy":
        given |= {"scale_rewards": "group", "epsilon": 0.2}
    lines = [f"{key}={json.dumps(value)}" for key, value in given.items()]
    return settled(resolve_config("understudy" if side == "understudy" else "grpo", None, lines))


def measured(side: str, args: argparse.Namespace) -> Row:
    """One side's median step, in this process or in one below it."""
    config = settings(side, args)
    phase = Phase(families=[args.data.partition("=")[0]])
    with open_tasks(config.data) as tasks:
        batches = [
            tasks.batch(phase, config.batch_size, "train", f"{args.seed} {number}")
            for number in range(1 + args.steps)
        ]
    problems = [problem for batch in batches for problem in batch]
    running: Ours | Theirs
    if side == "trl":
        tokenizer = transformers.AutoTokenizer.from_pretrained(config.model)
        texts = [as_text(tokenizer, each) for each in problems]
        running = Theirs(config, problems, texts, args.trl_portions)
    else:
        running = Ours(config, phase)
    with closing(running):
        last = len(batches) - 1
        steps = [running.step(batch, number == last) for number, batch in enumerate(batches)]
    return summary(steps[1:], config.batch_size * config.num_generations)


def as_text(tokenizer: Any, problem: Any) -> str:
    """A question as the model's chat template writes it."""
    messages = [
        {"role": message.role, "content": message.content} for message in problem.question.messages
    ]
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return text


def command_of(args: argparse.Namespace) -> str:
    """The command of a case, without the folders of this machine."""
    name, _, path = args.data.partition("=")
    parts = ["python bench/real_step.py --model FOLDER --name", args.name or Path(args.model).name]
    parts += ["--data", f"{name}=FOLDER" if path else name]
    options = "sides steps batch-size group length rank threads seed trl-portions"
    for option in options.split():
        value = getattr(args, option.replace("-", "_"))
        parts.append(f"--{option} {' '.join(value) if option == 'sides' else value}")
    return " ".join([*parts, "--bf16"] if args.bf16 else parts)


def commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", required=True, help="a checkpoint's folder")
    parser.add_argument("--name", help="the model's name of the hub, for the record")
    parser.add_argument("--data", required=True, help="NAME=PATH, or a generated family")
    parser.add_argument("--sides", nargs="*", choices=SIDES, default=list(SIDES))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--group", type=int, default=4)
    parser.add_argument("--length", type=int, default=8, help="longest completion, in tokens")
    parser.add_argument("--rank", type=int, default=16, help="of the adapter; 0: all weights")
    parser.add_argument("--trl-portions", type=int, default=1, help="backward passes of its step")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "bench" / "results" / "training_step_real.json"
    )
    return parser.parse_args()


def main() -> None:
    args = parsed()
    if args.alone:
        print(json.dumps(measured(args.alone, args)), flush=True)
        return
    found = {}
    for side in args.sides:
        command = [sys.executable, __file__, *sys.argv[1:], "--alone", side]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[side] = json.loads(told.splitlines()[-1])
        row = found[side]
        times = f"{row['processor_seconds']:7.2f} processor s {row['seconds']:7.2f} s"
        print(f"{side:12} {times}  peak {row['peak_gigabytes']:.2f} GB", flush=True)
        row |= {"command": command_of(args), "commit": commit(), "load_average": os.getloadavg()}
    names = ("batch_size", "group", "length", "rank", "bf16", "threads", "seed", "steps")
    case = {"model": args.name or Path(args.model).name, "data": args.data.partition("=")[0]}
    case |= {name: getattr(args, name) for name in names}
    kept = json.loads(args.out.read_text()) if args.out.is_file() else {"cases": []}
    before = next((each["sides"] for each in kept["cases"] if each["case"] == case), {})
    others = [each for each in kept["cases"] if each["case"] != case]
    kept["cases"] = [*others, {"case": case, "sides": before | found}]
    kept["environment"] = environment() | {"platform": f"{platform.system()} {platform.machine()}"}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
