"""A trainer of a tiny model whose completions are given, and a cloud whose replies are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import GRPOConfig

from understudy.integrations.trl import REQUEST, DualAdvantageGRPOTrainer
from understudy.types import Reply, Request

ASK = f"hm {REQUEST}"
WORDS = ["<end>", "easy", "hard", "dead", "right", "wrong", "hm", *REQUEST.split()]

# The right answer is "right". The cloud cannot be reached about the question "dead".
GIVEN = {
    "easy": ["right", "wrong", ASK, ASK],
    "dead": ["right", "wrong", ASK, "wrong"],
    "hard": [ASK, ASK, ASK, ASK],
}


@dataclass
class GivenCloud:
    """Answers every question but "dead", and remembers what it was asked."""

    seen: list[str] = field(default_factory=list)

    async def answer(self, request: Request) -> Reply:
        self.seen.append(request.question.prompt)
        if request.question.prompt == "dead":
            return Reply(text=None, dollars=0.0, error="unreachable")
        return Reply(text="right", prompt_tokens=1, completion_tokens=1, dollars=0.5)


def correct(completions: list[Any], **_: Any) -> list[float]:
    """1 for a right answer at the end, whoever gave it: TRL's plain or conversational form."""
    texts = [each if isinstance(each, str) else each[-1]["content"] for each in completions]
    return [float(text.split()[-1] == "right") for text in texts]


def rows(given: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """A generation batch as TRL draws it: each question once per completion."""
    return [{"prompt": question} for question, texts in given.items() for _ in texts]


def trainer_of(
    folder: Path,
    given: Mapping[str, list[str]],
    cloud: Any,
    processes: int = 1,
    config: Mapping[str, Any] | None = None,
    **options: Any,
) -> DualAdvantageGRPOTrainer:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({w: i for i, w in enumerate(WORDS)}, "<end>")),
        eos_token="<end>",
        pad_token="<end>",
        unk_token="<end>",
    )
    tokenizer.backend_tokenizer.pre_tokenizer = WhitespaceSplit()
    texts = [text for group in given.values() for text in group]

    def rollouts(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        start = len(prompts) * trainer.accelerator.process_index
        mine = texts[start : start + len(prompts)]
        ids = [[*tokenizer(text)["input_ids"], 0] for text in mine]
        return {
            "prompt_ids": [[1]] * len(ids),
            "completion_ids": ids,
            "logprobs": [[0.0] * len(each) for each in ids],
        }

    size = len(WORDS)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=size, n_positions=32, n_embd=4, n_layer=1, n_head=1)
    )
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": len(texts) // processes,
        "per_device_eval_batch_size": len(texts) // processes,
        "num_generations": len(next(iter(given.values()))),
        "scale_rewards": "none",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
    }
    trainer = DualAdvantageGRPOTrainer(
        model=model,
        reward_funcs=options.pop("reward_funcs", correct),
        args=GRPOConfig(**settings | dict(config or {})),
        train_dataset=Dataset.from_list(rows(given)),
        processing_class=tokenizer,
        rollout_func=rollouts,
        cloud=cloud,
        **{"budget": 0.25} | options,
    )
    trainer.current_gradient_accumulation_steps = 1  # `train` would set it
    trainer.model.train()
    return trainer
