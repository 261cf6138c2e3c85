"""Where a step's experience comes from: responses drawn, drawn again, or given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from understudy.clouds import MeteredCloud
from understudy.errors import DivergedError
from understudy.models.policy import Policy
from understudy.models.sampling import Completions, Drawing, Prompts
from understudy.objectives import sequence_ask_probability
from understudy.offload.config import Config
from understudy.offload.helpers import Helpers
from understudy.offload.learner import short_enough
from understudy.offload.scores import Responses, Scores, joined, moved, score_responses
from understudy.progress import task
from understudy.types import Example, Problem, Reply


@dataclass(frozen=True, slots=True)
class Batch:
    """Responses to a batch of problems: how they were drawn, and what the cloud replied to which.

    problems, replies and lessons are the whole team's, prompts and drawn those of this process:
    `own` says where its problems stand. lessons: what is learnt of a reply that is right.
    """

    problems: list[Problem]
    own: range
    prompts: Prompts
    drawn: Completions
    drawing: Drawing
    replies: dict[int, Reply]
    lessons: dict[int, str]

    def own_rows(self, table: Tensor) -> Tensor:
        """A row per response of this process, from a (prompts, group) table of the team."""
        return table[self.own.start : self.own.stop].reshape(-1)


@dataclass(frozen=True, slots=True)
class Experience:
    """What a step learns from: a batch, and what the whole team's responses were worth."""

    batch: Batch
    scores: Scores
    budget: float
    weight: Tensor | None = None  # (prompts, group) of each advantage; None: 1

    def cloud_answers(self) -> list[Example]:
        """The cloud's replies that were verified."""
        right = self.scores.cloud_right.tolist()
        return [
            _example(self.batch.problems[i], lesson)
            for i, lesson in sorted(self.batch.lessons.items())
            if right[i]
        ]


@dataclass
class Source:
    """Gives a method the experience of one step."""

    policy: Policy
    helpers: Helpers
    config: Config
    step: int  # steps done before this one
    budget: float
    shift: float  # of the logit for asking
    draws: int = 0

    def draw(self, problems: list[Problem], prompts: Sequence[str] | None = None) -> Experience:
        """Draw a group per problem, let those that ask cross the link, score all of them.

        prompts: what the local model reads in place of each problem's own prompt. The cloud is
        asked the problem itself.
        """
        self.draws += 1
        own = self.helpers.team.share(len(problems))
        texts = [problem.prompt for problem in problems] if prompts is None else prompts
        read = self._read([(problems[i], texts[i]) for i in own])
        drawn = self._drawn(read, list(own), len(problems))
        return self._experience(problems, own, read, drawn, {})

    def redraw(
        self, experience: Experience, places: Sequence[int], prompts: Sequence[str]
    ) -> Experience:
        """The groups at some places drawn again under other prompts, one each.

        They are learnt under the prompts of the experience that they become part of.
        """
        self.draws += 1  # in every process of a team, whoever has these places
        batch, group = experience.batch, self.config.num_generations
        other = dict(zip(places, prompts, strict=True))
        mine = [i for i in batch.own if i in other]
        drawn = batch.drawn
        if mine:
            read = self._read([(batch.problems[i], other[i]) for i in mine])
            again = self._drawn(read, mine, len(batch.problems))
            rows = [(i - batch.own.start) * group + j for i in mine for j in range(group)]
            drawn = _replaced(drawn, rows, again)
        return self._experience(batch.problems, batch.own, batch.prompts, drawn, batch.replies)

    def given(self, problems: list[Problem], answers: Sequence[Sequence[str]]) -> Experience:
        """Answers that are on record, a group per problem, as if the model had drawn them now."""
        own = self.helpers.team.share(len(problems))
        read = self.policy.prompts([problems[i].local_question for i in own])
        written = self.policy.written([text for i in own for text in answers[i]])
        drawn = self.policy.noted(read, written, self.drawing)
        return self._experience(problems, own, read, drawn, {})

    @property
    def drawing(self) -> Drawing:
        shift = self.shift if self.budget > 0 else float("-inf")  # no budget: nobody asks
        return Drawing(self.config.max_completion_length, self.config.temperature, shift)

    def _read(self, asked: Sequence[tuple[Problem, str]]) -> Prompts:
        """Problems under prompts that may be other than their own."""
        return self.policy.prompts(
            [replace(one, prompt=text).local_question for one, text in asked]
        )

    def _drawn(self, prompts: Prompts, places: Sequence[int], count: int) -> Completions:
        """A group for each prompt; the random numbers go by the prompt's place in the batch."""
        group, step = self.config.num_generations, self.config.seed * 1_000_003 + self.step
        luck = self.drawing.uniforms(count * group, step + (self.draws - 1) * 2**40)
        luck = luck.view(count, group, -1)[list(places)].flatten(0, 1).to(self.policy.device)
        with task("drawing responses"):
            drawn = self.policy.sample(prompts, group, self.drawing, luck)
        if drawn.logprobs.isnan().any():
            raise DivergedError(f"step {self.step + 1}: the model gives NaN; {remedy(self.config)}")
        return drawn

    def _experience(
        self,
        problems: list[Problem],
        own: range,
        prompts: Prompts,
        drawn: Completions,
        known: dict[int, Reply],
    ) -> Experience:
        """known: replies that are here already."""
        team, helpers, group = self.helpers.team, self.helpers, len(drawn.mask) // max(len(own), 1)
        asked = drawn.asked.view(-1, group)
        everyone = torch.cat(team.all_gather(asked.cpu()))
        everyone[list(known)] = False
        replies = team.from_leader(lambda: ask(helpers.cloud, problems, everyone)) | known
        near = {i - own.start: reply for i, reply in replies.items() if i in own}
        mine = problems[own.start : own.stop]
        responses = Responses(mine, self.policy.texts(drawn, prompts), asked.cpu(), near)
        with task("checking answers"):
            judged = score_responses(helpers.valuation, responses)
        scores = Scores(**judged, **_drawn_figures(drawn, group))
        scores = moved(joined(team.all_gather(scores)), self.policy.device)
        lessons = {
            i: helpers.tasks.lesson(problems[i], reply.text)
            for i, reply in replies.items()
            if reply.text
        }
        batch = Batch(problems, own, prompts, drawn, self.drawing, replies, lessons)
        return Experience(batch, scores, self.budget)


def verified_examples(
    experience: Experience, policy: Policy, helpers: Helpers, longest: int
) -> list[Example]:
    """A right answer of at most `longest` tokens per problem that has one: the cloud's, or else
    the model's own. A longer one could never be learnt."""
    batch, found = experience.batch, {}
    texts = policy.texts(batch.drawn, batch.prompts)
    group = experience.scores.reward.shape[1]
    right = experience.scores.local_right.tolist()
    for i in batch.own:
        rows = range((i - batch.own.start) * group, (i - batch.own.start + 1) * group)
        own = (texts[row] for row, good in zip(rows, right[i], strict=True) if good)
        short = next((text for text in own if short_enough(policy, text, longest)), None)
        if short is not None:
            found[i] = short
    everyone = {i: text for part in helpers.team.all_gather(found) for i, text in part.items()}
    helped = experience.scores.cloud_right.tolist()
    everyone |= {
        i: lesson
        for i, lesson in batch.lessons.items()
        if helped[i] and short_enough(policy, lesson, longest)
    }
    return [_example(batch.problems[i], everyone[i]) for i in sorted(everyone)]


@task("asking the cloud")
def ask(cloud: MeteredCloud, problems: list[Problem], asked: Tensor) -> dict[int, Reply]:
    """One call for every prompt that any response of its group asks about."""
    wanted = [i for i, asks in enumerate(asked.any(dim=1).tolist()) if asks]
    replies = cloud.replies([problems[i].question for i in wanted])
    return dict(zip(wanted, replies, strict=True))


def remedy(config: Config) -> str:
    """What to do about a run that diverged."""
    return (
        "the last checkpoint is kept; start a new run with less than "
        f"learning_rate={config.learning_rate}"
    )


def _example(problem: Problem, answer: str) -> Example:
    return Example(problem.local_question, answer)


def _drawn_figures(drawn: Completions, group: int) -> dict[str, Any]:
    """The fields of `Scores` that say how responses were drawn."""
    probability = sequence_ask_probability(drawn.ask_logprobs, drawn.mask)
    figures = {
        "asked": drawn.asked,
        "ask_probability": probability,
        "lengths": drawn.mask.sum(dim=1),
        "finished": drawn.finished,
        "entropy": drawn.entropy.masked_fill(~drawn.mask, 0.0).sum(dim=1),
    }
    by_prompt = {name: figure.view(-1, group).cpu() for name, figure in figures.items()}
    return by_prompt | {"token_ask_probability": drawn.ask_chances.cpu()}


def _replaced(first: Completions, rows: Sequence[int], second: Completions) -> Completions:
    """Completions with some rows in place of their own, all as wide as the widest."""
    width = max(first.tokens.shape[1], second.tokens.shape[1])
    changed: dict[str, Tensor | None] = {}
    for each in fields(Completions):
        one, other = getattr(first, each.name), getattr(second, each.name)
        if one is None and other is None:
            continue
        one, other = (
            torch.zeros_like(like.asked) if value is None else value
            for value, like in ((one, first), (other, second))
        )
        if one.dim() > 1:
            one, other = (_widened(value, width) for value in (one, other))
        changed[each.name] = one.index_copy(0, torch.tensor(rows, device=one.device), other)
    return replace(first, **changed)  # type: ignore[arg-type]


def _widened(values: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(values, (0, width - values.shape[1]))
