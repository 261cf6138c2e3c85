"""A checkpoint's own chat template, rendered by transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from understudy.errors import CheckpointError

_PROBE = "0123456789"  # stands for an answer while looking for what ends one


def has_template(folder: Path) -> bool:
    """Whether a checkpoint says how a conversation is written; nothing is imported to know."""
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and bool(config.get("chat_template"))


class Chat:
    """Renders one question as the template of its checkpoint wants it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tokenizer = folder, load_tokenizer(folder)

    def prompt(self, text: str, instruction: str) -> str:
        """The conversation up to where the model answers.

        A template without a system's part (it raises, or leaves it out) gets the instruction as
        the beginning of the user's.
        """
        user = {"role": "user", "content": text}
        if not instruction:
            return self._rendered([user])
        try:
            shown = self._rendered([{"role": "system", "content": instruction}, user])
        except CheckpointError:
            shown = ""
        if instruction.strip() in shown:
            return shown
        return self._rendered([{"role": "user", "content": f"{instruction}\n\n{text}"}])

    def after_answer(self) -> str:
        """What the template writes after an answer: the token that ends a turn comes first."""
        answered = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _PROBE}]
        return self._rendered(answered, open_turn=False).rpartition(_PROBE)[2]

    def _rendered(self, messages: list[dict[str, str]], open_turn: bool = True) -> str:
        try:
            shown = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=open_turn
            )
        except Exception as error:  # a template raises what it likes
            raise CheckpointError(
                f"{self.folder}: its chat template cannot be rendered ({error})"
            ) from error
        return str(shown)


def load_tokenizer(folder: Path) -> Any:
    """transformers' tokenizer of a checkpoint."""
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise CheckpointError(
            f"{folder}: its tokenizer needs transformers; pip install 'understudy[models]'"
        ) from error
    try:
        return AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # tokenizers raises bare Exception
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{folder}: its tokenizer cannot be read ({reason})") from error
