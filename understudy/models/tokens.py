"""Text to token ids and back, through the checkpoint's own tokenizer.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from understudy.errors import CheckpointError

PAD, END, ASK = "<pad>", "<eos>", "<ask>"
PROMPT_END = "\n"  # the whole prompt format of the tiny model: a question, then a line break
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789 +-*%/=,.:;?#><[]()" + PROMPT_END


class Tokens:
    """A checkpoint's tokenizer and the ids that the loop needs by name."""

    def __init__(self, folder: Path) -> None:
        path = folder / "tokenizer.json"
        try:
            self.tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise CheckpointError(f"{path}: cannot be read ({error})") from error
        self.pad, self.end, self.ask = (self._id(path, token) for token in (PAD, END, ASK))

    def _id(self, path: Path, token: str) -> int:
        number = self.tokenizer.token_to_id(token)
        if number is None:
            raise CheckpointError(f"{path}: has no {token} token; add it to the tokenizer")
        return int(number)

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def unknown(self, character: str) -> bool:
        """Whether a character has no token: it would be read as padding."""
        return self.encode(character) == [self.pad]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, the request for help shown, padding and end left out."""
        shown = [i for i in ids if i not in (self.pad, self.end)]
        return str(self.tokenizer.decode(shown, skip_special_tokens=False))

    def encode_prompts(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Left-padded ids and mask, each (prompts, positions)."""
        rows = [self.encode(prompt + PROMPT_END) for prompt in prompts]
        width = max(len(row) for row in rows)
        ids = torch.full((len(rows), width), self.pad)
        mask = torch.zeros(len(rows), width, dtype=torch.bool)
        for i, row in enumerate(rows):
            ids[i, width - len(row) :] = torch.tensor(row)
            mask[i, width - len(row) :] = True
        return ids, mask

    def encode_completions(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Right-padded ids and mask of completions, each (completions, positions).

        Characters unknown to the vocabulary (they encode as padding) are left out.
        """
        kept = ([i for i in self.encode(text) if i != self.pad] for text in texts)
        rows = [torch.tensor(row, dtype=torch.long) for row in kept]
        pad_rows = torch.nn.utils.rnn.pad_sequence
        ids = pad_rows(rows, batch_first=True, padding_value=self.pad)
        return ids, ids != self.pad


def build_tokenizer(words: Sequence[str]) -> Tokenizer:
    """A tokenizer of single characters and of whole words that stand alone."""
    special = [PAD, END, ASK]
    vocabulary = [*special, *_CHARACTERS, *sorted(set(words), key=lambda w: (-len(w), w))]
    tokenizer = Tokenizer(
        models.WordLevel({token: i for i, token in enumerate(vocabulary)}, unk_token=PAD)
    )
    tokenizer.add_special_tokens(special)
    longest_first = sorted(set(words), key=lambda word: (-len(word), word))
    pattern = "|".join(_escaped(word) for word in longest_first)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(rf"{pattern}|[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _escaped(word: str) -> str:
    return "".join(c if c.isalnum() or c == " " else "\\" + c for c in word)
