"""A cloud with stated accuracy, latency, price and faults: what every default runs against."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from understudy.clouds.estimates import SIZE_OF_A_TOKEN, about_tokens
from understudy.clouds.failures import NOT_KNOWN
from understudy.clouds.settings import CloudSettings
from understudy.settings import Section
from understudy.tasks import ANSWER_MARK, FAMILIES, LEVELS
from understudy.types import AnswerKey, Cost, Options, Problem, Question, Reply, Request

_TIMEOUT_SECONDS = 30.0  # what a call that fails takes
_WITHHELD = "I am not sure."  # a wrong answer where no slip of the right one would be one
_GENERAL = [0.99, 0.98, 0.97, 0.95, 0.92]

Accuracy = float | list[float] | dict[str, float | list[float]]


class Faults(Section):
    """What goes wrong on the way to the simulated cloud."""

    failure_rate: float = Field(0.0, ge=0, le=1, description="share of calls that time out")
    truncation_rate: float = Field(0.0, ge=0, le=1, description="share of replies cut short")

    @model_validator(mode="after")
    def _compatible(self) -> Self:
        if self.failure_rate + self.truncation_rate > 1:
            raise ValueError(
                f"failure_rate={self.failure_rate} and truncation_rate={self.truncation_rate} "
                "add up to more than 1; a call either fails or is cut short"
            )
        return self


class SimulatedCloud:
    """Answers right with a stated probability; the same question always gets the same answer.

    key: which problem a question was made of. A question without a problem, or of a problem
    without a worked answer, is a failed call. A new attempt is drawn anew: a fault passes, an
    answer stays.
    """

    class Settings(CloudSettings):
        kind: str = "simulated"
        accuracy: Accuracy = Field(
            _GENERAL,
            description="share of right answers: one figure, one per level, or either per family",
        )
        latency_seconds: float = Field(0.8, ge=0, description="median time of one reply")
        dollars_per_million_prompt_tokens: float = Field(0.5, ge=0, description="price of input")
        dollars_per_million_completion_tokens: float = Field(
            2.0, ge=0, description="price of output"
        )
        seed: int = Field(0, description="which questions it gets wrong")
        faults: Faults = Field(Faults(), description="injected faults")
        max_failed_share: float = Field(
            1.0, ge=0, le=1, description="a run stops when a larger share of its last calls failed"
        )

        checked: ClassVar[bool] = False  # it is always there

        @field_validator("accuracy")
        @classmethod
        def _shares(cls, accuracy: Accuracy) -> Accuracy:
            given = accuracy if isinstance(accuracy, dict) else {"": accuracy}
            for family, value in given.items():
                if family and family not in FAMILIES:
                    known = ", ".join(FAMILIES)
                    raise ValueError(f"unknown family {family!r}; use {known}")
                _per_level(value)
            return accuracy

    def __init__(self, settings: Settings, key: AnswerKey) -> None:
        self.settings, self.key = settings, key
        given = settings.accuracy
        by_family = given if isinstance(given, dict) else {}
        self._accuracy = {name: _per_level(value) for name, value in by_family.items()}
        self._general = _per_level(_GENERAL if isinstance(given, dict) else given)

    async def answer(self, request: Request) -> Reply:
        question, faults = request.question, self.settings.faults
        fate = _random_of(self.settings.seed, question.prompt, f"fault {request.attempt}").random()
        if fate < faults.failure_rate:
            return Reply(text=None, seconds=_TIMEOUT_SECONDS, error="timeout")
        reply = self._whole(question)
        if fate < faults.failure_rate + faults.truncation_rate and reply.text is not None:
            return replace(reply, text=reply.text.partition(ANSWER_MARK)[0], error="truncated")
        return reply

    async def stream(self, request: Request) -> AsyncIterator[str | Reply]:
        """The answer word by word."""
        reply = await self.answer(request)
        for word in re.findall(r"\s*\S+\s*", reply.text or ""):
            yield word
        yield reply

    def estimate(self, question: Question) -> Cost:
        """What an answer costs at most."""
        problem = self.key(question)
        longest = max(problem.worked if problem else "", _WITHHELD, key=len)
        return self._billed(question, longest, 0.0).cost

    def _whole(self, question: Question) -> Reply:
        prompt, problem = question.prompt, self.key(question)
        if problem is None or not problem.worked:
            return Reply(text=None, error=NOT_KNOWN)
        drawn = _random_of(self.settings.seed, prompt, "answer")
        levels = self._accuracy.get(problem.family, self._general)
        right = drawn.random() < levels[problem.level - 1]
        text = problem.worked if right else _wrong(problem, drawn)
        seconds = self.settings.latency_seconds * drawn.lognormvariate(0.0, 0.3)
        text, is_cut = _wanted(text, question.options)
        reply = self._billed(question, text, seconds)
        return replace(reply, error="truncated") if is_cut else reply

    def _billed(self, question: Question, text: str, seconds: float) -> Reply:
        prompt_tokens, completion_tokens = (
            about_tokens(len(question.prompt)),
            about_tokens(len(text)),
        )
        dollars = prompt_tokens * self.settings.dollars_per_million_prompt_tokens
        dollars += completion_tokens * self.settings.dollars_per_million_completion_tokens
        return Reply(text, prompt_tokens, completion_tokens, dollars / 1e6, seconds)


def _per_level(value: Any) -> tuple[float, ...]:
    figures = tuple(value) if isinstance(value, list) else (value,) * len(LEVELS)
    if len(figures) != len(LEVELS) or not all(0 <= figure <= 1 for figure in figures):
        raise ValueError(f"{value}: give one share in [0, 1], or one per level, {len(LEVELS)}")
    return figures


def _random_of(seed: int, prompt: str, purpose: str) -> random.Random:
    digest = hashlib.blake2b(f"{seed}\n{purpose}\n{prompt}".encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))


def _wanted(text: str, options: Options) -> tuple[str, bool]:
    """The text up to the first stop string, as long as is wanted; whether its length cut it."""
    ends = [at for stop in options.stop if stop and (at := text.find(stop)) >= 0]
    text = text[: min(ends, default=len(text))]
    if options.max_tokens is None or about_tokens(len(text)) <= options.max_tokens:
        return text, False
    return text[: options.max_tokens * SIZE_OF_A_TOKEN], True


def _wrong(problem: Problem, drawn: random.Random) -> str:
    """A plausible slip: one character of the answer changed. An answer without a mark is withheld:
    a change somewhere in it might leave it right."""
    reasoning, mark, answer = problem.worked.rpartition(ANSWER_MARK)
    if not mark or "\n" in answer.strip():
        return _WITHHELD
    position = drawn.randrange(len(answer))
    alphabet = "0123456789" if answer[position].isdigit() else "abcdefghjk"
    other = drawn.choice([c for c in alphabet if c != answer[position]])
    slipped = answer[:position] + other + answer[position + 1 :]
    return f"{reasoning}{ANSWER_MARK}{slipped}"
