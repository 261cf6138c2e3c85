"""What the local model writes by itself: greedy answers, and texts that a router asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from understudy.models.policy import Policy
from understudy.models.sampling import Drawing
from understudy.offload.team import ALONE, Team
from understudy.progress import task
from understudy.routing.evidence import Generated
from understudy.types import Options, Problem, Question

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """A greedy answer, asking forbidden, and what it says of itself.

    margin is the largest lead of the request over every other token along the answer: the model
    would ask at a threshold t exactly when margin > t. mean_entropy is over the answer's tokens.
    """

    answer: str
    margin: float
    mean_entropy: float
    prompt_tokens: int
    completion_tokens: int


def greedy(
    policy: Policy, problems: Sequence[Problem], max_completion_length: int
) -> list[LocalAnswer]:
    drawing = Drawing(max_completion_length, temperature=0.0, ask_shift=float("-inf"))
    prompts = policy.prompts([problem.local_question for problem in problems])
    drawn = policy.sample(prompts, 1, drawing)
    lead = drawn.ask_margins.masked_fill(~drawn.mask, float("-inf")).amax(dim=1)
    lengths = drawn.mask.sum(dim=1)
    entropy = drawn.entropy.masked_fill(~drawn.mask, 0.0).sum(dim=1) / lengths
    figures = (lead.double(), entropy.double(), prompts.mask.sum(dim=1), lengths)
    columns = (figure.tolist() for figure in figures)
    return [LocalAnswer(*row) for row in zip(policy.texts(drawn, prompts), *columns, strict=True)]


@dataclass(frozen=True, slots=True)
class Batches:
    """How work over many prompts is cut: so many rows at once, shared by a team."""

    rows: int = 512
    team: Team = ALONE

    def run(
        self,
        lengths: Sequence[int],
        work: Callable[[list[int]], Sequence[T]],
        advance: Callable[[int], None],
    ) -> list[T]:
        """What `work` makes of every place, in order; it is given the places of a batch."""
        order = sorted(range(len(lengths)), key=lambda i: lengths[i])  # less padding
        mine = order[self.team.rank :: self.team.size]
        found: dict[int, T] = {}
        for start in range(0, len(mine), self.rows):
            places = mine[start : start + self.rows]
            found.update(zip(places, work(places), strict=True))
            advance(len(places) * self.team.size)
        everyone: dict[int, T] = {}
        for part in self.team.all_gather(found):
            everyone |= part
        return [everyone[place] for place in range(len(lengths))]


@dataclass(frozen=True, slots=True)
class LocalGenerator:
    """The local model as routers see it (`routing.evidence.Generate`); asking is forbidden.

    What a question draws depends on its messages and options alone. Without max_tokens the longest
    answer is the run's.
    """

    policy: Policy
    max_completion_length: int
    batches: Batches = Batches()

    def __call__(self, questions: Sequence[Question]) -> Generated:
        texts = [""] * len(questions)
        read = written = 0
        by_options: dict[Options, list[int]] = {}
        for place, question in enumerate(questions):
            by_options.setdefault(question.options, []).append(place)
        with task("generating for the router", len(questions)) as advance:
            for places in by_options.values():
                drawn = self._drawn([questions[place] for place in places], advance)
                for place, (text, prompt, completion) in zip(places, drawn, strict=True):
                    texts[place] = text
                    read, written = read + prompt, written + completion
        return Generated(tuple(texts), read, written)

    def _drawn(
        self, questions: Sequence[Question], advance: Callable[[int], None]
    ) -> list[tuple[str, int, int]]:
        def work(places: list[int]) -> list[tuple[str, int, int]]:
            return self._draw([questions[place] for place in places])

        return self.batches.run([len(question.prompt) for question in questions], work, advance)

    def _draw(self, questions: Sequence[Question]) -> list[tuple[str, int, int]]:
        """(text, prompt tokens, completion tokens) of questions with the same options."""
        options = questions[0].options
        length = options.max_tokens or self.max_completion_length
        drawing = Drawing(length, options.temperature or 0.0, float("-inf"))
        prompts = self.policy.prompts(questions)
        uniforms = None
        if drawing.temperature:
            seeds = [int(question.digest[:15], 16) for question in questions]
            uniforms = torch.cat([drawing.uniforms(1, seed) for seed in seeds])
            uniforms = uniforms.to(self.policy.device)
        drawn = self.policy.sample(prompts, 1, drawing, uniforms)
        texts = self.policy.texts(drawn, prompts)
        lengths = prompts.mask.sum(dim=1).tolist(), drawn.mask.sum(dim=1).tolist()
        return list(zip(texts, *lengths, strict=True))
