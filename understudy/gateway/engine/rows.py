"""One request in the engine: what it is to write, what it has written, and what is noted of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from understudy.gateway.engine import Job, Piece, TokenLogprob, Written
from understudy.gateway.engine.draws import Drawn, Way
from understudy.gateway.engine.text import WrittenText
from understudy.gateway.engine.vocabulary import Vocabulary
from understudy.models.asking import asks_for_help
from understudy.models.policy import IN_WORDS

if TYPE_CHECKING:
    from understudy.gateway.engine.constrained import Grammar
    from understudy.gateway.engine.tools import ToolForm


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job in tokens."""

    job: Job
    ids: tuple[int, ...]
    vocabulary: Vocabulary
    most: int  # tokens of the answer
    shared: int = 0  # leading tokens that prompts of others have, too
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None  # of JSON that it is to write
    grammar: Grammar | None = None  # of that schema
    tools: ToolForm | None = None  # how calls of tools are written
    forced: bool = False  # the prompt ends where a call has begun

    @property
    def version(self) -> str:
        return self.job.version

    @property
    def room(self) -> int:
        """Tokens that it takes at most."""
        return len(self.ids) + self.most


@dataclass(eq=False)
class Row:
    """A request from its place to its last token. lane_row: its row in a lane."""

    prepared: Prepared
    send: Callable[[Any], None]  # pieces, then what was written, or why it was not
    lane_row: Any = None
    begins: tuple[int, ...] = ()  # tokens of the prompt that are read once for all who have them
    read: int = 0  # tokens of the prompt
    cached: int = 0  # of these, those that were not read for it
    cancelled: bool = False
    finish_reason: str = ""
    tokens: list[int] = field(default_factory=list)
    margin: float = float("-inf")
    entropy: float = 0.0  # the sum over tokens, as of log-probabilities
    logprob: float = 0.0

    def __post_init__(self) -> None:
        prepared, tools = self.prepared, self.prepared.tools
        held = tools.held if tools and not prepared.forced else ()
        first = tools.held_first if tools and not prepared.forced else ()
        if prepared.forced:
            first = ("",)  # all of it is a call
        decode = prepared.vocabulary.tokens.decode
        self.text = WrittenText(decode, prepared.stop, held, first)
        seed = prepared.job.seed
        self._random = random.Random(seed)
        self._logprobs: list[TokenLogprob] = []

    def way(self) -> Way:
        """How the next token is drawn. The n-th token of a seed is drawn by its n-th number."""
        job, grammar = self.prepared.job, self.prepared.grammar
        uniform = 1.0 - self._random.random() if job.temperature else 1.0
        allowed = None if grammar is None else grammar.allowed()
        top_p = 1.0 if job.top_p is None else job.top_p
        return Way(job.temperature or 0.0, top_p, uniform, allowed, job.logprobs)

    def take(self, drawn: Drawn) -> None:
        """Note a token; what may be shown of it is sent."""
        self.tokens.append(drawn.token)
        self.margin = max(self.margin, drawn.margin)
        self.entropy += drawn.entropy
        self.logprob += drawn.logprob
        ended = drawn.token in self.prepared.vocabulary.ends
        text = "" if ended else self.text.add(drawn.token)
        grammar = self.prepared.grammar
        if grammar is not None and not ended:
            grammar.take([drawn.token])
        if self.prepared.job.logprobs is not None and not ended and not self.text.stopped:
            self._logprobs.append(self.prepared.vocabulary.logprob(drawn))
        if ended or self.text.stopped or (grammar is not None and grammar.ended):
            self.finish_reason = "stop"
        elif len(self.tokens) >= self.prepared.most:
            self.finish_reason = "length"
        if text:
            self._piece(text)

    def _piece(self, text: str) -> None:
        logprobs, self._logprobs = tuple(self._logprobs), []
        self.send(Piece(text, logprobs, self.margin))

    def end(self) -> None:
        """Send the rest, and what is known of the whole."""
        rest = self.text.end()
        calls: list[dict[str, Any]] = []
        text, tools = self.text.text, self.prepared.tools
        if tools is not None:
            before, calls = tools.calls(text, self.prepared.forced)
            if calls:
                shown = len(text) - len(rest)
                rest, text = before[shown:], before
                self.finish_reason = "tool_calls"
        if rest or self._logprobs:
            self._piece(rest)
        if self.prepared.job.more.get("parallel_tool_calls") is False:
            calls = calls[:1]
        count, stop = len(self.tokens), self.text.stopped_by
        self.send(
            Written(
                text=text,
                finish_reason=self.finish_reason,
                prompt_tokens=len(self.prepared.ids),
                cached_tokens=self.cached,
                completion_tokens=count,
                version=self.prepared.version,
                margin=self._margin(),
                mean_entropy=self.entropy / count,
                mean_logprob=self.logprob / count,
                tool_calls=tuple(calls),
                stop=stop if stop in self.prepared.job.stop else "",  # not one of its task's own
            )
        )

    def _margin(self) -> float:
        """The largest lead of the request; that of one in words is beyond every lead."""
        tokens, most = self.prepared.vocabulary.tokens, self.prepared.vocabulary.request_tail
        if not most:
            return self.margin
        tail: Sequence[int] = self.tokens[-most:]
        said = asks_for_help(tokens.decode(tail), tokens.request)
        return IN_WORDS + self.margin if said else self.margin
