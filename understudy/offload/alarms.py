"""Warnings while a run goes on: the ways in which training fails without an error."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from understudy.offload.records import LEAST_SHOWN, Cell, MatrixRow
from understudy.offload.steps import StepMetrics

_WINDOW = 5  # steps: one odd batch is no alarm
_FEW = 20  # questions: none of fewer may be right by chance
_NEAR_ALL = 0.95
_NEAR_NONE = 0.02
_MANY_CUT = 0.25  # an answer that is cut off teaches nothing but to be shorter
_MANY_FAILED = 0.25  # share of the calls of a window
_RARELY = 0.02  # with a budget below this nobody asks in most groups, as it should be


@dataclass(frozen=True, slots=True)
class Alarm:
    """A condition on the mean of a metric over the window, and what to tell the user."""

    metric: str  # a field of StepMetrics
    holds: Callable[[float], bool]
    message: str
    if_calls_fail: bool = True  # whether it says something while many calls fail


ALARMS = (
    Alarm(
        "clipped_ratio",
        lambda share: share > _MANY_CUT,
        "{value:.0%} of the responses are cut off; raise max_completion_length, or give the data "
        "a stop string",
    ),
    Alarm(
        "formed",
        lambda share: share <= _NEAR_NONE,
        "no response has the form of an answer ({form}), so none can be right; set "
        "warm_start.steps (the cloud's replies show the form), reward.format, or an instruction "
        "that says it better",
    ),
    Alarm(
        "frac_reward_zero_std",
        lambda share: share >= _NEAR_ALL,
        "{value:.0%} of the groups carry no signal (all their responses are worth the same); "
        "change the levels or raise num_generations",
        if_calls_fail=False,  # their responses have no reward; the failed calls are named elsewhere
    ),
    Alarm(
        "all_ask_groups",
        lambda share: share >= _NEAR_ALL,
        "in {value:.0%} of the groups every response asks: the price cannot act; "
        "raise price.initial, or set price.shift=true (recipe understudy)",
    ),
    Alarm(
        "valid",
        lambda share: share == 0.0,
        "no response has a reward: every call to the cloud fails",
    ),
)
# A fault only where asking is allowed and used.
NOBODY_ASKS = Alarm(
    "no_ask_groups",
    lambda share: share >= _NEAR_ALL,
    "in {value:.0%} of the groups nobody asks although the budget is {budget:.2f}: asking dies "
    "out, and with it the signal for when to ask",
)


def examination_alarms(row: MatrixRow, tasks: Sequence[str]) -> list[str]:
    """What an examination says of local models that name one label only, or none, and of
    thresholds that let no question through.

    tasks: the names of the stream's phases. After a phase, only tasks met so far are looked at.
    """
    when = f"after phase {row.after_phase}" if row.after_phase else "before training"
    met = list(zip(tasks, row.tasks, strict=True))[: row.after_phase or None]
    is_trained = row.after_phase > 0
    found = (text for task, cell in met for text in cell_alarms(task, cell, is_trained))
    return list(dict.fromkeys(f"{when}: {text}" for text in found))


def cell_alarms(task: str, cell: Cell, is_trained: bool = True) -> list[str]:
    """What is wrong with a task's figures, a sentence each. Before any training it is no wonder
    that no answer is right."""
    never = cell.never_asks and f"no question of {task} is sent to the cloud: {cell.never_asks}"
    wrong = none_right(task, cell) if is_trained else None
    return [text for text in (label_alarm(task, cell), wrong, never) if text]


def over_budget(task: str, cell: Cell, budget: float) -> str | None:
    """A sentence where a task asks more than its budget, and not by chance."""
    low, high = cell.interval(cell.ask_rate)
    if low <= budget:
        return None
    return (
        f"{task} asks {cell.ask_rate:.2f} as served, above its budget of {budget:.2f} "
        f"({low:.2f} to {high:.2f} by {cell.sample} different test questions)"
    )


def none_right(task: str, cell: Cell) -> str | None:
    """A sentence where no answer at all is right: that is seldom for want of knowledge."""
    if cell.local or cell.sample < _FEW or cell.answers == 0:
        return None
    return (
        f"the local model is right on none of {cell.sample} questions of {task}: look at its "
        "answers under examinations; if they lack the wanted form, set warm_start.steps, or an "
        "instruction or examples of the data set that show it"
    )


def label_alarm(task: str, cell: Cell) -> str | None:
    """A sentence where the local model does not tell the labels of a task apart."""
    if cell.answers is None or cell.constant is None or cell.constant == 1.0:
        return None
    if cell.answers == 0:
        return f"no answer of the local model names a label of {task}"
    if cell.answers > 1:
        return None
    return (
        f"the local model answers all {cell.questions} questions of {task} with one label: "
        f"accuracy {cell.local:.2f}, macro-F1 {cell.macro_f1:.2f}; the most frequent label alone "
        f"would get {cell.constant:.2f}"
    )


def _nothing_shown(step: StepMetrics) -> list[str]:
    """What is wrong with a warm start that looked at replies and had too little to show."""
    asked = step.learnt.get("warm_start/asked", 0)
    replies = step.learnt.get("warm_start/replies", asked)  # runs from before it was kept
    if not replies or step.learnt["warm_start/steps"]:
        return []
    return [
        f"phase {step.phase} ({step.task}): the warm start showed nothing: "
        f"{step.learnt['warm_start/examples']:.0f} of the cloud's {replies:.0f} replies were right "
        f"and as short as max_completion_length, and it needs {LEAST_SHOWN} that are not all the "
        "same; look at them in replies.jsonl, and at the instruction"
    ]


@dataclass
class Alarms:
    """Gives each warning once per phase. The same steps give the same warnings.

    forms: what an answer looks like, by the name of the task.
    """

    asks: bool
    forms: Mapping[str, str] = field(default_factory=dict)
    _recent: deque[StepMetrics] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    _given: set[str] = field(default_factory=set)
    _phase: int = 0

    def after_step(self, step: StepMetrics) -> list[str]:
        """The warnings that a step gives."""
        if step.phase != self._phase:
            self._phase = step.phase
            self._recent.clear()
            self._given.clear()
        self._recent.append(step)
        if len(self._recent) < _WINDOW:
            return _nothing_shown(step)
        alarms = [*ALARMS]
        if self.asks and step.budget > _RARELY:
            alarms.append(NOBODY_ASKS)
        if self._failed_share() > _MANY_FAILED:
            alarms = [alarm for alarm in alarms if alarm.if_calls_fail]
        return [*_nothing_shown(step), *self._warnings(alarms, step)]

    def _failed_share(self) -> float:
        """Of the calls in the window, after its first step: totals are logged."""
        first, last = self._recent[0], self._recent[-1]
        calls, failed = last.calls - first.calls, last.failed_calls - first.failed_calls
        return failed / calls if calls else 0.0

    def _warnings(self, alarms: list[Alarm], step: StepMetrics) -> Iterable[str]:
        for alarm in alarms:
            known = [getattr(each, alarm.metric) for each in self._recent]
            values = [value for value in known if value is not None]
            if alarm.metric in self._given or not values:
                continue
            value = sum(values) / len(values)
            if alarm.holds(value):
                self._given.add(alarm.metric)
                form = self.forms.get(step.task, "as the checker reads it")
                text = alarm.message.format(value=value, budget=step.budget, form=form)
                yield f"step {step.step}, phase {step.phase} ({step.task}): {text}"
