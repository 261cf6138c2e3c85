"""What a router may look at, what was right, and how a router lets the local model write more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

from understudy.types import Cost, Question

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    # Which questions leave, in the order of the evidence: yes or no, or each with what chance.
    Decisions = NDArray[np.bool_] | NDArray[np.float64]

# The parts of the evidence that a router can name as what it needs.
Need = Literal[
    "questions", "answers", "margin", "mean_entropy", "prompt_tokens", "completion_tokens"
]
FREE: frozenset[Need] = frozenset({"questions", "prompt_tokens"})  # known before an answer is drawn


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of some questions before any of them leaves: a row each, in order of arrival.

    margin is the largest lead of the request for help over every other token along the local
    answer. The model itself asks where margin > own_threshold.
    """

    # As the local model is asked them: after its worked examples, with what ends its answer.
    questions: tuple[Question, ...]
    answers: tuple[str, ...]  # of the local model, greedy, asking forbidden
    margin: FloatArray
    mean_entropy: FloatArray  # of the answer's tokens, in nats
    prompt_tokens: NDArray[np.int64]
    completion_tokens: NDArray[np.int64]
    own_threshold: float
    signals: Mapping[str, FloatArray] = field(default_factory=dict)  # what a router gathered
    gathered: Cost = field(default_factory=Cost)  # what gathering took of the local model

    def __len__(self) -> int:
        return len(self.margin)

    def take(self, places: Sequence[int]) -> Evidence:
        """Of some of the questions, as for a router that learns on one half and fits its
        threshold on the other."""
        rows = list(places)
        return replace(
            self,
            questions=tuple(self.questions[i] for i in rows),
            answers=tuple(self.answers[i] for i in rows),
            margin=self.margin[rows],
            mean_entropy=self.mean_entropy[rows],
            prompt_tokens=self.prompt_tokens[rows],
            completion_tokens=self.completion_tokens[rows],
            signals={name: signal[rows] for name, signal in self.signals.items()},
        )


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Who was right, a row per question: 1, 0, or NaN where nobody knows.

    Of validation questions the cloud is asked some at most: its column is NaN at the others, and
    at all when a router is fitted for the first time.
    """

    local_right: FloatArray
    cloud_right: FloatArray

    def take(self, places: Sequence[int]) -> Outcomes:
        rows = list(places)
        return Outcomes(self.local_right[rows], self.cloud_right[rows])


@dataclass(frozen=True, slots=True)
class Generated:
    """Texts that the local model wrote, one per question, and their lengths in tokens."""

    texts: tuple[str, ...]
    prompt_tokens: int
    completion_tokens: int

    @property
    def cost(self) -> Cost:
        return Cost(prompt_tokens=self.prompt_tokens, completion_tokens=self.completion_tokens)


class Generate(Protocol):
    """The local model, for routers that must generate text to know.

    A question's options say how: temperature (none: greedy), seed, max_tokens.
    """

    def __call__(self, questions: Sequence[Question]) -> Generated: ...
