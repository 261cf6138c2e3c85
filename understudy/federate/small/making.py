"""A small network by the name of its kind, tried with some samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from understudy.errors import ConfigError, UnderstudyError
from understudy.federate.foundations.foundation import Inputs
from understudy.federate.pictures import floats
from understudy.federate.small import SMALL
from understudy.federate.small.network import SmallNetwork
from understudy.registry import reason_of

_TRIED = 2  # samples


def new_small(kind: str, options: Mapping[str, Any], raw: Any, seed: int) -> SmallNetwork:
    """A network as it begins; the same seed gives the same weights.

    kind: a name of SMALL, or module:function or file.py:function, called with two raw samples and
    the options. It returns a SmallNetwork, or, for pictures, any torch module from (n, channels,
    height, width) in [0, 1] to (n, width).
    """
    make, tried = SMALL.load(kind), raw[:_TRIED]
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = make(tried, **options)
        network = made if isinstance(made, SmallNetwork) else _wrapped(kind, made, tried)
        with torch.no_grad():
            features = network(network.prepare(tried))
    except UnderstudyError:
        raise
    except Exception as error:  # of a user's own code, or options that do not fit
        raise ConfigError(f"small={kind}: {reason_of(error)}") from error
    _check(kind, network, features, len(tried))
    network.width = features.shape[1]
    return network


class Wrapped(SmallNetwork):
    """A torch module of pictures."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def prepare(self, raw: Any) -> Inputs:
        return {"pixels": floats(raw)}

    def forward(self, inputs: Inputs) -> Tensor:
        found: Tensor = self.module(inputs["pixels"])
        return found


def _wrapped(kind: str, made: Any, raw: Any) -> Wrapped:
    if not isinstance(made, nn.Module):
        raise ConfigError(
            f"small={kind}: returned a {type(made).__name__}; return a torch module, or a "
            "SmallNetwork"
        )
    if not isinstance(raw, Tensor):
        raise ConfigError(
            f"small={kind}: returned a {type(made).__name__}, which cannot read texts; return an "
            "understudy.federate.small.network.SmallNetwork, whose prepare() turns texts into "
            "tensors"
        )
    return Wrapped(made)


def _check(kind: str, network: nn.Module, features: Any, count: int) -> None:
    if not isinstance(features, Tensor) or features.dim() != 2 or len(features) != count:
        found = list(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ConfigError(f"small={kind}: gives {found} for {count} samples; give (n, width)")
    if features.dtype != torch.float32 or not bool(features.isfinite().all()):
        raise ConfigError(
            f"small={kind}: gives {features.dtype} or values that are not finite; give finite "
            "float32"
        )
    if not any(each.requires_grad for each in network.parameters()):
        raise ConfigError(f"small={kind}: has no parameters to learn")
