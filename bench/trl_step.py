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

import peft
import torch
import transformers
import trl
from datasets import Dataset
from roofline import peak_gigabytes, synchronise

from understudy.tasks import open_tasks
from understudy.tasks.data import DataConfig
from understudy.tasks.rewards import load_reward
from understudy.types import Problem

Case = dict[str, Any]


class Stopwatch:
    """Wall and processor seconds spent in the functions it wraps, by name; the inner is part of
    the outer."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.processor: dict[str, float] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            started, processor = time.perf_counter(), time.process_time()
            try:
                return function(*args, **options)
            finally:
                self.seconds[name] = time.perf_counter() - started
                self.processor[name] = time.process_time() - processor

        return call


class Gate(transformers.TrainerCallback):
    """Lets one step through per line read, and tells how long it took."""

    def __init__(
        self, watch: Stopwatch, rewards: list[list[float]], reply: Any, device: str
    ) -> None:
        self.watch, self.rewards, self.reply, self.device = watch, rewards, reply, device
        self.trainer: Any = None

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._tell({"ready": True})
        if not sys.stdin.readline():
            sys.exit("nobody asks for steps any more")
        synchronise(self.device)
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        synchronise(self.device)
        wall = time.perf_counter() - self.wall
        processor = time.process_time() - self.processor
        seconds, metrics = self.watch.seconds, self.trainer._metrics["train"]
        groups = torch.tensor(self.rewards[-1]).view(-1, self.trainer.num_generations)
        told = {
            "seconds": wall,
            "processor_seconds": processor,
            "sample": seconds["generate"],
            "score": seconds["rollout"] - seconds["generate"],
            "update": wall - seconds["rollout"],
            "update_processor_seconds": processor - self.watch.processor["rollout"],
            "peak_gigabytes": peak_gigabytes(self.device),
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
    tasks = open_tasks({name: DataConfig(**each) for name, each in case["data"].items()})
    extra = load_reward(case["reward"], messages=False) if case["reward"] else None

    def reward(completions: list[str], completion_ids: list[list[int]], **columns: Any) -> Any:
        names = ("solution", "family", "level", "worked")
        problems = [Problem("", *each) for each in zip(*(columns[n] for n in names), strict=True)]
        found = [float(verdict or 0.0) for verdict in tasks.check(problems, completions)]
        found = [0.0 if ids[-1] == ask else r for r, ids in zip(found, completion_ids, strict=True)]
        if extra:
            more = extra.values(problems, completions)
            found = [r + (value or 0.0) for r, value in zip(found, more, strict=True)]
        rewards.append(found)
        return found

    model = transformers.AutoModelForCausalLM.from_pretrained(case["model"], dtype=torch.float32)
    model.generation_config.eos_token_id = case["stops"]
    samples = case["batch_size"] * case["group"]
    options = trl.GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=samples // case["portions"],
        gradient_accumulation_steps=case["portions"],
        steps_per_generation=case["portions"],
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
        max_steps=len(case["problems"]) // case["batch_size"],
        gradient_checkpointing=False,
        bf16=case["bf16"],
        use_cpu=case["device"] == "cpu",
        shuffle_dataset=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=case["seed"],
    )
    adapter = case["lora"] and peft.LoraConfig(
        r=case["lora"]["rank"], lora_alpha=case["lora"]["alpha"], target_modules="all-linear"
    )
    return trl.GRPOTrainer(
        model=model,
        peft_config=adapter or None,
        reward_funcs=reward,
        args=options,
        train_dataset=Dataset.from_list(case["problems"]),
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
        gate = Gate(watch, rewards, reply, case["device"])
        gate.trainer = trainer
        trainer.add_callback(gate)
        versions = {module.__name__: module.__version__ for module in (trl, transformers, torch)}
        gate._tell(versions)
        trainer.train()


if __name__ == "__main__":
    main()
