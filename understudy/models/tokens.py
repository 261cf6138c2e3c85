"""Text to token ids and back, through the checkpoint's own tokenizer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from understudy.errors import CheckpointError
from understudy.models.chat import Chat, has_template, load_tokenizer
from understudy.types import Question, Turn

PAD, END, ASK = "<pad>", "<eos>", "<ask>"  # of the tiny model; every model asks by <ask>
PROMPT_END = "\n"  # the whole prompt format without a chat template: a question, a line break
REQUEST = "<unknown> I need external assistance </unknown>"
HOW_TO_ASK = "If you cannot solve it, write exactly this instead of an answer: {request}"
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789 +-*%/=,.:;?#><[]()" + PROMPT_END
_PART = "\ufffd"  # shown for the bytes of a part of a character
_PLACE = "\ue000"  # of a message in a rendered chat; a character for private use
FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)


class Tokens:
    """A checkpoint's tokenizer, and the ids that the loop needs by name.

    end closes a written completion; any of ends closes a drawn one. ask is the request for help,
    added to a tokenizer that lacks it; request says the same in words, for a model whose prompt
    asks for them.
    """

    def __init__(self, folder: Path, request: str = REQUEST) -> None:
        self.folder, self.request = folder, request
        self.tokenizer = _tokenizer(folder)
        self.chat = Chat(folder) if has_template(folder) else None
        self.added = self.tokenizer.token_to_id(ASK) is None
        if self.added:
            self.tokenizer.add_special_tokens([AddedToken(ASK, special=True, normalized=False)])
        ask = self.tokenizer.token_to_id(ASK)
        assert ask is not None
        self.ask: int = ask
        self.ends, self.pad = self._named()
        self.end = self.ends[0]
        self._holding: dict[tuple[frozenset[str], int], Tensor] = {}

    def _named(self) -> tuple[tuple[int, ...], int]:
        """The ids that end a completion, the one we write first, and that of padding."""
        named = _read(self.folder / "special_tokens_map.json")
        named |= _read(self.folder / "tokenizer_config.json")
        configs = [_read(self.folder / f"{name}.json") for name in ("generation_config", "config")]
        ends = [self._turn_end(), self._id(named.get("eos_token"))]
        for config in configs:
            found = config.get("eos_token_id")
            ends += found if isinstance(found, list) else [found]
        known = tuple(dict.fromkeys(int(end) for end in ends if end is not None))
        if not known:
            raise CheckpointError(
                f"{self.folder}: names no token that ends a text; "
                "give eos_token in tokenizer_config.json"
            )
        pads = [self._id(named.get("pad_token"))]
        pads += [config.get("pad_token_id") for config in configs]
        return known, next((int(pad) for pad in pads if pad is not None), known[0])

    def _turn_end(self) -> int | None:
        """The special token, if any, with which the chat template ends an answer."""
        after = self.chat.after_answer().lstrip() if self.chat else ""
        first = self.tokenizer.encode(after, add_special_tokens=False).ids[:1]
        return first[0] if first and first[0] in self._special else None

    def _id(self, token: Any) -> int | None:
        """The id of a token as a configuration names it: its text, or a record with it."""
        text = token.get("content") if isinstance(token, dict) else token
        return self.tokenizer.token_to_id(text) if isinstance(text, str) else None

    @cached_property
    def _special(self) -> dict[int, str]:
        known = self.tokenizer.get_added_tokens_decoder()
        return {number: token.content for number, token in known.items() if token.special}

    @cached_property
    def _unknown(self) -> int | None:
        token = getattr(self.tokenizer.model, "unk_token", None)
        return None if token is None else self.tokenizer.token_to_id(token)

    @cached_property
    def writes_request(self) -> bool:
        """Whether this vocabulary can write the request in words; the tiny model's cannot."""
        return self.decode(self.encode_plain(self.request)).strip() == self.request.strip()

    def encode(self, text: str) -> list[int]:
        """Ids of a text; a special token in it is that token."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_plain(self, text: str, begun: bool = False) -> list[int]:
        """Ids of a text of others: a special token in it is encoded as plain text.

        begun: with the tokens that the tokenizer puts around a text.
        """
        self.tokenizer.encode_special_tokens = True
        try:
            return list(self.tokenizer.encode(text, add_special_tokens=begun).ids)
        finally:
            self.tokenizer.encode_special_tokens = False

    def controls(self, text: str) -> list[str]:
        """The special tokens in a text: a text of others should have none."""
        return [token for token in self._special.values() if token in text]

    def unknown(self, character: str) -> bool:
        """Whether a character has no token."""
        return self.encode(character) == [self._unknown]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, the request for help shown, padding and ends left out."""
        shown = [i for i in ids if i != self.pad and i not in self.ends]
        return str(self.tokenizer.decode(shown, skip_special_tokens=False))

    def holding_any(self, characters: frozenset[str], vocabulary: int) -> Tensor:
        """(vocabulary,) the tokens whose text holds one of some characters, or a part of one."""
        known = self._holding.get((characters, vocabulary))
        if known is None:
            ids = range(vocabulary)
            texts = self.tokenizer.decode_batch([[i] for i in ids], skip_special_tokens=False)
            # A blank at the beginning may be lost where a token is decoded alone.
            bare = [(self.tokenizer.id_to_token(i) or "").replace("\u2581", " ") for i in ids]
            wanted = {*characters, _PART}
            pairs = zip(texts, bare, strict=True)
            known = torch.tensor([not wanted.isdisjoint(text + own) for text, own in pairs])
            self._holding[characters, vocabulary] = known
        return known

    def encode_questions(self, questions: Sequence[Question]) -> tuple[Tensor, Tensor]:
        """Left-padded ids and mask, each (questions, positions).

        With a chat template: the conversation as it writes one, with how to ask for help at the
        end of the system message. Without one: the messages and a line break after each. Special
        tokens in the messages of users and assistants are encoded as plain text, so that no
        message can end its own turn.
        """
        rows = [self._question(question) for question in questions]
        width = max(len(row) for row in rows)
        ids = torch.full((len(rows), width), self.pad)
        mask = torch.zeros(len(rows), width, dtype=torch.bool)
        for i, row in enumerate(rows):
            ids[i, width - len(row) :] = torch.tensor(row)
            mask[i, width - len(row) :] = True
        return ids, mask

    def _question(self, question: Question) -> list[int]:
        if self.chat:
            return self._conversation(self.chat, question.messages)
        contents = (message.content for message in question.messages)
        ids = self.encode_plain("\n".join(filter(None, contents)) + PROMPT_END, begun=True)
        while ids and ids[-1] in self.ends:  # some tokenizers end what is yet to be continued
            ids.pop()
        return ids

    def system_message(self, messages: Sequence[Turn]) -> str:
        """What a chat model reads before the conversation: those of it, and how to ask for help."""
        parts = [message.content for message in messages if message.role == "system"]
        if self.request:
            parts.append(HOW_TO_ASK.format(request=self.request))
        return "\n".join(filter(None, parts))

    def _conversation(self, chat: Chat, messages: Sequence[Turn]) -> list[int]:
        system = self.system_message(messages)
        turns = [message for message in messages if message.role != "system"]
        if not any(self.controls(turn.content) for turn in turns):
            return self.encode(chat.prompt(turns, system))  # it begins the text itself
        marked = chat.prompt([Turn(turn.role, _PLACE) for turn in turns], system).split(_PLACE)
        if len(marked) != len(turns) + 1:
            raise CheckpointError(
                f"{self.folder}: its chat template shows {len(marked) - 1} of {len(turns)} "
                "messages, so special tokens in them cannot be told apart from its own; leave "
                "these tokens out"
            )
        ids = self.encode(marked[0])
        for turn, after in zip(turns, marked[1:], strict=True):
            ids += [*self.encode_plain(turn.content), *self.encode(after)]
        return ids

    def encode_completions(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Right-padded ids and mask of completions, each (completions, positions).

        Characters unknown to the vocabulary are left out.
        """
        return self._padded([self.encode(text) for text in texts])

    def encode_written(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """As `encode_completions`, of texts of others, each closed by the end."""
        return self._padded([[*self.encode_plain(text), self.end] for text in texts])

    def _padded(self, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
        kept = [[i for i in row if i != self._unknown] for row in rows]
        tensors = [torch.tensor(row, dtype=torch.long) for row in kept]
        pad_rows = torch.nn.utils.rnn.pad_sequence
        ids = pad_rows(tensors, batch_first=True, padding_value=self.pad)
        lengths = torch.tensor([len(row) for row in kept])
        return ids, torch.arange(ids.shape[1]) < lengths[:, None]

    def save(self, folder: Path, source: Path) -> None:
        """Write every file of the tokenizer, the request for help among its tokens.

        source: a folder with the same tokenizer, which may be another than it was read from.
        """
        folder.mkdir(parents=True, exist_ok=True)
        copy_files(source, folder)
        if not self.added and (folder / "tokenizer.json").is_file():
            return
        self.tokenizer.save(str(folder / "tokenizer.json"))
        path = folder / "tokenizer_config.json"
        config = _read(path)
        if "added_tokens_decoder" in config:  # where it stands, transformers believes it alone
            flags = dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word"), False)
            entry = {"content": ASK, "special": True} | flags
            config["added_tokens_decoder"][str(self.ask)] = entry
            path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")


def copy_files(source: Path, folder: Path) -> None:
    """Copy a tokenizer's files as they are."""
    for name in FILES:
        if (source / name).is_file() and source.resolve() != folder.resolve():
            shutil.copyfile(source / name, folder / name)


def _tokenizer(folder: Path) -> Tokenizer:
    """From tokenizer.json; a checkpoint with older files only is converted by transformers."""
    path = folder / "tokenizer.json"
    older = ("tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")
    if not path.is_file() and any((folder / name).is_file() for name in older):
        tokenizer: Tokenizer = load_tokenizer(folder).backend_tokenizer
    else:
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise CheckpointError(f"{path}: cannot be read ({error})") from error
    # The file may still hold the length that texts were cut or padded to in an earlier training.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; nothing where there is no file."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); copy it again") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: is not a JSON object; copy it again")
    return found


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
