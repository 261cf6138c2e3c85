"""What must be said aloud while a run goes on: the ways in which training quietly fails."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

_WINDOW = 5  # steps: one odd batch is no alarm
_NEAR_ALL = 0.95
_RARELY = 0.02  # with a budget below this most groups are silent as they should be


@dataclass(frozen=True, slots=True)
class Alarm:
    """A condition on the mean of a metric over the window, and what to tell the user."""

    metric: str
    rings: Callable[[float], bool]
    message: str


ALARMS = (
    Alarm(
        "completions/clipped_ratio",
        lambda share: share > 0.5,
        "{value:.0%} of the responses are cut off; raise max_completion_length",
    ),
    Alarm(
        "frac_reward_zero_std",
        lambda share: share >= _NEAR_ALL,
        "{value:.0%} of the groups carry no signal (all their responses are worth the same); "
        "change the levels or raise num_generations",
    ),
    Alarm(
        "cloud/all_ask_groups",
        lambda share: share >= _NEAR_ALL,
        "in {value:.0%} of the groups every response asks: the price cannot act; "
        "raise price.initial, or set price.shift=true (recipe understudy)",
    ),
    Alarm(
        "rewards/valid",
        lambda share: share == 0.0,
        "no response has a reward: every call to the cloud fails",
    ),
)
# Silence is a fault only where asking is allowed and used.
SILENCE = Alarm(
    "cloud/no_ask_groups",
    lambda share: share >= _NEAR_ALL,
    "in {value:.0%} of the groups nobody asks although the budget is {budget:.2f}: asking dies "
    "out, and with it the signal for when to ask",
)


@dataclass
class Alarms:
    """Rings each alarm once per phase. Feeding it the same lines again gives the same words."""

    asks: bool
    _recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    _said: set[str] = field(default_factory=set)
    _phase: int = 0

    def hear(self, line: dict[str, Any]) -> list[str]:
        if line["phase"] != self._phase:
            self._phase = line["phase"]
            self._recent.clear()
            self._said.clear()
        self._recent.append(line)
        if len(self._recent) < _WINDOW:
            return []
        silence = (SILENCE,) if self.asks and line["cloud/budget"] > _RARELY else ()
        return list(self._ringing((*ALARMS, *silence), line))

    def _ringing(self, alarms: tuple[Alarm, ...], line: dict[str, Any]) -> Iterable[str]:
        for alarm in alarms:
            value = sum(recent[alarm.metric] for recent in self._recent) / len(self._recent)
            if alarm.metric not in self._said and alarm.rings(value):
                self._said.add(alarm.metric)
                text = alarm.message.format(value=value, budget=line["cloud/budget"])
                yield f"step {line['step']}, phase {line['phase']} ({line['task']}): {text}"
