"""The records of shadow mode: what a log says, what the local model said, who was right."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Signal = Literal["margin", "mean_entropy", "mean_logprob"]


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """A question that a cloud answered, as a log has it."""

    id: str  # of the call; "": the log gives none
    place: str  # where it stands, as log.jsonl:17
    body: Mapping[str, Any]  # OpenAI's chat completion, as far as the log has it
    answer: str  # of the first choice
    model: str  # "": the log does not say
    prompt_tokens: int | None = None  # None: the log does not say
    completion_tokens: int | None = None
    cached_tokens: int = 0  # of the prompt's tokens, found in the endpoint's cache
    written_tokens: int = 0  # of the prompt's tokens, put into it
    dollars: float | None = None  # as the log says; None: it does not
    free: bool = False  # answered from a cache
    metadata: Mapping[str, str] = field(default_factory=dict)
    route: str = ""  # a deployment's or a task's name, where the log has one
    not_text: str = ""  # why its answer cannot be compared as a text, as "calls a tool"

    @property
    def messages(self) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = self.body["messages"]
        return found

    @property
    def digest(self) -> str:
        """Of the question: what is asked twice has it twice."""
        asked = [self.body["messages"], self.body.get("tools")]
        content = json.dumps(asked, sort_keys=True, default=str).encode("utf-8", "replace")
        return hashlib.blake2b(content, digest_size=16).hexdigest()

    @property
    def question(self) -> str:
        """The text of the last turn."""
        return text_in(self.messages[-1].get("content"))


@dataclass(slots=True)
class LeftOut:
    """Rows of a log that say nothing: why, how many each, and where the first one stands."""

    reasons: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, place: str) -> None:
        self.reasons[reason] += 1
        self.first.setdefault(reason, place)

    @property
    def total(self) -> int:
        return self.reasons.total()

    def lines(self) -> list[str]:
        return [
            f"{count} {reason} (first: {self.first[reason]})"
            for reason, count in self.reasons.most_common()
        ]


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """What the local model said to a question; `unable`: why it has no answer."""

    text: str = ""
    version: str = ""
    margin: float | None = None
    mean_entropy: float | None = None
    mean_logprob: float | None = None
    seconds: float = 0.0
    unable: str = ""

    def score(self, signal: Signal) -> float:
        """The higher, the sooner it asks; without the signal it always does."""
        value: float | None = getattr(self, signal)
        if value is None or value != value:
            return float("inf")
        return -value if signal == "mean_logprob" else value


@dataclass(frozen=True, slots=True)
class Row:
    """A logged call with what it cost, and who was right."""

    call: LoggedCall
    kind: str
    dollars: float  # what the cloud was paid
    local: LocalAnswer
    local_wrong: bool = False  # as the checker, the cloud's answer or the judge has it
    cloud_wrong: bool = False  # false where the cloud's answer is taken for right


def text_in(content: Any) -> str:
    """The texts of a message's content, whatever else is in it."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, Mapping))
    return "\n".join(part for part in parts if isinstance(part, str))
