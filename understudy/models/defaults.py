"""What a run takes where its settings leave it open, by the size of its model.

docs/models.md gives the table with its reasons.
"""

from __future__ import annotations

from dataclasses import dataclass

from understudy.models.precision import SMALL


@dataclass(frozen=True, slots=True)
class Defaults:
    """The settings for models below a number of parameters."""

    below: float
    rank: int  # of adapters; 0: all weights are trained
    # A step of Adam moves every weight by about as much, so the wider a model, the more it moves
    # the outputs: rates fall with size. 2e-4 is what 135M was seen to learn with.
    learning_rate: float
    full_rate: float  # where all weights are trained: a tenth, for the same reason
    # A group of 4 gives a signal already; 16 x 4 is what 135M was seen to learn with.
    batch_size: int
    num_generations: int
    portions: int  # gradient_accumulation_steps
    dtype: str  # of frozen weights, where products are in bfloat16
    # Examinations take longer than training does, the larger the model the more. 128 questions
    # give a share to within 0.09 (95 %), 256 to within 0.06, 512 to within 0.04.
    eval_queries: int
    calibration_queries: int


_TABLE = (
    Defaults(SMALL, 0, 2e-4, 2e-4, 32, 8, 1, "float32", 512, 1024),
    Defaults(300e6, 16, 2e-4, 2e-5, 16, 4, 1, "float32", 256, 512),
    Defaults(1e9, 16, 1e-4, 1e-5, 16, 4, 2, "float32", 128, 256),
    Defaults(4e9, 16, 5e-5, 5e-6, 8, 4, 4, "bfloat16", 96, 192),
    Defaults(float("inf"), 16, 3e-5, 3e-6, 8, 4, 8, "bfloat16", 64, 128),
)


def defaults_for(parameters: int) -> Defaults:
    return next(row for row in _TABLE if parameters < row.below)
