"""A small model with random weights, its tokenizer, and prompts of different lengths."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.models.small import questions
from understudy.models.checkpoint import save_decoder
from understudy.models.decoder import Decoder
from understudy.models.sampling import Prompts, Stops
from understudy.models.tokens import Tokens, build_tokenizer
from understudy.recipes.pretrain_tiny import pupil, write_tokenizer_config
from understudy.tasks import FAMILIES

TEXTS = ["3+4", "next: 2 4 6 8", "tom has 3 pens, gets 4. how many?", "9*9", "reverse bcd"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder as the recipe writes it, its weights random."""
    out = tmp_path_factory.mktemp("tiny")
    words = [word for family in FAMILIES.values() for word in family.words]
    build_tokenizer(words).save(str(out / "tokenizer.json"))
    write_tokenizer_config(out)
    torch.manual_seed(0)
    save_decoder(random_pupil(Tokens(out).tokenizer.get_vocab_size()), out, out)
    return out


def random_pupil(vocab_size: int) -> Decoder:
    """Weights larger than for training: each prompt has a greedy answer of its own."""
    model = pupil(vocab_size, hidden=64, layers=2, inner=96)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5)
            else:
                parameter.mul_(2.0 if "embedding" in name else 8.0)
        model.embedding.weight[1:3] *= 3.0  # ends and requests come often, at every length
    return model


@pytest.fixture(scope="session")
def tokens(folder: Path) -> Tokens:
    return Tokens(folder)


@pytest.fixture(scope="session")
def model(tokens: Tokens) -> Decoder:
    torch.manual_seed(1)
    return random_pupil(tokens.tokenizer.get_vocab_size())


@pytest.fixture(scope="session")
def stops(tokens: Tokens) -> Stops:
    return Stops(tokens.end, tokens.ask)


@pytest.fixture(scope="session")
def prompts(tokens: Tokens) -> Prompts:
    return Prompts(*tokens.encode_questions(questions(*TEXTS)))
