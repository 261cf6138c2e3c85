"""The plain frozen records that cross the seams between rooms. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol

# Which instances an agent asks others about.
QueryScore = Literal["cross_entropy", "least_confidence", "margin", "entropy"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str  # system, user, assistant
    content: str


@dataclass(frozen=True, slots=True)
class Options:
    """How an answer is wanted; None: as whoever answers does by itself."""

    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What crosses a link: a conversation of one turn or several, and how an answer is wanted."""

    messages: tuple[Message, ...]
    options: Options = Options()

    @classmethod
    def of(cls, prompt: str, instruction: str = "") -> Question:
        system = (Message("system", instruction),) if instruction else ()
        return cls((*system, Message("user", prompt)))


@dataclass(frozen=True, slots=True)
class Cost:
    """What crossing a link took. Costs add."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    floats: int = 0
    bytes: int = 0
    dollars: float = 0.0
    seconds: float = 0.0
    joules: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Cost)))


@dataclass(frozen=True, slots=True)
class Problem:
    """A question with its answer key, which stays home."""

    prompt: str
    solution: str  # what the family's checker holds an answer against
    family: str
    level: int  # 1 (easy) to 5 (hard)
    worked: str  # a right completion, with reasoning where the family profits from it
    instruction: str = ""  # what a chat model is told before the prompt, such as the answer's form
    # What reward functions get beside prompt and completion, such as a program's tests.
    columns: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def question(self) -> Question:
        """What may cross a link."""
        return Question.of(self.prompt, self.instruction)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The problem as a conversation, in the form that chat models and endpoints read."""
        system = [{"role": "system", "content": self.instruction}] if self.instruction else []
        return [*system, {"role": "user", "content": self.prompt}]


@dataclass(frozen=True, slots=True)
class Request:
    """A problem on its way over the link to a cloud."""

    problem: Problem
    attempt: int = 0  # how many calls for this problem failed before


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back over the link. A failed call is an outcome with an error, not an exception."""

    text: str | None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    seconds: float = 0.0
    error: str | None = None


class Cloud(Protocol):
    """Who helps. The one seam between our loops and every large model."""

    async def answer(self, request: Request) -> Reply: ...
