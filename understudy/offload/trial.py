"""How long a training step of a run lasts and how much memory it takes: tried for a few seconds.

A few prompts are drawn, learnt and examined by the code that trains, more of them as long as time
is left, with short responses; the first sizes twice, of which the quicker counts: others may use
the machine. What a whole step needs is on the line through the two largest sizes; where responses
may be longer, drawing grows as they do, learning as the tokens that are read. Memory grows with the
tokens that are kept: in drawing those of all responses, in learning those of a portion, which has a
limit. Every response of a trial has an advantage, nobody asks, and the answers that a budget may
buy are learnt from: a step in full swing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import product

import torch

from understudy.models import memory
from understudy.models.activations import tokens_kept
from understudy.models.policy import Policy
from understudy.models.prefix import worthwhile_prefix
from understudy.objectives.terms import AnswerTerm, Term
from understudy.offload.config import Config
from understudy.offload.examination import examined_questions
from understudy.offload.helpers import Helpers
from understudy.offload.local import greedy
from understudy.offload.loop import objective_of, source_of, update
from understudy.offload.method import Method
from understudy.offload.phases import budget_of, phases_of
from understudy.offload.start import start
from understudy.offload.state import State
from understudy.progress import task
from understudy.types import Example, Problem

_WARM_UP = 2  # tokens: what a process does for the first time takes longer
_FIRST = (2, 4)  # prompts of the first trials; the first of them is always made
_SHORT = 8  # tokens of a response; each takes about as long as the one before
_NEXT = 2.5  # times as long as the last trial is the next one at most, of twice as many prompts


@dataclass(frozen=True, slots=True)
class Trial:
    """What some prompts of a step took, each with a group of responses."""

    prompts: int
    longest: int  # max_completion_length
    prompt_tokens: float  # of a prompt
    response_tokens: float  # of a response, as they were drawn
    cut_off: float  # the share of responses that did not end by themselves
    draw_seconds: float
    learn_seconds: float
    examine_seconds: float
    held_bytes: int  # before it: the model, its optimiser, the program
    draw_peak_bytes: int
    learn_peak_bytes: int
    shared_tokens: int = 0  # with which all prompts begin; kept once

    @property
    def peak_bytes(self) -> int:
        return max(self.draw_peak_bytes, self.learn_peak_bytes)


@dataclass(frozen=True, slots=True)
class Kept:
    """How many tokens of a step are kept at once."""

    group: int
    portions: int  # in which a step is learnt
    limit: int  # of a portion
    once: bool  # whether a prompt is kept once for all its responses

    @classmethod
    def of(cls, policy: Policy, config: Config) -> Kept:
        limit = tokens_kept(policy.model, config.gradient_checkpointing)
        portions, once = config.gradient_accumulation_steps, policy.model.reads_prompts_once
        return cls(config.num_generations, portions, limit, once)

    def in_drawing(self, trial: Trial, prompts: int, more: float = 0.0) -> float:
        """Of all responses and their prompts; more: tokens that a response goes on."""
        return self._of(trial, prompts * self.group, more)

    def in_learning(self, trial: Trial, prompts: int, more: float = 0.0) -> float:
        """Of the largest portion, as `portions_of` makes it."""
        found = self._of(trial, math.ceil(prompts * self.group / self.portions), more)
        return min(found, max(self.limit, self._of(trial, 1, more)))

    def _of(self, trial: Trial, rows: int, more: float) -> float:
        if not rows:
            return 0.0
        questions = math.ceil(rows / self.group) if self.once else rows
        own = trial.prompt_tokens - trial.shared_tokens
        return trial.shared_tokens + questions * own + rows * (trial.response_tokens + more)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a step of a whole batch needs, and how that was found."""

    draw_seconds: float
    learn_seconds: float
    examine_seconds: float  # of a question
    peak_bytes: int
    trials: tuple[Trial, ...]
    examined_questions: int = 0  # by a whole run
    # The least and the most seconds of a step that two single trials lead to; None: no two do.
    seconds_between: tuple[float, float] | None = None
    trial_seconds: float = 0.0  # how long all trials lasted
    processor_seconds: float = 0.0  # and how long all threads computed in them


def try_steps(config: Config, method: Method, seconds: float) -> Estimate:
    """Trials of growing size, none begun after so many seconds or expected to end later, but the
    first; after the model is loaded.

    config: complete. The cloud is neither asked nor built: it may cost money, or need a key.
    """
    config = config.model_copy(update={"cloud": Config().cloud})
    with task("measuring a training step"):
        state, helpers = start(config, method)
        with closing(helpers):
            began, computed = time.perf_counter(), time.process_time()
            kept = Kept.of(state.policy, config)
            found = estimate(config, _trials(state, helpers, config, seconds), kept)
            phases = phases_of(config)
            questions = examined_questions(helpers.tasks, phases, config)
            wall, computed = time.perf_counter() - began, time.process_time() - computed
            return replace(
                found,
                examined_questions=questions,
                trial_seconds=wall,
                processor_seconds=computed,
            )


def _trials(state: State, helpers: Helpers, config: Config, seconds: float) -> list[Trial]:
    started, longest = time.perf_counter(), config.max_completion_length

    def has_time(factor: float) -> bool:
        """For a trial so many times as long as the last one."""
        last = found[-1]
        expected = factor * (last.draw_seconds + last.learn_seconds + last.examine_seconds)
        return time.perf_counter() - started + expected <= seconds

    tried(state, helpers, config, 1, min(_WARM_UP, longest))
    first = [min(count, config.batch_size) for count in _FIRST]
    found = [tried(state, helpers, config, first[0], min(_SHORT, longest))]
    if first[1] > first[0] and has_time(1.0):  # two make a line
        found.append(tried(state, helpers, config, first[1], found[-1].longest))
        for again, factor in ((first[0], 1.0), (first[1], _NEXT)):
            if has_time(factor):
                found.append(tried(state, helpers, config, again, found[-1].longest))
    while found[-1].prompts < config.batch_size and has_time(_NEXT):
        prompts = min(2 * found[-1].prompts, config.batch_size)
        found.append(tried(state, helpers, config, prompts, found[-1].longest))
    shorter = found[-1].longest < longest
    if shorter and found[-1].prompts == config.batch_size and has_time(longest / found[-1].longest):
        found.append(tried(state, helpers, config, config.batch_size, longest))
    return found


def tried(state: State, helpers: Helpers, config: Config, prompts: int, longest: int) -> Trial:
    """Draw, learn and examine a few prompts of the run's first phase."""
    config = config.model_copy(update={"max_completion_length": longest})
    phase, device = phases_of(config)[0], state.policy.device
    problems = helpers.tasks.batch(phase, prompts, "train", f"trial {config.seed} {prompts}")
    held = memory.held(device)
    memory.forget_peak(device)
    began = _now(device)
    source = source_of(state, helpers, config, budget=0.0)  # nobody asks
    experience = state.method.experience(source, problems, state.dual)
    drawn = _now(device)
    draw_peak = memory.peak(device)
    memory.forget_peak(device)
    objective = objective_of(state, experience, 1)
    signs = torch.ones_like(objective.advantage)
    signs[:, ::2] = -1.0
    answers = bought(problems, budget_of(phase, config))
    terms = [_filled(term, answers) for term in objective.terms]
    update(state, helpers, replace(objective, advantage=signs, terms=terms), config)
    learnt = _now(device)
    learn_peak = memory.peak(device)
    greedy(state.policy, problems, longest)
    examined = _now(device)
    scores, prompts_read = experience.scores, experience.batch.prompts
    read, once = prompts_read.mask, state.policy.model.reads_prompts_once
    return Trial(
        prompts=prompts,
        longest=longest,
        prompt_tokens=float(read.sum()) / len(read),
        response_tokens=float(scores.lengths.float().mean()),
        cut_off=1.0 - float(scores.finished.float().mean()),
        draw_seconds=drawn - began,
        learn_seconds=learnt - drawn,
        examine_seconds=examined - learnt,
        held_bytes=held,
        draw_peak_bytes=draw_peak,
        learn_peak_bytes=learn_peak,
        shared_tokens=worthwhile_prefix(prompts_read.ids, read) if once else 0,
    )


def bought(problems: Sequence[Problem], budget: float) -> list[Example]:
    """As many right answers as the budget allows calls, at least one."""
    count = min(len(problems), max(1, round(budget * len(problems)))) if budget > 0 else 0
    return [Example(each.local_question, each.worked or each.solution) for each in problems[:count]]


def _filled(term: Term, answers: Sequence[Example]) -> Term:
    return replace(term, examples=answers) if isinstance(term, AnswerTerm) else term


def estimate(config: Config, trials: Sequence[Trial], kept: Kept) -> Estimate:
    """What a step of `batch_size` prompts needs where what was cut off goes on to the end, by
    trials of several sizes, some of them several times; the last may be the whole step."""
    longest = trials[-1].longest
    sizes = sorted({trial.prompts for trial in trials if trial.longest == longest})[-2:]
    tries = [
        [each for each in trials if (each.prompts, each.longest) == (size, longest)]
        for size in sizes
    ]
    found = _by(config, [_quickest(each) for each in tries], kept)
    singly = [_by(config, each, kept) for each in product(*tries)]
    seconds = [each.draw_seconds + each.learn_seconds for each in (found, *singly)]
    between = (min(seconds), max(seconds)) if len(singly) > 1 else None
    return replace(found, trials=tuple(trials), seconds_between=between)


def _quickest(tries: Sequence[Trial]) -> Trial:
    """The last one, with the least seconds that each part took in any."""
    parts = ("draw_seconds", "learn_seconds", "examine_seconds")
    least = {name: min(getattr(each, name) for each in tries) for name in parts}
    peaks = ("draw_peak_bytes", "learn_peak_bytes")
    most = {name: max(getattr(each, name) for each in tries) for name in peaks}
    return replace(tries[-1], **least, **most)


def _by(config: Config, trials: Sequence[Trial], kept: Kept) -> Estimate:
    """By trials of two sizes, or of one."""
    size, last = config.batch_size, trials[-1]
    if len(trials) > 1:
        first = trials[0]
    else:  # one trial only: all of it grows with the prompts, but what was held before
        first = replace(
            last,
            prompts=0,
            draw_seconds=0.0,
            learn_seconds=0.0,
            examine_seconds=0.0,
            draw_peak_bytes=last.held_bytes,
            learn_peak_bytes=last.held_bytes,
        )
    # The responses that were cut off go on to the end; the others would end where they did.
    longer = config.max_completion_length / last.longest if last.cut_off else 1.0
    group, added = config.num_generations, config.max_completion_length - last.longest
    read = last.prompt_tokens * (1 if kept.once else group) + group * last.response_tokens
    more = read + group * added * last.cut_off
    peaks = (
        _peak(first, last, "draw_peak_bytes", kept.in_drawing, (size, added * last.cut_off)),
        _peak(first, last, "learn_peak_bytes", kept.in_learning, (size, added * last.cut_off)),
    )
    rows = size * group  # as many as are examined at once
    return Estimate(
        draw_seconds=_line(first, last, size, "draw_seconds") * longer,
        learn_seconds=_line(first, last, size, "learn_seconds") * more / read,
        examine_seconds=_line(first, last, rows, "examine_seconds") / rows * longer,
        peak_bytes=round(max(peaks)),
        trials=tuple(trials),
    )


def _peak(
    first: Trial,
    second: Trial,
    name: str,
    tokens: Callable[[Trial, int, float], float],
    step: tuple[int, float],
) -> float:
    """The bytes at a step's tokens, on the line through two trials over theirs.

    It never falls, and is nowhere so steep that no tokens would take less than was held before.
    step: prompts, and tokens that a response goes on.
    """
    one, two = (tokens(each, each.prompts, 0.0) for each in (first, second))
    least, most = float(getattr(first, name)), float(getattr(second, name))
    steepest = max(0.0, most - second.held_bytes) / two
    slope = max(0.0, most - least) / (two - one) if two > one else steepest
    return most + min(slope, steepest) * (tokens(second, *step) - two)


def _line(first: Trial, second: Trial, prompts: int, name: str) -> float:
    """The value at so many prompts of the line through two trials; it never falls."""
    one, two = float(getattr(first, name)), float(getattr(second, name))
    slope = max(0.0, two - one) / (second.prompts - first.prompts)
    return two + slope * (prompts - second.prompts)


def _now(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()
