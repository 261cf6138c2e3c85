"""The plain frozen records that cross the seams between rooms. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

# Which instances an agent asks others about.
QueryScore = Literal["cross_entropy", "least_confidence", "margin", "entropy"]


@dataclass(frozen=True, slots=True)
class Query:
    """One thing asked of the system. The prompt is its identity."""

    prompt: str
    solution: str  # what the family's checker holds an answer against
    family: str
    level: int  # 1 (easy) to 5 (hard)
    worked: str  # a right completion, with reasoning where the family profits from it
    instruction: str = ""  # what a chat model is told before the prompt, such as the answer's form
    # What reward functions get beside prompt and completion, such as a program's tests.
    columns: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The query as a conversation, in the form that chat models and endpoints read."""
        system = [{"role": "system", "content": self.instruction}] if self.instruction else []
        return [*system, {"role": "user", "content": self.prompt}]


@dataclass(frozen=True, slots=True)
class Request:
    """A query on its way over the link to a cloud."""

    query: Query
    attempt: int = 0  # how many calls for this query failed before


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
