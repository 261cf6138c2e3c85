"""What a model can do before any run: the table in docs/tiny-model.md.

    python bench/tiny_accuracy.py            the model in the package
    python bench/tiny_accuracy.py FOLDER     another checkpoint; a table only, no JSON

Greedy accuracy by family and level with asking forbidden, and the share of responses that ask
when they are drawn at temperature 1, as the first step of a run would draw them. Questions are
drawn with replacement from the test split.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from tables import tiny_accuracy_table

from understudy.environment import environment
from understudy.models.policy import Policy
from understudy.models.sampling import Drawing
from understudy.offload.config import Config
from understudy.offload.examination import right_answers
from understudy.offload.local import greedy
from understudy.offload.settled import settled
from understudy.tasks import FAMILIES, LEVELS, Family, Tasks, draw_problem, open_tasks
from understudy.types import Problem

RESULTS = Path(__file__).parent / "results" / "tiny_accuracy.json"
LONGEST = settled(Config()).max_completion_length
_PROMPTS_AT_ONCE = 500


def questions(family: Family, level: int, draws: int, seed: int) -> list[Problem]:
    rng = random.Random(f"{seed} {family.name} {level}")
    return [draw_problem(family, level, "test", rng) for _ in range(draws)]


def accuracy(policy: Policy, tasks: Tasks, problems: list[Problem]) -> float:
    """The share that the model answers right by itself, greedily."""
    ordered = sorted(problems, key=lambda problem: len(problem.prompt))  # less padding
    right = 0
    for start in range(0, len(ordered), _PROMPTS_AT_ONCE):
        part = ordered[start : start + _PROMPTS_AT_ONCE]
        texts = [each.answer for each in greedy(policy, part, LONGEST)]
        right += sum(right_answers(tasks, part, texts))
    return right / len(ordered)


def ask_share(policy: Policy, problems: list[Problem], seed: int) -> float:
    """The share of responses, one per question, that ask at temperature 1."""
    drawing = Drawing(LONGEST)
    ordered = sorted(problems, key=lambda problem: len(problem.prompt))  # less padding
    asked = 0
    for start in range(0, len(ordered), _PROMPTS_AT_ONCE):
        some = ordered[start : start + _PROMPTS_AT_ONCE]
        part = policy.prompts([problem.question for problem in some])
        uniforms = drawing.uniforms(len(part.ids), seed + start)
        asked += int(policy.sample(part, 1, drawing, uniforms).asked.sum())
    return asked / len(ordered)


def measure(policy: Policy, tasks: Tasks, draws: int, seed: int) -> dict[str, Any]:
    """family -> greedy accuracy by level and share of responses that ask, all levels together."""
    found = {}
    for family in FAMILIES.values():
        by_level = {level: questions(family, level, draws, seed) for level in LEVELS}
        every = [problem for problems in by_level.values() for problem in problems]
        found[family.name] = {
            "accuracy": {str(level): accuracy(policy, tasks, by_level[level]) for level in LEVELS},
            "ask_share": ask_share(policy, every, seed),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="?", default="tiny", help="'tiny' or a checkpoint's folder")
    parser.add_argument("--draws", type=int, default=1000, help="questions per family and level")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    policy, tasks = Policy.load(args.model), open_tasks()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    record = {
        "command": "python bench/tiny_accuracy.py",
        "commit": commit.strip(),
        "draws": args.draws,
        "seed": args.seed,
        "sha256": sha256((policy.folder / "model.safetensors").read_bytes()).hexdigest(),
        "parameters": sum(weights.numel() for weights in policy.network.parameters()),
        "vocabulary": policy.tokens.tokenizer.get_vocab_size(),
        "environment": environment(),
        "families": measure(policy, tasks, args.draws, args.seed),
    }
    print(tiny_accuracy_table(record))
    if args.model == "tiny":
        RESULTS.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
