"""A whole set of samples prepared once, a few at a time, and looked up by their places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from understudy import progress
from understudy.federate.foundations.foundation import Foundation, Inputs

_AT_ONCE = 256  # samples


def cached_inputs(foundation: Foundation, raw: Any, before: int = 0) -> Inputs:
    """The inputs of all samples; where no block before `before` is adapted, with what stands
    before that block in place of what came earlier.

    Pictures as large as a foundation wants them are never held all at once, if before > 0.
    """
    what = f"what stands before block {before}" if before else "samples as the foundation's"
    parts = []
    with progress.task(what, len(raw)) as advance:
        for start in range(0, max(1, len(raw)), _AT_ONCE):
            inputs = foundation.prepare(raw[start : start + _AT_ONCE])
            parts.append(foundation.activations(inputs, before) if before else inputs)
            advance(len(raw[start : start + _AT_ONCE]))
    return joined(parts)


def chosen(inputs: Inputs, places: Tensor | slice) -> Inputs:
    """The inputs of some samples."""
    return {key: value[places] for key, value in inputs.items()}


def joined(parts: Sequence[Inputs]) -> Inputs:
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
