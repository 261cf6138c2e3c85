"""DA-GRPO inside TRL's trainer, in under a minute on one CPU thread, without a network.

    python examples/trl_dual_advantage.py

The model that ships learns to hand at most a third of its questions to a simulated cloud, then,
after a switch, at most a tenth. Each line shows a step's share of asking beside its budget, and
the price of asking that follows it.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig

from understudy.clouds import SimulatedCloud
from understudy.integrations.trl import DualAdvantageGRPOTrainer
from understudy.models.checkpoint import TINY
from understudy.tasks import KeyOfDrawn, open_tasks
from understudy.tasks.stream import Phase
from understudy.types import Problem

TASKS = open_tasks()
KEY = KeyOfDrawn()  # what the simulated cloud answers from
FIELDS = ("solution", "family", "level", "worked")


class Lines(TrainerCallback):
    """Prints what the method adds to TRL's log."""

    def on_log(self, args: Any, state: Any, control: Any, **told: Any) -> None:
        line = told["logs"]
        if "cloud/price" in line:
            print(
                f"step {state.global_step:3}  asked {line['cloud/ask_rate']:.2f} "
                f"of {line['cloud/budget']:.2f}  price {line['cloud/price']:.3f}  "
                f"right {line['rewards/correct/mean']:.2f}  calls {line['cloud/calls']}  "
                f"dollars {line['cloud/dollars']:.6f}",
                flush=True,
            )


def correct(completions: list[str], **columns: Any) -> list[float | None]:
    """A reward function in TRL's sense; an asker's completion ends with the cloud's reply."""
    given = zip(*(columns[name] for name in FIELDS), strict=True)
    return TASKS.check([Problem("", *fields) for fields in given], completions)


def questions(number: int) -> Dataset:
    """TRL's `prompt` column, and what the checker knows about each."""
    phase = Phase(families=["stories", "strings", "calendar"])
    drawn = TASKS.batch(phase, number, "train", "example")
    problems = [replace(problem, prompt=f"{problem.prompt}\n") for problem in drawn]
    KEY.remember(problems)
    columns = ("prompt", *FIELDS)
    return Dataset.from_list([{name: getattr(p, name) for name in columns} for p in problems])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=60)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        trainer = DualAdvantageGRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32),
            processing_class=AutoTokenizer.from_pretrained(TINY),
            train_dataset=questions(16 * steps),
            reward_funcs=correct,
            args=GRPOConfig(
                output_dir=folder,
                scale_rewards="none",
                loss_type="luspo",
                num_generations=8,
                per_device_train_batch_size=128,
                max_completion_length=24,
                learning_rate=2e-4,
                lr_scheduler_type="constant",
                max_steps=steps,
                logging_steps=max(1, steps // 20),
                gradient_checkpointing=False,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
                bf16=False,
            ),
            cloud=SimulatedCloud(SimulatedCloud.Settings(), KEY),
            budget=lambda step: 0.33 if step < steps // 2 else 0.1,
            price_rate=0.05,
            request="<ask>",
            callbacks=[Lines()],
        )
        trainer.train()


if __name__ == "__main__":
    main()
