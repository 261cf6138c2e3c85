"""Who answers a question: by what is known before the local model writes, or by what it wrote."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from understudy.gateway.engine import Written
from understudy.routing.calibration import share_of
from understudy.types import Question

Signal = Literal["margin", "mean_entropy", "mean_logprob"]

_WORDS: Mapping[Signal, str] = {
    "margin": "request for help",
    "mean_entropy": "mean entropy",
    "mean_logprob": "mean log-probability",
}
_RECENT, _FEWEST = 512, 20  # scores of recent questions that stand in for a calibration


@dataclass(frozen=True, slots=True)
class Verdict:
    asks: bool
    why: str  # one plain sentence
    score: float | None = None
    threshold: float | None = None


class Policy(Protocol):
    drafts: bool  # the local model must answer before it can be decided

    def ask_above(self, dial: float | None) -> float | None:
        """The margin above which a question is asked, however its answer goes on; None: that is
        known only at its end."""
        ...

    async def decide(
        self, question: Question, draft: Written | None, dial: float | None, luck: float
    ) -> Verdict:
        """luck: in [0, 1), for those who send a share at random."""
        ...


class NeverAsks:
    """For a local model of which nothing tells when it needs help."""

    drafts = False

    def ask_above(self, dial: float | None) -> float | None:
        return None

    async def decide(
        self, question: Question, draft: Written | None, dial: float | None, luck: float
    ) -> Verdict:
        return Verdict(False, "nothing says when this local model needs help; see policy.router")


class Cascade:
    """Asks where a signal of the local answer is worse than its threshold.

    Its score is how much worse, of the worst signal, so that the threshold is 0. Nothing was
    examined to calibrate a dial by: it goes by the scores of the last questions, and before there
    are twenty as if it were not turned.
    """

    drafts = True

    def __init__(self, thresholds: Mapping[Signal, float]) -> None:
        self.thresholds = dict(thresholds)
        self._recent: deque[float] = deque(maxlen=_RECENT)

    def ask_above(self, dial: float | None) -> float | None:
        return None

    async def decide(
        self, question: Question, draft: Written | None, dial: float | None, luck: float
    ) -> Verdict:
        assert draft is not None
        scores = {name: excess(name, draft, least) for name, least in self.thresholds.items()}
        name = max(scores, key=lambda each: scores[each])
        score, threshold = scores[name], self._threshold(dial)
        self._recent.append(score)
        value, asks = getattr(draft, name), score > threshold
        limit = self.thresholds[name] + (threshold if name != "mean_logprob" else -threshold)
        side = "worse" if asks else "no worse"
        return Verdict(
            asks,
            f"the local answer's {_WORDS[name]}, {value:.2f}, is {side} than {limit:.2f}",
            score,
            threshold,
        )

    def _threshold(self, dial: float | None) -> float:
        if dial is None or len(self._recent) < _FEWEST:
            return 0.0
        return sorted(self._recent, reverse=True)[share_of(dial, len(self._recent) - 1)]


def excess(signal: Signal, draft: Written, limit: float) -> float:
    """How much worse than a limit: a low log-probability is bad, a high entropy and margin are."""
    value = getattr(draft, signal)
    assert value is not None, f"the engine gives no {signal}"
    return float(limit - value if signal == "mean_logprob" else value - limit)
