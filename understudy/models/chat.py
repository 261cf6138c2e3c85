"""A checkpoint's own chat template, rendered by transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.errors import CheckpointError
from understudy.types import Turn

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
    """Renders a conversation as the template of its checkpoint wants it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tokenizer = folder, load_tokenizer(folder)

    def prompt(self, turns: Sequence[Turn], system: str) -> str:
        """The conversation up to where the model answers.

        turns: the messages of user and assistant. A template without a system message (it raises,
        or leaves the message out) gets its text at the beginning of the first turn.
        """
        return self._written(turns, system)[1]

    def messages(self, turns: Sequence[Turn], system: str) -> list[Turn]:
        """The messages that `prompt` renders: the system message first, or in the first turn."""
        return self._written(turns, system)[0]

    def _written(self, turns: Sequence[Turn], system: str) -> tuple[list[Turn], str]:
        if not system:
            return list(turns), self._rendered(turns)
        whole = [Turn("system", system), *turns]
        try:
            shown = self._rendered(whole)
        except CheckpointError:
            shown = ""
        if system.strip() in shown:
            return whole, shown
        merged = [Turn(turns[0].role, f"{system}\n\n{turns[0].content}"), *turns[1:]]
        return merged, self._rendered(merged)

    @property
    def knows_tools(self) -> bool:
        """Whether the template shows the tools that a model may call."""
        return "tools" in str(self.tokenizer.chat_template)

    def conversation(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        open_turn: bool = True,
    ) -> str:
        """Messages with calls of tools and their results, as the template writes them."""
        try:
            shown = self.tokenizer.apply_chat_template(
                [*messages],
                tools=list(tools) or None,
                tokenize=False,
                add_generation_prompt=open_turn,
            )
        except Exception as error:  # a template raises what it likes
            raise CheckpointError(
                f"{self.folder}: its chat template cannot be rendered ({error})"
            ) from error
        return str(shown)

    @property
    def takes_system(self) -> bool:
        """Whether the template writes a system message as one."""
        try:
            return _PROBE in self._rendered([Turn("system", _PROBE), Turn("user", "?")])
        except CheckpointError:
            return False

    def after_answer(self) -> str:
        """What the template writes after an answer: the token that ends a turn comes first."""
        answered = [Turn("user", "?"), Turn("assistant", _PROBE)]
        return self._rendered(answered, open_turn=False).rpartition(_PROBE)[2]

    def _rendered(self, messages: Sequence[Turn], open_turn: bool = True) -> str:
        plain = [{"role": each.role, "content": each.content} for each in messages]
        return self.conversation(plain, (), open_turn)


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
