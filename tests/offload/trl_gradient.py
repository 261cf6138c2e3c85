"""Gradients of TRL's own loss for given rollouts: `trl_gradient.py request.json`.

Run with the python of an environment that has TRL (bench/trl_environment.sh makes one).  The
model, its forward pass and the loss are TRL's; only the rollouts are given.  A file of gradients
per case, under transformers' names.  Written for TRL 1.16.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import trl  # type: ignore[import-not-found]
from datasets import Dataset  # type: ignore[import-not-found]
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

Case = dict[str, Any]


def gradients(model: str, folder: str, case: Case) -> dict[str, torch.Tensor]:
    inputs = {name: torch.tensor(value) for name, value in case["inputs"].items()}
    inputs["num_items_in_batch"] = inputs["completion_mask"].sum()
    samples = len(inputs["advantages"])
    trainer = trl.GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        reward_funcs=lambda **_: [0.0] * samples,
        args=trl.GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=samples,
            gradient_accumulation_steps=1,
            num_generations=samples,
            gradient_checkpointing=False,
            report_to="none",
            use_cpu=True,
            bf16=False,
            beta=0.0,
            **case["options"],
        ),
        train_dataset=Dataset.from_dict({"prompt": ["question"]}),
        processing_class=AutoTokenizer.from_pretrained(model),
    )
    trainer.current_gradient_accumulation_steps = 1  # `train` would set it
    trainer.model.train()
    trainer.model.model.embed_tokens.padding_idx = None  # <pad> may have been drawn, then read
    trainer._compute_loss(trainer.model, inputs).backward()
    return {
        name: parameter.grad
        for name, parameter in trainer.model.named_parameters()
        if parameter.grad is not None
    }


def main(request: Path) -> None:
    asked = json.loads(request.read_text())
    with tempfile.TemporaryDirectory() as folder:
        for case in asked["cases"]:
            save_file(gradients(asked["model"], folder, case), case["out"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
