"""Train a small language model from nothing, on real training questions and variations of them.

    python examples/real_run/school.py --data DATA --out build/real/local --size small
    python examples/real_run/school.py --data DATA --out build/real/cloud --size large --banking

DATA holds the folders gsm8k, mbpp and banking77 in their public forms. The result is an ordinary
checkpoint folder with a tokenizer and a chat template. --resume continues a run that was cut off.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import lessons
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional as F

from understudy.files import write_folder
from understudy.models.checkpoint import load_decoder, save_decoder
from understudy.models.decoder import Decoder, Shape
from understudy.types import Problem

PAD, END, ASK, USER, MODEL = "<pad>", "<eos>", "<ask>", "<user>", "<model>"
# So small a model knows each task by its look. Give it no instruction: `instruction: ""` of the
# data sets, and `request: ""`, or both come first in the user's part.
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'user' %}<user>{{ message.content }}"
    "{% elif message.role == 'assistant' %}<model>{{ message.content }}<eos>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<model>{% endif %}"
)
SIZES = {"small": (128, 3, 344), "large": (192, 6, 512)}  # hidden, layers, inner
LENGTH = 256
ASK_SHARE = 0.1  # lessons that end in a request instead: how to ask is learnt here, not yet when
EVERY = 25


def build_tokenizer(texts: list[str], folder: Path) -> Tokenizer:
    """Byte-level BPE; a digit is a token, so that numbers are read as they are written."""
    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, bytes_])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2048,
        special_tokens=[PAD, END, ASK, USER, MODEL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": PAD,
        "eos_token": END,
        "extra_special_tokens": {"ask_token": ASK},
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return tokenizer


def fresh(tokenizer: Tokenizer, size: str) -> Decoder:
    hidden, layers, inner = SIZES[size]
    shape = Shape(
        model_type="qwen2" if size == "small" else "llama",
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 64,
        head_dim=32,
        rms_norm_eps=1e-6,
        rope_theta=10000.0,
        tie_word_embeddings=True,
        max_position_embeddings=1024,
    )
    model = Decoder(shape)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.03)
    return model


class School:
    """An endless stream of lessons, and of batches packed from them; a step has its own luck."""

    def __init__(self, sets: dict[str, list[Problem]], tokenizer: Tokenizer, banking: bool) -> None:
        self.tokenizer = tokenizer
        self.problems = [(q.prompt, str(q.columns["answer"])) for q in sets["gsm8k"]]
        self.code = [(q.prompt, q.worked) for q in sets["mbpp"]]
        self.banking = [(q.prompt, q.worked) for q in sets["banking77"]] if banking else []

    def lesson(self, rng: random.Random) -> lessons.Lesson:
        luck = rng.random()
        if luck < 0.1:
            return rng.choice(self.code)
        if luck < 0.3 and self.banking:
            return rng.choice(self.banking)
        question, answer = rng.choice(self.problems)
        if luck < 0.85 and (other := lessons.varied(question, answer, rng)):
            return other
        return question, lessons.plain(answer)

    def text(self, rng: random.Random) -> str:
        prompt, answer = self.lesson(rng)
        if rng.random() < ASK_SHARE:
            lines = answer.split("\n")
            kept = "".join(line + "\n" for line in lines[: rng.randrange(len(lines))])
            return f"{USER}{prompt}{MODEL}{kept}{ASK}"
        return f"{USER}{prompt}{MODEL}{answer}{END}"

    def batch(self, step: int, rows: int) -> torch.Tensor:
        rng = random.Random(f"lesson {step}")
        ids: list[int] = []
        while len(ids) < rows * (LENGTH + 1):
            ids += self.tokenizer.encode(self.text(rng), add_special_tokens=False).ids
        return torch.tensor(ids[: rows * (LENGTH + 1)]).view(rows, LENGTH + 1)


def rates(steps: int, peak: float, anneal: bool) -> Iterator[float]:
    """Warm-up, then constant; annealed to nothing over the last third where that is asked for."""
    for step in range(steps):
        left = (steps - step) / (steps / 3) if anneal else 1.0
        yield peak * min(1.0, (step + 1) / 100, left)


def train(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    made = args.out / "tokenizer"
    sets = {name: lessons.read(args.data, name) for name in ("gsm8k", "mbpp", "banking77")}
    asked = [*sets["gsm8k"], *sets["mbpp"] * 8, *sets["banking77"]]  # there is little code
    texts = [f"{problem.prompt}\n{problem.worked}" for problem in asked]
    tokenizer = build_tokenizer(texts, made)  # both models read the same tokens
    school = School(sets, tokenizer, args.banking)
    state, done = args.out / "state", 0
    model = load_decoder(state) if args.resume else fresh(tokenizer, args.size)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1.0, betas=(0.9, 0.95), weight_decay=0.1)
    if args.resume:
        saved = torch.load(state / "training.pt")
        optimiser.load_state_dict(saved["optimiser"])
        done = saved["step"]
    size, started, losses = sum(p.numel() for p in model.parameters()), time.monotonic(), []
    for step, rate in enumerate(rates(args.steps, args.learning_rate, args.anneal)):
        if step < done:
            continue
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = school.batch(step, args.rows)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(batch[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        if (step + 1) % EVERY == 0 or step + 1 == args.steps:
            line = {"step": step + 1, "loss": sum(losses) / len(losses), "parameters": size}
            line |= {"tokens": (step + 1) * args.rows * LENGTH}
            print(json.dumps(line | {"seconds": time.monotonic() - started}), flush=True)
            losses = []
            training = {"optimiser": optimiser.state_dict(), "step": step + 1}

            def fill(folder: Path, training: dict[str, object] = training) -> None:
                save_decoder(model, folder, made)
                torch.save(training, folder / "training.pt")

            write_folder(state, fill)
    save_decoder(model, args.out, made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--banking", action="store_true", help="also show banking77's questions")
    parser.add_argument(
        "--anneal", action="store_true", help="let the learning rate fall at the end"
    )
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--rows", type=int, default=4, help=f"rows of {LENGTH} tokens in a step")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
