"""The warm start: a model without the form of an answer is shown it before a phase.

    draw a response to each of n questions of the phase, asking forbidden
    while fewer than `share` of them have the form of an answer:
        once: ask the cloud these questions and keep the replies that are right; stop where they are
    too few, or all the same
        twice: descend the cross-entropy of some kept replies, asking left out of the distribution
        draw again
    the phase's responses may ask less by the share that was asked here

Without the form no response is right, no group carries a signal, and a policy gradient never
begins. A model that has the form pays no call. All of it happens between two steps: a run that is
killed here begins it anew, its replies on record, and ends with the same weights.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice

from torch.optim import Optimizer

from understudy.models.sampling import Drawing
from understudy.objectives.terms import AnswerTerm, Term, WeightTerm
from understudy.offload.config import Config
from understudy.offload.helpers import Helpers
from understudy.offload.learn import asking_of, descend, learn_given
from understudy.offload.learner import short_enough
from understudy.offload.phases import budget_of
from understudy.offload.records import LEAST_SHOWN, WarmStarted
from understudy.offload.state import State
from understudy.progress import task
from understudy.tasks.stream import Phase
from understudy.types import Example, Problem

_LARGEST_PART = 0.5  # of a phase's budget: the rest is for questions that need help
_POOL = 8  # times the questions that are asked: labels are chosen evenly among so many
_LEAST_DRAWN = 16  # responses: a share of fewer says little
_AT_ONCE = 4  # examples of a step: the form is the same in all of them
_BETWEEN = 2  # steps between draws
_FASTER = 5.0  # than the run's learning rate: a form is learnt in a few large steps


def warm_start(
    state: State, helpers: Helpers, place: tuple[int, Phase], config: Config
) -> WarmStarted:
    """What was done before the first step of a phase; place: its number, and the phase."""
    setting, (number, phase) = config.warm_start, place
    size = config.batch_size * helpers.team.size
    paid = budget_of(phase, config) * phase.steps * size  # questions that the phase may ask
    count = min(setting.examples, int(_LARGEST_PART * paid))
    if not setting.steps or not count:
        return WarmStarted()
    with task("looking for the form of an answer"):
        problems = _spread(_pool(state.step, helpers, phase, config, count), count, helpers)
        before = formed = _formed(state, helpers, problems, config, 0)
    if before >= setting.share:
        return WarmStarted(before=before, after=before)
    if count < LEAST_SHOWN:
        if helpers.team.leads:
            _warn_of_budget(number, phase, count)
        return WarmStarted(before=before, after=before)
    replies, asked, right = helpers.team.from_leader(lambda: right_replies(helpers, problems))
    longest = config.max_completion_length
    examples = [each for each in right if short_enough(state.policy, each.answer, longest)]
    steps, taught = 0, examples if enough(examples) else []
    lessons = _lessons(_terms(state, taught, config))
    with task("showing the form of an answer", setting.steps) as advance:
        while taught and steps < setting.steps and formed < setting.share:
            with _faster(state.optimiser):
                for some in islice(lessons, min(_BETWEEN, setting.steps - steps)):
                    _learn(state, helpers, [some, *_held(state, number)], config)
                    steps += 1
                    advance(1)
            formed = _formed(state, helpers, problems, config, steps)
    share = asked / (phase.steps * size)
    return WarmStarted(asked, len(examples), steps, before, formed, share, replies)


def enough(examples: Sequence[Example]) -> bool:
    """Fewer replies, or all with one answer, would be learnt by heart in place of the form."""
    return len(examples) >= LEAST_SHOWN and len({each.answer for each in examples}) > 1


def _warn_of_budget(number: int, phase: Phase, count: int) -> None:
    warnings.warn(
        f"phase {number} ({phase.name}): no warm start: it may ask {count} of the phase's "
        f"questions and needs {LEAST_SHOWN}; raise the steps, the budget or warm_start.examples",
        stacklevel=2,
    )


def _pool(step: int, helpers: Helpers, phase: Phase, config: Config, count: int) -> list[Problem]:
    """Questions that the phase's own steps will draw: their replies are paid for once."""
    found: dict[str, Problem] = {}
    for each in range(step, step + phase.steps):
        for problem in helpers.batch(phase, each, config):
            found.setdefault(problem.question.digest, problem)
        if len(found) >= _POOL * count:
            break
    return list(found.values())


def _spread(problems: Sequence[Problem], count: int, helpers: Helpers) -> list[Problem]:
    """As many, every label as often as another: the form is to be learnt, not the frequent one."""
    by_label: dict[str | None, list[Problem]] = {}
    for problem in problems:
        by_label.setdefault(helpers.tasks.label(problem), []).append(problem)
    columns = list(by_label.values())
    depth = max(map(len, columns))
    even = [column[i] for i in range(depth) for column in columns if i < len(column)]
    return even[:count]


def _formed(
    state: State, helpers: Helpers, problems: Sequence[Problem], config: Config, times: int
) -> float:
    """The share of drawn responses from which an answer can be read.

    times: distinguishes the draws of one warm start.
    """
    team, policy, group = helpers.team, state.policy, -(-_LEAST_DRAWN // len(problems))
    seed = config.seed * 1_000_003 + state.step + (times + 1) * 2**52
    drawing = Drawing(config.max_completion_length, config.temperature, float("-inf"))
    luck = drawing.uniforms(len(problems) * group, seed).view(len(problems), group, -1)
    own, found = list(team.share(len(problems))), 0
    if own:
        prompts = policy.prompts([problems[i].local_question for i in own])
        drawn = policy.sample(prompts, group, drawing, luck[own].flatten(0, 1).to(policy.device))
        owners = [problems[i] for i in own for _ in range(group)]
        texts = zip(owners, policy.texts(drawn, prompts), strict=True)
        found = sum(helpers.tasks.answer(problem, text) is not None for problem, text in texts)
    return sum(team.all_gather(found)) / (len(problems) * group)


def right_replies(helpers: Helpers, problems: Sequence[Problem]) -> tuple[int, int, list[Example]]:
    """How many replies there are, failed ones too, and how many were paid for; and those that are
    right, each in the form in which it is learnt. One known from before is learnt for nothing."""
    with task("asking the cloud for the form of an answer"):
        known = helpers.cloud.spend.cache_hits
        replies = helpers.cloud.replies([problem.question for problem in problems])
        known = helpers.cloud.spend.cache_hits - known
    came = [
        (problem, reply.text)
        for problem, reply in zip(problems, replies, strict=True)
        if reply.error is None and reply.text
    ]
    verdicts = helpers.tasks.check([problem for problem, _ in came], [text for _, text in came])
    right = [
        Example(problem.local_question, helpers.tasks.lesson(problem, text))
        for (problem, text), verdict in zip(came, verdicts, strict=True)
        if verdict is not None and verdict >= 1
    ]
    looked_at = sum(reply.called for reply in replies)
    return looked_at, looked_at - known, right


def _terms(state: State, examples: list[Example], config: Config) -> list[AnswerTerm]:
    """An example each, with how likely asking is in its place, where the run may ask at all."""
    if math.isinf(state.dual.shift):
        return [AnswerTerm([example]) for example in examples]
    asking = asking_of(state.policy, examples, config)
    return [AnswerTerm([each], asking=[was]) for each, was in zip(examples, asking, strict=True)]


def _lessons(terms: Sequence[AnswerTerm]) -> Iterator[AnswerTerm]:
    """What each step learns, over and over."""
    again = cycle(terms)
    while terms:
        some = list(islice(again, min(_AT_ONCE, len(terms))))
        held = [was for each in some for was in each.asking or ()]
        yield AnswerTerm([each.examples[0] for each in some], asking=held or None)


@contextmanager
def _faster(optimiser: Optimizer) -> Iterator[None]:
    """Within, the optimiser takes larger steps."""
    rates = [group["lr"] for group in optimiser.param_groups]
    try:
        for group in optimiser.param_groups:
            group["lr"] *= _FASTER
        yield
    finally:
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate


def _held(state: State, phase: int) -> list[Term]:
    """What holds old skill at this moment, where it needs no drawn response: not the KL."""
    kept = state.retention.terms(phase, state.step)
    return [term for term in kept if isinstance(term, AnswerTerm | WeightTerm)]


def _learn(state: State, helpers: Helpers, terms: Sequence[Term], config: Config) -> None:
    """One step on a few examples and on what is held."""
    state.optimiser.zero_grad()
    tally = learn_given(state.policy, helpers.team, terms, config)
    descend(state.optimiser, state.trained(), helpers.team, tally, config, state.step)
