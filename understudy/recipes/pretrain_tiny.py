"""Train the tiny model that ships in the package, from generated tasks, from nothing.

    python -m understudy.recipes.pretrain_tiny --out build/tiny

Supervised on worked answers, the training split only. Some answers are replaced by a request
for help, whatever the question: the model learns how to ask, not yet when.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.models.checkpoint import save_decoder
from understudy.models.decoder import Decoder, Shape
from understudy.models.tokens import ASK, END, PAD, Tokens, build_tokenizer
from understudy.tasks import ANSWER_MARK, FAMILIES, LEVELS, draw_problem
from understudy.types import Problem

# Easy levels more often than hard ones: a partial pupil, good at easy work.
LEVEL_WEIGHTS = {1: 0.26, 2: 0.24, 3: 0.21, 4: 0.17, 5: 0.12}
# What is learnt slowly is shown more often, what is learnt at once less.
FAMILY_WEIGHTS = dict.fromkeys(FAMILIES, 1.0) | {"facts": 2.5, "strings": 0.5, "calendar": 1.3}
# The creatures of the last level are never shown: what only later training can teach.
UNSEEN = {("facts", 5)}
ASK_SHARE = 0.2


def pupil(vocab_size: int, hidden: int, layers: int, inner: int) -> Decoder:
    """A Llama-type decoder with small initial weights."""
    shape = Shape(
        model_type="llama",
        vocab_size=vocab_size,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        head_dim=32,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        tie_word_embeddings=True,
        max_position_embeddings=256,
    )
    model = Decoder(shape)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.04)
    return model


def lesson(rng: random.Random) -> Problem:
    """One training question of a random family and level."""
    family = FAMILIES[rng.choices(tuple(FAMILY_WEIGHTS), tuple(FAMILY_WEIGHTS.values()))[0]]
    levels = [level for level in LEVELS if (family.name, level) not in UNSEEN]
    level = rng.choices(levels, [LEVEL_WEIGHTS[level] for level in levels])[0]
    return draw_problem(family, level, "train", rng)


def completion(problem: Problem, rng: random.Random) -> str:
    """The worked answer, or its reasoning followed by a request for help."""
    if rng.random() < ASK_SHARE:
        return problem.worked.partition(ANSWER_MARK)[0] + ASK
    return problem.worked + END


def loss_of(model: Decoder, tokens: Tokens, batch: list[Problem], rng: random.Random) -> Tensor:
    """Mean cross-entropy of the completions' tokens."""
    prompts, mask = tokens.encode_questions([problem.question for problem in batch])
    wanted, real = tokens.encode_completions([completion(problem, rng) for problem in batch])
    prefix = model.encode(prompts[:, :-1], mask[:, :-1])
    given = torch.cat((prompts[:, -1:], wanted[:, :-1]), dim=1)
    hidden = model.continue_(given, prefix, mask[:, :-1])[real]
    return F.cross_entropy(model.head(hidden).float(), wanted[real])


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng = random.Random(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    build_tokenizer([word for family in FAMILIES.values() for word in family.words]).save(
        str(args.out / "tokenizer.json")
    )
    write_tokenizer_config(args.out)
    tokens = Tokens(args.out)
    model = pupil(tokens.tokenizer.get_vocab_size(), args.hidden, args.layers, args.inner)
    size = sum(parameter.numel() for parameter in model.parameters())
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, weight_decay=0.01)
    started, running = time.monotonic(), 0.0
    for step in range(args.steps):
        # Constant after the warm-up: stopped in full stride, the pupil has room to learn more.
        for group in optimiser.param_groups:
            group["lr"] = args.learning_rate * min(1.0, (step + 1) / 100)
        batch = sorted((lesson(rng) for _ in range(args.batch)), key=lambda q: len(q.prompt))
        optimiser.zero_grad()
        for part in (batch[: args.batch // 2], batch[args.batch // 2 :]):  # less padding
            with torch.autocast("cpu", torch.bfloat16):
                loss = loss_of(model, tokens, part, rng) / 2
            loss.backward()
            running += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % 200 == 0:
            seconds = time.monotonic() - started
            line = f"step {step + 1}/{args.steps} loss {running / 200:.4f} {seconds:.0f}s"
            print(f"{line} {size} parameters", flush=True)
            running = 0.0
            save_decoder(model, args.out, args.out)
    save_decoder(model, args.out, args.out)


def write_tokenizer_config(folder: Path) -> None:
    """What AutoTokenizer needs to give the same ids as tokenizer.json does."""
    config: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": PAD,
        "eos_token": END,
    }
    config |= {"extra_special_tokens": {"ask_token": ASK}, "clean_up_tokenization_spaces": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1_800)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--hidden", type=int, default=96)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--inner", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
