"""TRL's own advantages and losses for given tensors.

Both go through the real methods of `trl.GRPOTrainer`: rewards through
`_generate_and_score_completions`, log-probabilities through `_compute_loss`.  Only what a model
would compute is put in their place: the sampled completions, and the log-probabilities themselves,
as a leaf to differentiate by.

Written for TRL 1.16.
"""

from pathlib import Path
from typing import Any

import torch
import trl
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

Case = dict[str, Any]
VOCABULARY = {"<end>": 0, "question": 1, "answer": 2}


def tiny_trainer(folder: Path, rewards: list[float | None], group: int, **options: Any) -> Any:
    """A trainer of a two-layer model whose reward function returns the given rewards."""
    model = GPT2LMHeadModel(GPT2Config(vocab_size=3, n_positions=32, n_embd=4, n_layer=1, n_head=1))
    model.save_pretrained(folder / "model")
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer(WordLevel(VOCABULARY, unk_token="<end>")),
        eos_token="<end>",
        pad_token="<end>",
        unk_token="<end>",
    )

    def given_rewards(**_: Any) -> list[float | None]:
        return rewards

    def given_rollouts(prompts: list[str], _: Any) -> dict[str, list[list[float]]]:
        count = len(prompts)
        return {
            "prompt_ids": [[1]] * count,
            "completion_ids": [[2, 0]] * count,
            "logprobs": [[-1.0, -1.0]] * count,
        }

    trainer = trl.GRPOTrainer(
        model=str(folder / "model"),
        reward_funcs=given_rewards,
        args=trl.GRPOConfig(
            output_dir=str(folder / "run"),
            per_device_train_batch_size=len(rewards),
            gradient_accumulation_steps=1,
            num_generations=group,
            report_to="none",
            use_cpu=True,
            bf16=False,
            **options,
        ),
        train_dataset=Dataset.from_dict({"prompt": ["question"]}),
        processing_class=tokenizer,
        rollout_func=given_rollouts,
    )
    trainer.current_gradient_accumulation_steps = 1  # `train` would set it
    return trainer


def advantages(folder: Path, reward: torch.Tensor, scale_rewards: str) -> torch.Tensor:
    """reward: (prompts, group), NaN where there is none; returns (prompts * group,)."""
    rewards = [None if value != value else value for value in reward.flatten().tolist()]
    trainer = tiny_trainer(folder, rewards, reward.shape[1], scale_rewards=scale_rewards)
    trainer.model.train()
    batch = trainer._generate_and_score_completions([{"prompt": "question"} for _ in rewards])
    result: torch.Tensor = batch["advantages"]
    return result


def loss(folder: Path, case: Case) -> Case:
    """The loss of a case's tensors, its gradient by the log-probabilities, and its metrics."""
    logprobs = torch.tensor(case["logprobs"], requires_grad=True)
    samples = logprobs.shape[0]
    trainer = tiny_trainer(folder, [0.0] * samples, samples, **case["options"])
    trainer.model.train()
    # (log-probabilities, entropies, auxiliary loss)
    given = (logprobs, torch.zeros_like(logprobs), None)
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: given
    mask = torch.tensor(case["mask"])
    inputs = {
        "prompt_ids": torch.ones(samples, 1, dtype=torch.long),
        "prompt_mask": torch.ones(samples, 1, dtype=torch.long),
        "completion_ids": torch.ones_like(mask),
        "completion_mask": mask,
        "advantages": torch.tensor(case["advantage"]),
        "old_per_token_logps": torch.tensor(case["old_logprobs"]),
        "ref_per_token_logps": torch.tensor(case["reference_logprobs"]),
        "num_items_in_batch": mask.sum(),
    }
    value = trainer._compute_loss(trainer.model, inputs)
    value.backward()
    metrics = trainer._metrics["train"]
    assert logprobs.grad is not None
    return {
        "loss": value.detach(),
        "gradient": logprobs.grad,
        "clip_low": metrics["clip_ratio/low_mean"][-1],
        "clip_high": metrics["clip_ratio/high_mean"][-1],
        "divergence": metrics["kl"][-1] if "kl" in metrics else None,
    }
