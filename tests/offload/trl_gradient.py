"""Gradients of TRL's own loss for given rollouts.

The model, its forward pass and the loss are TRL's; only the rollouts are given.  Written for
TRL 1.16.
"""

from pathlib import Path
from typing import Any

import torch
import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer


def gradients(
    model: Path, folder: Path, inputs: dict[str, torch.Tensor], **options: Any
) -> dict[str, torch.Tensor]:
    """By every weight, under transformers' names.  inputs: a batch as TRL's trainer keeps it."""
    inputs = inputs | {"num_items_in_batch": inputs["completion_mask"].sum()}
    samples = len(inputs["advantages"])
    trainer = trl.GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        reward_funcs=lambda **_: [0.0] * samples,
        args=trl.GRPOConfig(
            output_dir=str(folder),
            per_device_train_batch_size=samples,
            gradient_accumulation_steps=1,
            num_generations=samples,
            gradient_checkpointing=False,
            report_to="none",
            use_cpu=True,
            bf16=False,
            beta=0.0,
            **options,
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
