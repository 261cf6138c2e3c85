"""A network of the user's own: what of it stays frozen, and the module of which many are learnt.

A layer computes  h <- base + sum_m share_m * drop(module_m(input)),  (base, input) = before(h).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils.weak import WeakTensorKeyDictionary

from understudy.actors.records import register_rebuilt
from understudy.errors import ConfigError, UnderstudyError
from understudy.registry import named_function, reason_of

_AT_ONCE = 256  # instances that enter together


class OwnNet:
    """To be derived from; the function that the setting `net` names returns one.

    h is what runs through the layers: float32 (n, ..), of any shape. All but the modules is frozen
    and belongs to all agents alike.
    """

    layers: int = 4
    vmaps: bool = True  # whether torch.func.vmap can compute many modules at once

    def module(self) -> nn.Module:
        """A new module, begun by torch's chance; (n, ..) to the same shape, as in `eval` mode."""
        raise NotImplementedError("derive from OwnNet and return a torch module")

    def entrance(self, x: Tensor) -> Tensor:
        """What the first layer takes, computed once for each instance."""
        return x

    def before(self, layer: int, h: Tensor) -> tuple[Tensor | float, Tensor]:
        """(base, input): what a layer adds its modules' output to, and what they are given."""
        return 0.0, h

    def features(self, h: Tensor) -> Tensor:
        """What a task's decoder sees of the last layer's output: (n, features)."""
        return h.flatten(1)


class Own:
    """A net that was tried with two instances, and how many of its modules are computed.

    weights: the shapes of a module's, by name; inputs: of what each layer gives its modules, and
    features: of what a decoder sees, for one instance.
    """

    def __init__(self, spec: str, options: str, x: Tensor) -> None:
        self.spec, self.options, self.probe = spec, options, x[:2].clone()
        self.net = _made(spec, options)
        self._entered = WeakTensorKeyDictionary()
        with _blamed(spec), torch.no_grad():
            self.prototype = self._module_of(0)
            self.weights = {
                name: tuple(weight.shape) for name, weight in _learnt(self.prototype).items()
            }
            self.inputs, self.features = self._tried()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and self.net is other.net

    def __hash__(self) -> int:
        return id(self.net)

    def __reduce__(self) -> tuple[Any, ...]:  # a copy calls the user's function again
        return Own, (self.spec, self.options, self.probe)

    def new_weights(self, seed: int) -> dict[str, Tensor]:
        """Of one module, as it begins; the same seed gives the same."""
        found = _learnt(self._module_of(seed))
        return {name: found[name].detach().clone() for name in self.weights}

    def _module_of(self, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = self.net.module()
        if not isinstance(module, nn.Module):
            raise _RefusedError(
                f"module() returned a {type(module).__name__}; return a torch module"
            )
        return module.eval()

    def entrance(self, x: Tensor) -> Tensor:
        """Of instances (n, ..). They enter once, however often they are looked at."""
        if not len(x):
            return self.entrance(self.probe)[:0]
        if x not in self._entered:
            with _blamed(self.spec), torch.no_grad():
                self._entered[x] = torch.cat([self.net.entrance(p) for p in x.split(_AT_ONCE)])
        entered: Tensor = self._entered[x]
        return entered

    def before(self, layer: int, h: Tensor) -> tuple[Tensor | float, Tensor]:
        """Of h (rows, samples, ..)."""
        base, given = self.net.before(layer, h.flatten(0, 1))
        if isinstance(base, Tensor):
            base = base.unflatten(0, h.shape[:2])
        return base, given.unflatten(0, h.shape[:2])

    def applied(self, weights: Mapping[str, Tensor], h: Tensor) -> Tensor:
        """n modules in every row: (rows, samples, n, ..) of weights (rows, n, ..)."""
        if self.net.vmaps:
            each = vmap(vmap(self._one, in_dims=(0, None)))
            return each(dict(weights), h).transpose(1, 2)
        rows = []
        for row, own in enumerate(h):
            count = len(next(iter(weights.values()))[row])
            found = [
                self._one({name: weight[row, number] for name, weight in weights.items()}, own)
                for number in range(count)
            ]
            rows.append(torch.stack(found, dim=1))
        return torch.stack(rows)

    def _one(self, weights: dict[str, Tensor], h: Tensor) -> Tensor:
        return functional_call(self.prototype, weights, (h,))

    def features_of(self, h: Tensor) -> Tensor:
        """(rows, samples, features) of h (rows, samples, ..)."""
        return self.net.features(h.flatten(0, 1)).unflatten(0, h.shape[:2])

    def _tried(self) -> tuple[tuple[tuple[int, ...], ...], int]:
        """Two instances through all layers: what would go wrong in training does so now."""
        net, count = self.net, len(self.probe)
        h, inputs = _checked("entrance", net.entrance(self.probe), count), []
        for layer in range(net.layers):
            base, given = net.before(layer, h)
            _checked(f"before(layer={layer})", given, count)
            y = _checked("module", self.prototype(given), count)
            if y.shape != given.shape:
                raise _RefusedError(
                    f"its module turns {list(given.shape)} into {list(y.shape)}; it must keep "
                    "the shape, as any module may stand in any layer"
                )
            if isinstance(base, Tensor) and base.shape != given.shape:
                raise _RefusedError(
                    f"before(layer={layer}) gives a base of {list(base.shape)} and an input of "
                    f"{list(given.shape)}; they must have one shape"
                )
            inputs.append(tuple(given.shape[1:]))
            h = _checked(f"layer {layer}", base + y, count)
        if net.vmaps:
            self._try_vmap(given)
        features = _checked("features", net.features(h), count)
        if features.dim() != 2:
            raise _RefusedError(
                f"features() gives {list(features.shape)}; it must give (n, features)"
            )
        return tuple(inputs), features.shape[1]

    def _try_vmap(self, given: Tensor) -> None:
        weights = {name: each[None, None] for name, each in _learnt(self.prototype).items()}
        try:
            self.applied(weights, given[None])
        except Exception as error:
            raise _RefusedError(
                f"torch.func.vmap cannot compute its module ({reason_of(error)}); "
                "set vmaps = False on the net"
            ) from error


register_rebuilt(Own, lambda own: (own.spec, own.options, own.probe))


def load_own(spec: str, options: Mapping[str, Any], x: Tensor) -> Own:
    """The net that 'module:function' or 'file.py:function' makes of its options, tried with the
    first of the instances x (n, ..)."""
    try:
        named = json.dumps(dict(options), sort_keys=True)
    except TypeError as error:
        raise ConfigError(f"net_options: {reason_of(error)}; give plain values") from error
    return Own(spec, named, x)


@lru_cache(maxsize=8)  # a run asks for its net once for each population
def _made(spec: str, options: str) -> OwnNet:
    function = named_function("net", spec)
    with _blamed(spec):
        net = function(**json.loads(options))
        if not isinstance(net, OwnNet):
            raise _RefusedError(
                f"returned a {type(net).__name__}; return an understudy.share.nets.own.OwnNet"
            )
        if not isinstance(net.layers, int) or net.layers < 1:
            raise _RefusedError(f"layers={net.layers!r}; give a whole number of at least 1")
        return net


class _RefusedError(Exception):
    """What a net does that it must not."""


@contextmanager
def _blamed(spec: str) -> Iterator[None]:
    """Whatever the user's code raises is one line about it."""
    try:
        yield
    except _RefusedError as error:
        raise ConfigError(f"net {spec!r}: {error}") from error
    except UnderstudyError:
        raise
    except Exception as error:
        raise ConfigError(f"net {spec!r}: {reason_of(error)}") from error


def _learnt(module: nn.Module) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {
        name: each for name, each in module.named_parameters() if each.requires_grad
    }
    if not found:
        raise _RefusedError("its module has no parameters to learn")
    for name, weight in found.items():
        if weight.dtype != torch.float32:
            raise _RefusedError(f"its module's {name} is {weight.dtype}; use float32")
    return found


def _checked(what: str, found: Any, count: int) -> Tensor:
    if not isinstance(found, Tensor) or found.dtype != torch.float32:
        kind = found.dtype if isinstance(found, Tensor) else type(found).__name__
        raise _RefusedError(f"{what} gives {kind}; it must give a float32 tensor")
    if found.shape[:1] != (count,):
        raise _RefusedError(f"{what} gives {list(found.shape)} for {count} instances")
    if not bool(found.isfinite().all()):
        raise _RefusedError(f"{what} gives values that are not finite")
    return found
