"""The seam of the loop: what a method decides, and what it remembers between steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from understudy.objectives.terms import AnswerTerm, Term, policy_gradient
from understudy.offload.config import Config

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

    from understudy.offload.experience import Experience, Source
    from understudy.offload.scores import Scores
    from understudy.types import Problem


@dataclass(frozen=True, slots=True)
class Dual:
    """What the loop itself reads: the price of asking and the shift of the request's logit."""

    price: float
    shift: float = 0.0


class Method:
    """A recipe's own part of the loop: subclass it and override what differs.

    Settings are a subclass of Config inside the class, with the fields that the recipe reads and
    its own defaults. The dual is a frozen dataclass of numbers, saved with the run; the loop reads
    its `price` and its `shift`.
    """

    class Settings(Config):
        """A method without settings of its own."""

    def __init__(self, config: Config) -> None:
        self.config: Any = config

    def start(self) -> Any:
        """The dual before the first step."""
        return Dual(price=0.0)

    def experience(self, source: Source, problems: list[Problem], dual: Any) -> Experience:
        """What a step learns from: drawn, drawn again where that helps, or from a record.

        Prompts change here (`source.draw(problems, prompts)`), and so do rewards (the scores of
        what is returned) and weights of responses.
        """
        return source.draw(problems)

    def advantage(self, scores: Scores, dual: Any) -> Tensor:
        """What each response is pushed by, (prompts, group); rows of exact zeros cost nothing."""
        raise NotImplementedError

    def terms(self, experience: Experience, dual: Any) -> list[Term]:
        """The loss: the policy gradient, and the answers of the cloud where `distill` is set."""
        config = self.config
        found: list[Term] = [policy_gradient(config.epsilon, config.epsilon_high)]
        if config.distill > 0:
            found.append(AnswerTerm(experience.cloud_answers(), config.distill))
        return found

    def next_dual(self, dual: Any, scores: Scores, budget: float) -> Any:
        """The dual after a batch."""
        return dual

    def prepare(self, width: int) -> None:
        """Called once, before training, with the width of the model's states.

        Parameters that are made here go to the model's device afterwards.
        """

    def parameters(self) -> Sequence[Parameter]:
        """Parameters of its own, which are trained and saved with the model's."""
        return ()

    def tensors(self) -> Mapping[str, Tensor]:
        """What a checkpoint keeps of it beside the dual; its parameters, as they are now."""
        return {str(number): each.detach() for number, each in enumerate(self.parameters())}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what a checkpoint kept."""
        for number, each in enumerate(self.parameters()):
            each.data.copy_(tensors[str(number)])
