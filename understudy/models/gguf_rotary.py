"""Scaled rotary positions in a GGUF file, which transformers' reader leaves out for most models.

Without them a model computes something else than it was trained to.
"""

from __future__ import annotations

import math
from typing import Any

from understudy.errors import CheckpointError

_LLAMA3 = {
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
_FACTORS = "rope_freqs.weight"  # what each frequency is divided by
_BEYOND = ("rope_factors_long.weight", "rope_factors_short.weight")


def add_scaling(config: Any, reader: Any, model: str) -> None:
    """Put the scaling of Llama 3.1 and later into a configuration; another one is refused."""
    rotary = getattr(config, "rope_parameters", None) or {}
    if rotary.get("rope_type", "default") != "default":
        return  # read by transformers
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    architecture = reader.get_field("general.architecture").contents()
    field = reader.get_field(f"{architecture}.rope.scaling.type")
    scaling = "none" if field is None else str(field.contents())
    if scaling != "none" or any(name in tensors for name in _BEYOND):
        kind = scaling if scaling != "none" else "longrope"
        raise CheckpointError(
            f"model={model}: transformers does not read its scaled positions ({kind}) from a GGUF "
            "file; give the model's own checkpoint"
        )
    if _FACTORS not in tensors:
        return
    found = [float(factor) for factor in tensors[_FACTORS].reshape(-1)]
    theta = float(rotary.get("rope_theta") or getattr(config, "rope_theta", None) or 10000.0)
    factor = max(found)
    expected = _llama3_factors(len(found), theta, factor)
    if any(not math.isclose(a, b, rel_tol=1e-3) for a, b in zip(found, expected, strict=True)):
        raise CheckpointError(
            f"model={model}: its rotary positions are scaled otherwise than Llama 3's; give the "
            "model's own checkpoint"
        )
    scaled = {"rope_type": "llama3", "factor": factor, **_LLAMA3}
    if rotary:
        config.rope_parameters = {**rotary, **scaled}
    else:  # of older versions of transformers
        config.rope_scaling = scaled


def _llama3_factors(count: int, theta: float, factor: float) -> list[float]:
    """What Llama 3.1 divides each frequency by: 1 for short waves, `factor` for long ones."""
    low, high, trained = _LLAMA3.values()
    factors = []
    for i in range(count):
        waves = trained / (2 * math.pi * theta ** (i / count))  # in the trained length
        smooth = min(max((waves - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors
