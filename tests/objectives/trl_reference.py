"""TRL's own advantages and losses for given tensors: `trl_reference.py request.json reply.json`.

Run with the python of an environment that has TRL (bench/trl_environment.sh makes one).  Both go
through the real methods of `trl.GRPOTrainer`: rewards through `_generate_and_score_completions`,
log-probabilities through `_compute_loss`.  Only what a model would compute is put in their place:
the sampled completions, and the log-probabilities themselves, as a leaf to differentiate by.

Written for TRL 1.16.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import trl  # type: ignore[import-not-found]
from datasets import Dataset  # type: ignore[import-not-found]
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


def advantages(folder: Path, case: Case) -> list[float]:
    rewards = [reward for row in case["reward"] for reward in row]
    options = {"scale_rewards": case["scale_rewards"]}
    trainer = tiny_trainer(folder, rewards, len(case["reward"][0]), **options)
    trainer.model.train()
    batch = trainer._generate_and_score_completions([{"prompt": "question"} for _ in rewards])
    result: list[float] = batch["advantages"].tolist()
    return result


def loss(folder: Path, case: Case) -> Case:
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
        "loss": value.item(),
        "gradient": logprobs.grad.tolist(),
        "clip_low": metrics["clip_ratio/low_mean"][-1],
        "clip_high": metrics["clip_ratio/high_mean"][-1],
        "divergence": metrics["kl"][-1] if "kl" in metrics else None,
    }


def main(request: Path, reply: Path) -> None:
    cases = json.loads(request.read_text())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        answers = {
            "trl": trl.__version__,
            "torch": torch.__version__,
            "advantages": [advantages(folder, case) for case in cases["advantages"]],
            "losses": [loss(folder, case) for case in cases["losses"]],
        }
    reply.write_text(json.dumps(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
