"""Questions to a bank, told apart by a frozen language model with small learnt parts.

The model's blocks stay as they are and belong to everybody. Behind each stands a mixture of small
bottlenecks ("adapters"): these are learnt, and these alone cross the edges.

    data: examples/sharing/texts.py:questions       net: examples/sharing/texts.py:language_model
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from understudy.errors import ConfigError
from understudy.models.checkpoint import load_decoder, resolve
from understudy.models.decoder import attention_mask
from understudy.models.tokens import Tokens
from understudy.share.nets.own import OwnNet

OPENINGS = ("", "hi, ", "please help: ", "hello there, ", "sorry, ", "quick question: ")
ENDINGS = ("", " today", " this week", " again", " from abroad", " with the app", " thanks")
INTENTS = {
    "card arrival": ("where is my new card", "my card has not come", "track my card's delivery"),
    "lost card": ("i lost my card", "my card was stolen", "i cannot find my card"),
    "forgotten code": ("i forgot my pin", "my pin is blocked", "how do i get a new pin"),
    "exchange rate": ("the exchange rate is wrong", "what rate do you use", "rate for dollars"),
    "top up": ("my top-up failed", "how do i add money", "top up by bank transfer"),
    "refund": ("i want my money back", "my refund is missing", "please undo a purchase"),
    "transfer": ("my transfer is pending", "the transfer was declined", "cancel a transfer"),
    "cash": ("the machine kept my cash", "i got the wrong amount of cash", "fee for cash"),
    "fees": ("why was i charged a fee", "there is an extra charge", "what does a transfer cost"),
    "identity": ("how do i verify my identity", "my passport is refused", "why verify who i am"),
    "close account": ("close my account", "i want to leave you", "delete my profile"),
    "new device": ("i have a new phone", "move the app to my new phone", "my phone was replaced"),
}


def questions(
    path: str = "", model: str = "tiny", longest: int = 40, per_intent: int = 60, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """(tokens, labels): (n, longest) padded at the right, and numbers of intents.

    path: your own, a .csv file with columns text and category (as banking77 has), or a .json file
    with a list of such objects; else they are made from the templates above.
    """
    rows = _read(Path(path)) if path else _made(per_intent, seed)
    tokens = Tokens(resolve(model))
    known = {c for c in set("".join(text for text, _ in rows)) if not tokens.unknown(c)}
    ids = [
        torch.tensor(tokens.encode_plain("".join(c for c in text if c in known))[:longest])
        for text, _ in rows
    ]
    ids.append(torch.full((longest,), tokens.pad))  # so that all are as long
    names = sorted({intent for _, intent in rows})
    labels = torch.tensor([names.index(intent) for _, intent in rows])
    padded = pad_sequence([each.long() for each in ids], batch_first=True, padding_value=tokens.pad)
    return padded[:-1], labels


def _made(per_intent: int, seed: int) -> list[tuple[str, str]]:
    random = np.random.default_rng(seed)
    rows = []
    for intent, phrases in INTENTS.items():
        every = [f"{o}{phrase}{e}" for o in OPENINGS for phrase in phrases for e in ENDINGS]
        if per_intent > len(every):
            raise ConfigError(f"per_intent={per_intent}: there are {len(every)}; ask for fewer")
        rows += [(every[i], intent) for i in random.permutation(len(every))[:per_intent]]
    return rows


def _read(path: Path) -> list[tuple[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = json.load(file) if path.suffix == ".json" else list(csv.DictReader(file))
        return [(str(row["text"]).lower(), str(row["category"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"path={path}: cannot be read ({type(error).__name__}: {error}); give a .csv or .json "
            "file whose rows have text and category"
        ) from error


def language_model(model: str = "tiny", bottleneck: int = 16) -> OwnNet:
    """model: 'tiny', a transformers checkpoint's folder (Llama, Qwen2), or a hub id."""
    return LanguageModel(model, bottleneck)


class LanguageModel(OwnNet):
    """A decoder whose blocks are frozen. A padded position is a row of zeros, and stays one: no
    part of an adapter adds to zero."""

    def __init__(self, model: str, bottleneck: int) -> None:
        folder = resolve(model)
        self.decoder = load_decoder(folder).requires_grad_(False)
        self.pad = Tokens(folder).pad
        self.bottleneck = bottleneck
        self.layers = len(self.decoder.blocks)

    def module(self) -> nn.Module:
        hidden = self.decoder.shape.hidden_size
        up = nn.Linear(self.bottleneck, hidden, bias=False)
        nn.init.zeros_(up.weight)  # the model begins as it is
        down = nn.Linear(hidden, self.bottleneck, bias=False)
        return nn.Sequential(nn.RMSNorm(hidden), down, nn.GELU(), up)

    def entrance(self, x: Tensor) -> Tensor:
        """The first block's output: nothing that is learnt comes before it."""
        there = (x != self.pad)[..., None]
        return self._block(0, self.decoder.embedding(x) * there)

    def before(self, layer: int, h: Tensor) -> tuple[Tensor | float, Tensor]:
        """A layer is a block, and the adapters that change what it gives."""
        if layer > 0:
            h = self._block(layer, h)
        return h, h

    def _block(self, number: int, h: Tensor) -> Tensor:
        count = h.shape[1]
        there = (h != 0).any(dim=2)
        causal = torch.ones(count, count, dtype=torch.bool).tril()
        # A padded position attends to itself: an empty row would be NaN.
        visible = causal & there[:, None, :] | torch.eye(count, dtype=torch.bool)
        mask = attention_mask(visible[:, None], h.dtype)
        h = self.decoder.blocks[number](h, self.decoder.rotation(0, count), mask)
        return h * there[..., None]

    def features(self, h: Tensor) -> Tensor:
        """The greatest over a question's tokens; large, so that decoders learn in few steps."""
        padded = ~(h != 0).any(dim=2, keepdim=True)
        states: Tensor = self.decoder.norm(h)
        return 4 * states.masked_fill(padded, -torch.inf).amax(dim=1).nan_to_num(neginf=0.0)
