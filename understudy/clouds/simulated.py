"""A cloud with stated accuracy, latency, price and faults: what every default runs against."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from understudy.tasks import ANSWER_MARK
from understudy.types import AnswerKey, Problem, Reply, Request

# A character is about a quarter of a token in the large models' own counting.
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class SimulatedCloud:
    """Answers right with a stated probability; the same question always gets the same answer.

    key: which problem a question was made of. A question without a problem, or of a problem
    without a worked answer, is a failed call.
    """

    accuracy: Mapping[str, tuple[float, ...]]  # per family, one figure per level
    default_accuracy: tuple[float, ...]
    latency_seconds: float
    dollars_per_million_prompt_tokens: float
    dollars_per_million_completion_tokens: float
    seed: int
    key: AnswerKey

    async def answer(self, request: Request) -> Reply:
        prompt, problem = request.question.prompt, self.key(request.question)
        if problem is None or not problem.worked:
            return Reply(
                text=None, error="the simulated cloud knows only the forms of docs/tasks.md"
            )
        luck = _luck(self.seed, prompt, "answer")
        levels = self.accuracy.get(problem.family, self.default_accuracy)
        right = luck.random() < levels[problem.level - 1]
        text = problem.worked if right else _wrong(problem, luck)
        prompt_tokens = -(-len(prompt) // _CHARACTERS_PER_TOKEN)
        completion_tokens = -(-len(text) // _CHARACTERS_PER_TOKEN)
        dollars = prompt_tokens * self.dollars_per_million_prompt_tokens
        dollars += completion_tokens * self.dollars_per_million_completion_tokens
        return Reply(
            text=text,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            dollars=dollars / 1e6,
            seconds=self.latency_seconds * luck.lognormvariate(0.0, 0.3),
        )


@dataclass(frozen=True, slots=True)
class FaultyCloud:
    """Another cloud behind a bad line: some calls fail, some replies arrive cut short."""

    cloud: SimulatedCloud
    failure_rate: float
    truncation_rate: float
    seed: int
    timeout_seconds: float = field(default=30.0)

    async def answer(self, request: Request) -> Reply:
        # A new attempt has new luck: a fault passes, an answer stays.
        luck = _luck(self.seed, request.question.prompt, f"fault {request.attempt}")
        fate = luck.random()
        if fate < self.failure_rate:
            return Reply(text=None, seconds=self.timeout_seconds, error="timeout")
        reply = await self.cloud.answer(request)
        if fate < self.failure_rate + self.truncation_rate and reply.text is not None:
            return Reply(
                text=reply.text.partition(ANSWER_MARK)[0],
                prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
                dollars=reply.dollars,
                seconds=reply.seconds,
                error="truncated",
            )
        return reply


def _luck(seed: int, prompt: str, purpose: str) -> random.Random:
    digest = hashlib.blake2b(f"{seed}\n{purpose}\n{prompt}".encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))


def _wrong(problem: Problem, luck: random.Random) -> str:
    """A plausible slip: one character of the answer changed. An answer without a mark is withheld:
    a change somewhere in it might leave it right."""
    reasoning, mark, answer = problem.worked.rpartition(ANSWER_MARK)
    if not mark or "\n" in answer.strip():
        return "I am not sure."
    position = luck.randrange(len(answer))
    alphabet = "0123456789" if answer[position].isdigit() else "abcdefghjk"
    other = luck.choice([c for c in alphabet if c != answer[position]])
    slipped = answer[:position] + other + answer[position + 1 :]
    return f"{reasoning}{ANSWER_MARK}{slipped}"
