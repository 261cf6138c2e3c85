"""Weights as they may leave a client: a bounded and noisy change of what the server knows already.

Known are the weights that all begin with, then what the server sent last or was sent. The noise is
drawn by the seed of the run: whoever knows the seed can subtract it, so this is no accounted
guarantee.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from understudy.actors.generators import generator_of
from understudy.federate.methods.method import Arrays, Method
from understudy.federate.methods.settings import Guard
from understudy.objectives.privacy import hidden

_CHANGE = 50  # what a draw is for


class GuardedWeights:
    """Of one client. known: by kind of message; empty, where nothing is bounded."""

    def __init__(self, settings: Guard, method: Method) -> None:
        self.settings, self.seed = settings, method.own.seed
        self.known: dict[str, dict[str, Tensor]] = {}
        if settings.clip is not None:
            begun = method.upload(0).items()
            self.known = {kind: dict(each) for kind, each in begun if kind in method.returned}

    def took(self, kind: str, arrays: Arrays) -> None:
        """What the server sent."""
        if kind in self.known:
            self.known[kind] = dict(arrays)

    def leaving(self, kinds: Mapping[str, Arrays], round_: int) -> Mapping[str, Arrays]:
        """A round's upload as it may leave."""
        clip = self.settings.clip
        if clip is None:
            return kinds
        found = dict(kinds)
        for place, (kind, known) in enumerate(self.known.items()):
            changes = [kinds[kind][name] - each for name, each in known.items()]
            random = generator_of(self.seed, _CHANGE, round_, place)
            left = hidden(changes, clip, self.settings.noise, random)
            sent = {n: each + c for (n, each), c in zip(known.items(), left, strict=True)}
            found[kind] = self.known[kind] = sent
        return found
