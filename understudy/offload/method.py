"""The seam of the loop: what a method decides, and what it remembers between steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from understudy.offload.config import Config

if TYPE_CHECKING:
    from torch import Tensor

    from understudy.offload.scores import Scores


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
