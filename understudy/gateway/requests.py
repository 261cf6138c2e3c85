"""The records that cross between the door, which speaks HTTP, and the core, which answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

# undecided: in the head of a stream that shows the local draft as reasoning before it is known
# whether it stands; a chunk with `understudy` says it before the answer.
AnsweredBy = Literal["local", "cloud", "refused", "undecided"]

# Names that a request may give as its model, beside those of versions and cloud models.
AUTO, LOCAL, CLOUD = "auto", "local", "cloud"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and how they want to be answered."""

    key: str  # the id of the API key, or "anonymous" where keys are off
    team: str = ""
    dial: float | None = None  # 0 never asks the cloud, 1 always; None: as the policy is set
    deadline_ms: int | None = None  # x-deadline-ms
    conversation: str = ""  # x-conversation-id; "": none
    insist: bool = False  # an error, not a local answer, where the cloud is wanted and unavailable
    task: str = ""  # x-understudy-task or metadata.task: which of the run's tasks
    request_id: str = ""  # x-request-id, in and out
    # Told once the tokens of the answer are known, where it was hung up on about how many: those
    # of the question (0: nobody counted them), and those that were written.
    told: Callable[[int, int], None] | None = field(default=None, compare=False, repr=False)

    def may_ask(self, usual: float | None = None) -> bool:
        """Whether a cloud may be asked for them at all. usual: the dial of those who have none."""
        dial = usual if self.dial is None else self.dial
        return dial is None or dial > 0


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat completion, whatever dialect it came in."""

    body: Mapping[str, Any]  # OpenAI's body, checked; unknown fields untouched, for the cloud
    raw: bytes | None = None  # the bytes it came in, where it came as a chat completion
    prompt: str | None = None  # plain text to be continued; messages has it as the user's turn

    @property
    def model(self) -> str:
        return str(self.body.get("model") or AUTO)

    @property
    def messages(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(self.body["messages"])

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a chunk that has the usage."""
        return bool((self.body.get("stream_options") or {}).get("include_usage"))

    @property
    def n(self) -> int:
        """How many answers are wanted."""
        return int(self.body.get("n") or 1)

    @property
    def max_tokens(self) -> int | None:
        """Most tokens of one answer; None: not said."""
        found = self.body.get("max_completion_tokens")
        found = self.body.get("max_tokens") if found is None else found
        return None if found is None else int(found)

    @property
    def store(self) -> bool:
        return bool(self.body.get("store"))

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.body.get("metadata") or {}


@dataclass(frozen=True, slots=True)
class Decision:
    """Who answered and why: told in headers, kept in the event."""

    answered_by: AnsweredBy
    why: str  # one plain sentence
    model: str  # the answering model, also `model` in the body
    version: str = ""  # name@step of the local adapter
    asked: bool = False  # the cloud was called
    dollars: float = 0.0  # when the head is sent an upper bound; the event has what it cost
    left: Mapping[str, float] = field(default_factory=dict)  # of each cap: "dollars/day" -> left


_BY = {"cloud": "answered by the cloud", "local": "answered by the local model"}


def of_all(decisions: Sequence[Decision]) -> Decision:
    """Of several questions in one request: the cloud answered if it answered any, the dollars are
    those of all, and of each cap the least is left."""
    if len(decisions) == 1:
        return decisions[0]
    counts = Counter(each.answered_by for each in decisions)
    order: tuple[AnsweredBy, ...] = ("cloud", "undecided", "local", "refused")
    who = next(each for each in order if counts[each])
    told = next(each for each in decisions if each.answered_by == who)
    left: dict[str, float] = {}
    for each in decisions:
        for cap, amount in each.left.items():
            left[cap] = min(amount, left.get(cap, amount))
    count, share = len(decisions), counts[who]
    return Decision(
        who,
        f"{count} questions, {share} of them {_BY.get(who, who)}; the first of these: {told.why}",
        ", ".join(dict.fromkeys(each.model for each in decisions)),
        ", ".join(dict.fromkeys(each.version for each in decisions if each.version)),
        asked=any(each.asked for each in decisions),
        dollars=sum(each.dollars for each in decisions),
        left=left,
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer: whole, as a completion; or as a stream, in chunks."""

    decision: Decision
    completion: Mapping[str, Any] | None = None  # OpenAI's chat completion
    # The payloads of a stream's `data:` lines, JSON of a chat.completion.chunk each, without
    # [DONE]. Closing it cancels what still runs.
    chunks: AsyncIterator[bytes] | None = None
    raw: bytes | None = None  # the completion's JSON as a cloud sent it, where one did


class Refused(Exception):  # noqa: N818 - an answer of a kind, not a fault
    """No answer. Becomes an error in the caller's dialect."""

    def __init__(
        self,
        status: int,
        type: str,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,  # seconds
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after


def never_asks(reason: str = "") -> Refused:
    """What whoever's dial is at 0 is told of what only a cloud can do."""
    message = "the dial is at 0, which never asks a cloud"
    return Refused(
        403, "permission_error", f"{message}; {reason}" if reason else message, code="never_asks"
    )


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A name that a request may give as its model."""

    id: str
    owned_by: str  # "understudy", or the name of a cloud
    created: int = 0  # seconds since 1970
    description: str = ""


class Core(Protocol):
    """What the door calls."""

    async def answer(self, request: ChatRequest, caller: Caller) -> Outcome:
        """Raises Refused."""
        ...

    async def models(self) -> list[ModelCard]:
        """auto, local, cloud, every version, every model of a cloud."""
        ...
