"""Who writes local answers: jobs go in, pieces of text come out as they are written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Job:
    """One answer to write."""

    id: str
    messages: tuple[Mapping[str, Any], ...]  # OpenAI's chat messages, or () with a prompt
    version: str  # name@step
    prompt: str | None = None  # plain text, as /v1/completions has it
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] = "auto"  # auto, none, required, or a function, as OpenAI
    max_tokens: int | None = None
    temperature: float | None = None  # None: as the engine has it, which here is greedy
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None  # how many alternatives of each token; None: no log-probabilities
    schema: Mapping[str, Any] | None = None  # JSON schema; {}: any JSON object
    key: str = ""  # places are shared fairly over keys
    task: str = ""  # which of the run's tasks; "": the last, as `understudy ask` has it
    more: Mapping[str, Any] = field(default_factory=dict)  # other fields of the request's body


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token of an answer, its log-probability and its likeliest alternatives."""

    token: str
    logprob: float
    utf8: bytes  # a token may be a part of a character
    top: tuple[tuple[str, float, bytes], ...] = ()  # token, log-probability, bytes


@dataclass(frozen=True, slots=True)
class Piece:
    """Newly written text."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    margin: float | None = None  # largest lead of the request for help so far


@dataclass(frozen=True, slots=True)
class Written:
    """The last item of an answer: all of its text, and what is known of it."""

    text: str
    finish_reason: str  # stop, length, tool_calls
    prompt_tokens: int
    cached_tokens: int  # of the prompt's tokens, those whose work was shared
    completion_tokens: int
    version: str
    margin: float | None = None  # largest lead of the request for help
    mean_entropy: float | None = None
    mean_logprob: float | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    stop: str = ""  # the job's stop string that ended it; '': none did, or the engine does not say


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """How busy an engine is."""

    running: int
    waiting: int
    tokens_per_second: float


class EngineError(Exception):
    """The engine cannot write this answer: a job it cannot do, or an engine that is gone."""


class JobRefused(EngineError):  # noqa: N818 - the job is at fault, not the engine
    """A job that this engine never can do: too long, a wrong schema, tools that it has none for."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param  # the field of the request that is at fault


class EngineBusy(EngineError):  # noqa: N818 - not a failure: come back later
    """The queue is full."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # seconds


class Engine(Protocol):
    signals: frozenset[str]  # the evidence it gives: margin, mean_entropy, mean_logprob

    def write(self, job: Job) -> AsyncIterator[Piece | Written]:
        """Pieces, then what was written. Closing it cancels and frees its place at once.

        Raises EngineBusy and EngineError."""
        ...

    def unserved(self, body: Mapping[str, Any]) -> str:
        """The first field of a request's body that no answer of this engine would follow; '': there
        is none. One elsewhere is handed all of them, and refuses by itself."""
        ...

    def versions(self) -> list[str]: ...

    async def load(self, version: str, folder: Path, digest: str = "") -> None:
        """Take up a version, between two tokens.

        digest: of its adapter's weights (`engine.digests.adapter_digest`); others are refused.
        """
        ...

    async def unload(self, version: str) -> None:
        """Let go of a version after its last request."""
        ...

    def load_now(self) -> EngineLoad: ...

    async def close(self) -> None: ...
