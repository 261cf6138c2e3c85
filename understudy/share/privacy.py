"""Bounds and noise for what leaves an agent.

A change of weights, a module or an instance is scaled down to a norm of `clip` at most, and every
number gets Gaussian noise of deviation noise * clip. The changes are those since the agent's
weights were last sent (at first: since the weights that all began with), so that a message tells
of the agent's data by that clipped change alone. Of a module only what its receiver uses leaves
then.

This is no accounted guarantee. The noise is drawn by the seed of the run: anyone who knows the seed
can subtract it; labels, classes, similarities, which instance or module is sent, and whether and
when anything is, go out as they are; and nobody stops a run when a budget is spent. The figures in
the summary (reveals.py) hold for the numbers of the weights, modules or instances alone, against
one who does not know the seed.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from understudy.errors import ConfigError
from understudy.link.carrier import Parcel
from understudy.objectives.privacy import hidden
from understudy.share.settings import Privacy


def guarded(
    parcel: Parcel,
    kind: str,
    privacy: Privacy,
    published: dict[str, Tensor],
    random: np.random.Generator,
) -> Parcel:
    """A parcel as it may leave. published: the agent's weights as all may know them, brought up
    to date where this parcel holds them."""
    arrays = dict(parcel.arrays)
    if privacy.clip is not None and kind == "parameters":
        changes = [arrays[name] - known for name, known in published.items()]
        left = hidden(changes, privacy.clip, privacy.noise, random)
        for (name, known), change in zip(published.items(), left, strict=True):
            arrays[name] = known + change
        if all(bool(arrays[name].isfinite().all()) for name in published):
            published |= {name: arrays[name] for name in published}
    if privacy.clip is not None and kind == "modules":
        weights = [name for name in arrays if name.startswith("module.")]
        left = hidden([arrays[name] for name in weights], privacy.clip, privacy.noise, random)
        arrays = dict(zip(weights, left, strict=True)) | {"similarity": arrays["similarity"]}
    if privacy.clip_instances is not None and "x" in arrays:
        check_norms(privacy, arrays["x"])
        rows = [hidden([x], privacy.clip_instances, privacy.noise, random)[0] for x in arrays["x"]]
        arrays["x"] = torch.stack(rows) if rows else arrays["x"]
    return Parcel(arrays, parcel.floats)


def check_norms(privacy: Privacy, x: Tensor) -> None:
    if privacy.clip_instances is not None and not x.is_floating_point():
        raise ConfigError(
            f"privacy.clip_instances={privacy.clip_instances}: these instances are whole "
            "numbers, for which a norm has no meaning; leave it out, or share no data"
        )
