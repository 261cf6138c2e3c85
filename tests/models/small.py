"""Small random checkpoints of several kinds, each with a real tokenizer trained on a few lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from understudy.types import Question

LINES = [
    "Tom has 3 pens and buys 4. How many pens has he now? 3 + 4 = 7",
    "If you cannot solve it, write exactly this instead of an answer:",
    "<unknown> I need external assistance </unknown>",
    "The quick brown fox jumps over the lazy dog, system user assistant",
]
TEXTS = ["Tom has 3 pens.", "How many dogs are lazy?", "12 + 30 =", "fox"]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
SIZES: dict[str, Any] = {
    "vocab_size": 330,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama-tied": ("Llama", {"tie_word_embeddings": True}),
    "qwen2": ("Qwen2", {}),
    "qwen2-tied": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3", {"head_dim": 8}),
    "gpt2": ("GPT2", {}),
    "gemma2": ("Gemma2", {"head_dim": 8, "sliding_window": 8}),
    "gemma3": ("Gemma3Text", {"head_dim": 8, "sliding_window": 8}),
    "phi": ("Phi", {}),
}


def tokenizer(begins: str | None = None) -> Tokenizer:
    """A byte-level BPE like GPT-2's and Qwen's, 3 special tokens first."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(LINES * 3, trainer)
    if begins:
        made.post_processor = processors.TemplateProcessing(
            single=f"{begins} $A", special_tokens=[(begins, made.token_to_id(begins))]
        )
    return made


def write_tokenizer(folder: Path, chat: bool = False, begins: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer(begins).save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    config |= {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if chat:
        (folder / "chat_template.jinja").write_text(TEMPLATE)


def network(kind: str, **changes: Any) -> Any:
    """A model of transformers whose weights are far from their initial values."""
    name, own = KINDS[kind]
    torch.manual_seed(len(kind))
    config = getattr(transformers, f"{name}Config")(**(SIZES | own | changes))
    config.eos_token_id = config.pad_token_id = config.bos_token_id = 0
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.25)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def write_checkpoint(folder: Path, kind: str, chat: bool = False, **changes: Any) -> Path:
    """A whole checkpoint folder, as transformers writes it."""
    network(kind, **changes).save_pretrained(folder)
    write_tokenizer(folder, chat)
    return folder


def questions(*texts: str, instruction: str = "") -> list[Question]:
    return [Question.of(text, instruction) for text in texts]
