"""The seam: what a way of holding old skill may do, and what it sees of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from understudy.settings import KindSection

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from understudy.objectives.terms import Term
    from understudy.types import Example


class Learner(Protocol):
    """The model that learns, as a retention sees it: named tensors and a forward function."""

    def tensors(self) -> Mapping[str, Tensor]:
        """What is trained, by name."""
        ...

    def before(self) -> Mapping[str, Tensor]:
        """The same tensors as they were before training."""
        ...

    def logprobs(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """(log-probabilities with gradient, mask), (examples, tokens), of answers' tokens."""
        ...


class Retention:
    """Holds nothing: subclass it and override what differs.

    The order of events: `optimiser` once; at every step `terms`, then `after_step`; `at_switch`
    after the last step of a phase, before the examination. Phases are numbered from 1.

    A phase whose form is shown first (`warm_start`) begins with a few optimiser steps of its own.
    Before each of them `terms` is called with the number of the step to come, and nothing else is:
    so `terms` may be called several times with one number before `after_step`. Of what it returns,
    the terms that need no drawn response (`AnswerTerm`, `WeightTerm`) are learnt there.
    """

    class Settings(KindSection):
        """There is nothing to set."""

    wants_examples = False  # whether `after_step` is given what was verified

    def __init__(self, settings: KindSection, learner: Learner, seed: int) -> None:
        self.settings: Any = settings
        self.learner, self.seed = learner, seed

    def optimiser(self, learning_rate: float) -> Optimizer | None:
        """What trains the tensors, if not the loop's own Adam."""
        return None

    def terms(self, phase: int, step: int) -> Sequence[Term]:
        """What it adds to the loss of a step, rows of its own included (`AnswerTerm`)."""
        return ()

    def after_step(self, phase: int, step: int, verified: Sequence[Example]) -> None:
        """verified: the right answers of the batch, the cloud's or the model's own, none longer
        than the model may write (`max_completion_length`)."""

    def at_switch(self, phase: int) -> None:
        """The phase has ended."""

    def answering(self, phases: Sequence[int]) -> Mapping[str, Tensor]:
        """What the model answers with where it serves or is examined, such as an adapter per phase.

        phases: those in which the question's task occurs, trained yet or not. Tensors by name;
        those that are not given are as training left them.
        """
        return {}

    def tensors(self) -> Mapping[str, Tensor]:
        """What a checkpoint keeps of it."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what a checkpoint kept."""
