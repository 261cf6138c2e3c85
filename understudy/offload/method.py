"""The seam of the loop: what a method decides, and what it remembers between steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from understudy.offload.config import Config

if TYPE_CHECKING:
    from torch import Tensor

    from understudy.offload.scores import Scores

# How a trained model's margin for asking becomes a decision when it serves:
#   own         it asks when asking is its likeliest next token, as in training
#   capped      the same, but requests over the allowed share are answered locally
#   calibrated  it asks above a threshold fitted to the budget on validation questions
#   random      it never asks by itself; a share of questions is sent at random
Serving = Literal["own", "capped", "calibrated", "random"]


@dataclass(frozen=True, slots=True)
class Dual:
    """What the loop itself reads: the price of asking and the shift of the request's logit."""

    price: float
    shift: float = 0.0


class Method:
    """A recipe's own part of the loop: subclass it and override what differs.

    Settings are a subclass of Config inside the class, with the fields that the recipe reads and
    its own defaults. The dual is a frozen record, saved with the run.
    """

    class Settings(Config):
        """A method without settings of its own."""

    serving: ClassVar[Serving] = "own"

    def __init__(self, config: Config) -> None:
        self.config: Any = config

    def start(self) -> Any:
        """The dual before the first step."""
        return Dual(price=0.0)

    def advantage(self, scores: Scores, dual: Any) -> Tensor:
        """What each response is pushed by, (prompts, group); rows of exact zeros cost nothing."""
        raise NotImplementedError

    @property
    def regularises(self) -> bool:
        """Whether there is a regulariser: it wants every row, also those without advantage."""
        return False

    def regulariser(
        self, ask_probability: Tensor, scores: Scores, dual: Any, budget: float
    ) -> Tensor:
        """A loss on how likely each response was to ask, (prompts, group)."""
        return ask_probability.new_zeros(())

    def next_dual(self, dual: Any, scores: Scores, budget: float) -> Any:
        """The dual after a batch."""
        return dual
