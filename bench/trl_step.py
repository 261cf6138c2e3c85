"""TRL's side of `training_step.py`, in a process of its own.

One line on standard input lets one step of `GRPOTrainer.train` run, from the callback before it
to the callback after the optimiser; one line of JSON on standard output tells what it took.
Nothing is switched on that only costs: no gradient checkpointing, no logging, no saving.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
import transformers
import trl
from datasets import Dataset

from understudy.offload.scores import is_right
from understudy.types import Query

Case = dict[str, Any]


class Stopwatch:
    """Wall seconds spent in the functions it wraps, by name; the inner is part of the outer."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds[name] = time.perf_counter() - started

        return call


class Gate(transformers.TrainerCallback):
    """Lets one step through per line read, and tells how long it took."""

    def __init__(self, watch: Stopwatch, rewards: list[list[float]], reply: Any) -> None:
        self.watch, self.rewards, self.reply = watch, rewards, reply
        self.trainer: Any = None

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._tell({"ready": True})
        if not sys.stdin.readline():
            sys.exit("nobody asks for steps any more")
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        wall = time.perf_counter() - self.wall
        seconds, metrics = self.watch.seconds, self.trainer._metrics["train"]
        groups = torch.tensor(self.rewards[-1]).view(-1, self.trainer.num_generations)
        told = {
            "seconds": wall,
            "processor_seconds": time.process_time() - self.processor,
            "sample": seconds["generate"],
            "score": seconds["rollout"] - seconds["generate"],
            "update": wall - seconds["rollout"],
            "mean_length": metrics["completions/mean_length"][-1],
            "reward": float(groups.mean()),
            "groups_without_signal": float((groups == groups[:, :1]).all(1).float().mean()),
        }
        self._tell(told)

    def _tell(self, fact: Case) -> None:
        self.reply.write(json.dumps(fact) + "\n")
        self.reply.flush()


def build_trainer(case: Case, folder: str, rewards: list[list[float]]) -> Any:
    ask = case["stops"][1]

    def reward(completions: list[str], completion_ids: list[list[int]], **columns: Any) -> Any:
        names = ("solution", "family", "level", "worked")
        fields = zip(*(columns[name] for name in names), strict=True)
        found = [
            float(ids[-1] != ask and is_right(Query("", *given), text))
            for text, ids, given in zip(completions, completion_ids, fields, strict=True)
        ]
        rewards.append(found)
        return found

    model = transformers.AutoModelForCausalLM.from_pretrained(case["model"], dtype=torch.float32)
    model.generation_config.eos_token_id = case["stops"]
    samples = case["batch_size"] * case["group"]
    options = trl.GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=samples,
        gradient_accumulation_steps=1,
        steps_per_generation=1,
        num_iterations=1,
        num_generations=case["group"],
        max_completion_length=case["max_completion_length"],
        temperature=case["temperature"],
        learning_rate=case["learning_rate"],
        lr_scheduler_type="constant",
        loss_type=case["loss_type"],
        scale_rewards="group",
        epsilon=case["epsilon"],
        beta=0.0,
        max_grad_norm=case["max_grad_norm"],
        max_steps=len(case["queries"]) // case["batch_size"],
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        shuffle_dataset=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=case["seed"],
    )
    return trl.GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=options,
        train_dataset=Dataset.from_list(case["queries"]),
        processing_class=transformers.AutoTokenizer.from_pretrained(case["model"]),
    )


def main() -> None:
    # Whatever the libraries print goes to standard error; the replies have the real output.
    reply = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    case: Case = json.loads(sys.stdin.readline())
    torch.set_num_threads(case["threads"])
    transformers.utils.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        rewards: list[list[float]] = []
        trainer = build_trainer(case, folder, rewards)
        watch = Stopwatch()
        trainer._generate_single_turn = watch.timed("generate", trainer._generate_single_turn)
        whole = trainer._generate_and_score_completions
        trainer._generate_and_score_completions = watch.timed("rollout", whole)
        gate = Gate(watch, rewards, reply)
        gate.trainer = trainer
        trainer.add_callback(gate)
        versions = {module.__name__: module.__version__ for module in (trl, transformers, torch)}
        gate._tell(versions)
        trainer.train()


if __name__ == "__main__":
    main()
