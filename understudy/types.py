"""The plain frozen records that cross the seams between rooms. Imports nothing of ours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Protocol, runtime_checkable

# Which instances an agent asks others about.
QueryScore = Literal["cross_entropy", "least_confidence", "margin", "entropy"]


@dataclass(frozen=True, slots=True)
class Turn:
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

    messages: tuple[Turn, ...]
    options: Options = Options()

    @classmethod
    def of(cls, prompt: str, instruction: str = "") -> Question:
        system = (Turn("system", instruction),) if instruction else ()
        return cls((*system, Turn("user", prompt)))

    @property
    def prompt(self) -> str:
        """The text of the last turn."""
        return self.messages[-1].content

    @property
    def chat(self) -> list[dict[str, str]]:
        """The conversation in the form that chat models and endpoints read."""
        return [{"role": each.role, "content": each.content} for each in self.messages]

    def to_json(self) -> dict[str, Any]:
        """The question in a file; options that are not given are left out."""
        given = {
            each.name: getattr(self.options, each.name)
            for each in fields(Options)
            if getattr(self.options, each.name) != each.default
        }
        return {"messages": self.chat} | ({"options": given} if given else {})

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Question:
        options = dict(record.get("options", {}))
        stop = tuple(options.pop("stop", ()))
        messages = tuple(Turn(**each) for each in record["messages"])
        return cls(messages, Options(**options, stop=stop))

    @property
    def digest(self) -> str:
        """Equal questions have equal digests, in every process and on every machine."""
        content = json.dumps(self.to_json(), sort_keys=True).encode()
        return hashlib.blake2b(content, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Example:
    """A question with an answer to learn."""

    question: Question
    answer: str


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
        return Cost(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.floats + other.floats,
            self.bytes + other.bytes,
            self.dollars + other.dollars,
            self.seconds + other.seconds,
            self.joules + other.joules,
        )


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
    history: tuple[Turn, ...] = ()  # earlier turns of the conversation
    stop: tuple[str, ...] = ()  # strings that end the local model's answer
    examples: tuple[Turn, ...] = ()  # worked ones that the local model is shown first

    @property
    def local_question(self) -> Question:
        """The question as the local model is asked it: after its examples, with what ends its
        answer."""
        return self._after(self.examples, Options(stop=self.stop))

    @property
    def question(self) -> Question:
        """What may cross a link."""
        return self._after((), Options())

    def _after(self, examples: tuple[Turn, ...], options: Options) -> Question:
        system = (Turn("system", self.instruction),) if self.instruction else ()
        turns = (*system, *examples, *self.history, Turn("user", self.prompt))
        return Question(turns, options)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The problem as a conversation, in the form that chat models and endpoints read."""
        return self.question.chat


# Which problem a question was made of; None: of none that is known.
AnswerKey = Callable[[Question], Problem | None]


@dataclass(frozen=True, slots=True)
class Request:
    """A question on its way over the link to a cloud."""

    question: Question
    attempt: int = 0  # how many calls for this question failed before


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back over the link. A failed call is an outcome with an error, not an exception."""

    text: str | None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    seconds: float = 0.0
    error: str | None = None
    cloud: str = ""  # which of several clouds it came from
    tried: tuple[Reply, ...] = ()  # failed replies of the clouds that were asked before
    called: bool = True  # false: failed here, so that nothing crossed the link
    retries: int = 0  # of the call, before it ended
    may_cost: float | None = None  # dollars at most, of a call that broke off: nobody says how many

    @property
    def cost(self) -> Cost:
        """Of this call and of those that were tried before."""
        own = Cost(
            calls=int(self.called),
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            dollars=self.dollars,
            seconds=self.seconds,
        )
        return sum((each.cost for each in self.tried), own)

    @property
    def most(self) -> Cost:
        """The cost, with what calls that broke off may have cost."""
        doubts = sum(each.may_cost or 0.0 for each in (self, *self.tried))
        return self.cost + Cost(dollars=doubts)

    def to_json(self) -> dict[str, Any]:
        """The reply in a file; what says nothing about the cloud is left out."""
        tried = [each.to_json() for each in self.tried]
        record = asdict(replace(self, tried=())) | {"tried": tried}
        return {
            name: each
            for name, each in record.items()
            if name not in _LEFT_OUT or each != _LEFT_OUT[name]
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Reply:
        tried = tuple(map(cls.from_json, record.get("tried", ())))
        return cls(**{**record, "tried": tried})


# Values that say nothing, by name.
_LEFT_OUT = {"cloud": "", "tried": [], "called": True, "retries": 0, "may_cost": None}


class Cloud(Protocol):
    """Who helps. The one seam between our loops and every large model.

    A cloud may also have

        address: str                                    where it is, for messages to a person
        estimate(question) -> Cost                      what an answer costs at most
        stream(request) -> AsyncIterator[str | Reply]   pieces of the answer, then the whole reply
    """

    async def answer(self, request: Request) -> Reply: ...


@runtime_checkable
class StreamingCloud(Cloud, Protocol):
    """A cloud that gives its answer piece by piece; the last item is the whole reply."""

    def stream(self, request: Request) -> AsyncIterator[str | Reply]: ...
