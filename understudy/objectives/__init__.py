"""What is optimised: advantages, policy-gradient losses and the price of asking.

Pure functions over tensors.  No configuration, no state and no logging; the training loop holds
those and calls these.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.objectives.advantages import (
        batch_std_advantage,
        centre,
        dual_advantage,
        gapg_filter,
        group_std_advantage,
        has_signal,
        scaled_advantage,
    )
    from understudy.objectives.dual import (
        LARGEST_SHIFT,
        ask_guide,
        ask_targets,
        clearing_price,
        dual_step,
        logit_shift,
        proportional_integral_step,
        rate_anchor,
        sequence_ask_probability,
    )
    from understudy.objectives.policy_gradient import (
        clip_fraction,
        clipped_policy_loss,
        k3_divergence,
        mean_of_groups,
        mean_of_sequence_means,
        mean_of_tokens,
        mean_over_max_length,
        reduce_loss,
        reinforce_loss,
    )
    from understudy.objectives.privacy import clip_factor, epsilon, hidden, zero_concentrated
    from understudy.objectives.sharing import (
        curvature_penalty,
        curvature_target,
        fisher_diagonal,
        fisher_interpolation,
        neighbourhood_mean,
        proximal_penalty,
    )
    from understudy.objectives.similarity import (
        class_overlap,
        largest_remainder,
        leep,
        nearest,
        query_scores,
    )

__all__ = [
    "LARGEST_SHIFT",
    "ask_guide",
    "ask_targets",
    "batch_std_advantage",
    "centre",
    "class_overlap",
    "clearing_price",
    "clip_factor",
    "clip_fraction",
    "clipped_policy_loss",
    "curvature_penalty",
    "curvature_target",
    "dual_advantage",
    "dual_step",
    "epsilon",
    "fisher_diagonal",
    "fisher_interpolation",
    "gapg_filter",
    "group_std_advantage",
    "has_signal",
    "hidden",
    "k3_divergence",
    "largest_remainder",
    "leep",
    "logit_shift",
    "mean_of_groups",
    "mean_of_sequence_means",
    "mean_of_tokens",
    "mean_over_max_length",
    "nearest",
    "neighbourhood_mean",
    "proportional_integral_step",
    "proximal_penalty",
    "query_scores",
    "rate_anchor",
    "reduce_loss",
    "reinforce_loss",
    "scaled_advantage",
    "sequence_ask_probability",
    "zero_concentrated",
]

_MODULES = (
    "advantages",
    "dual",
    "policy_gradient",
    "privacy",
    "sharing",
    "similarity",
)


def __getattr__(name: str) -> Any:
    """Loaded when first used: a recipe's settings are read without torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in _MODULES:
        found = vars(import_module(f"{__name__}.{module}"))
        globals().update({key: found[key] for key in __all__ if key in found})
    return globals()[name]
