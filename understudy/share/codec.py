"""What an agent sends is guarded and made smaller; what arrives is made whole again.

    leaving:  clip and add noise (privacy)
              weights: only the places that changed most since this neighbour last got them (top)
              16 or 8 bits for every number (precision)
    arrived:  the same, backwards

Weights are sent as they are now, not as differences, and only what is known to have arrived counts:
what was in a message that is lost, late or superseded is sent again later. A neighbour to which
nothing has arrived yet is sent everything. Weights of 8 bits are rounded at random, so that the
errors of many agents cancel; instances to the nearest, so that one that comes twice is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from understudy.actors.generators import generator_of
from understudy.link.carrier import Inbox, Message, Outcome, Parcel
from understudy.link.compression import (
    dequantised,
    largest_changes,
    packed_places,
    quantised,
    replaced,
    unpacked_places,
)
from understudy.share.learner import Learner
from understudy.share.privacy import guarded
from understudy.share.settings import ShareConfig

_WEIGHTS = "parameters"  # the kind of message that is sent again and again
_EXACT = {"structure", "similarity", "worth"}  # few numbers, which decide
_NOISE, _ROUNDING = 50, 51  # what a draw is for
_KEPT = 3  # messages to a neighbour of which nothing is known yet; more are lost

Arrays = dict[str, Tensor]


class Memory(TypedDict):
    """What an agent remembers of its links."""

    draws: int  # made so far
    published: Arrays  # its weights as all may know them: as they began, or were last sent
    sent: dict[int, dict[int, Arrays]]  # by receiver and round, packed: not known to have arrived
    arrived: dict[int, Arrays]  # by receiver: what it has of this agent's weights
    received: dict[int, Arrays]  # by sender: what this agent has of its weights


class Codec:
    def __init__(self, config: ShareConfig, seed: int) -> None:
        self.messages, self.privacy = config.messages, config.privacy
        self.seed = seed
        self.memory: Memory = {
            "draws": 0,
            "published": {},
            "sent": {},
            "arrived": {},
            "received": {},
        }

    @property
    def _guards(self) -> bool:
        return self.privacy.clip is not None or self.privacy.clip_instances is not None

    @property
    def _packs(self) -> bool:
        return self.messages.precision != "float32" or self.messages.top is not None

    def decoded(
        self, inbox: Inbox, learner: Learner, note: Callable[[str, Message], None]
    ) -> Sequence[Message]:
        """The messages as they were before they were packed; what does not unpack is noted."""
        if self.privacy.clip is not None and not self.memory["published"]:
            self.memory["published"] = {
                name: learner.weights[name][: learner.first].clone()
                for name in learner.named("modules")
            }
        if not self._packs:
            return inbox.messages
        for outcome in inbox.outcomes:
            self._learn_fate(outcome)
        messages = []
        for message in inbox.messages:
            parcels = [self._unpacked(message, parcel) for parcel in message.parcels]
            whole = tuple(parcel for parcel in parcels if parcel is not None)
            if len(whole) == len(parcels):
                messages.append(replace(message, parcels=whole))
            else:
                note("not unpacked", message)
        return messages

    def encoded(self, messages: Sequence[Message]) -> list[Message]:
        """The messages as they cross; what goes to several neighbours is guarded once for all."""
        if not (self._guards or self._packs):
            return list(messages)
        ready: dict[int, Parcel] = {}  # by identity of the parcel as it was
        packed: dict[int, Parcel] = {}
        result = []
        for message in messages:
            parcels = []
            for parcel in message.parcels:
                one = id(parcel)
                if one not in ready:
                    ready[one] = self._guarded(parcel, message.kind)
                if self.messages.top is not None and message.kind == _WEIGHTS:
                    parcels.append(self._changes(ready[one], message))
                    continue
                if one not in packed:
                    packed[one] = self._packed(ready[one], message.kind)
                parcels.append(packed[one])
            result.append(replace(message, parcels=tuple(parcels)))
        return result

    def _generator(self, purpose: int) -> np.random.Generator:
        """A generator for one parcel."""
        self.memory["draws"] += 1
        return generator_of(self.seed, purpose, self.memory["draws"])

    # Packing

    def _guarded(self, parcel: Parcel, kind: str) -> Parcel:
        if not self._guards:
            return parcel
        return guarded(
            parcel, kind, self.privacy, self.memory["published"], self._generator(_NOISE)
        )

    def _packed(self, parcel: Parcel, kind: str) -> Parcel:
        if not self._packs:
            return parcel
        random = None if "x" in parcel.arrays else self._generator(_ROUNDING)
        arrays: Arrays = {}
        for name, array in parcel.arrays.items():
            arrays |= self._small(name, array, random)
        return _priced(parcel, arrays)

    def _changes(self, parcel: Parcel, message: Message) -> Parcel:
        """The entries that changed most since the receiver last got some; all, if it never did."""
        assert self.messages.top is not None
        known = self.memory["arrived"].get(message.receiver, {})
        random = self._generator(_ROUNDING)
        arrays: Arrays = {}
        for name, array in parcel.arrays.items():
            if name in known and array.numel():
                places = largest_changes(array, known[name], self.messages.top)
                arrays[f"{name}|places"] = packed_places(places, array.numel())
                arrays |= self._small(name, array.flatten()[places], random)
            else:
                arrays |= self._small(name, array, random)
        sent = self.memory["sent"].setdefault(message.receiver, {})
        sent[message.round] = arrays
        for old in sorted(sent)[:-_KEPT]:
            del sent[old]
        return _priced(parcel, arrays)

    def _small(self, name: str, array: Tensor, random: np.random.Generator | None) -> Arrays:
        """An array in the precision set; as it is where that would be no smaller."""
        precision = self.messages.precision
        if precision == "float32" or name in _EXACT or not array.is_floating_point():
            return {name: array}
        if precision == "float16":
            return {name: array.half()}
        rows = len(array) if array.dim() > 1 else 1
        if array.numel() + 8 * rows >= 4 * array.numel():
            return {name: array}
        codes, low, step = quantised(array, random)
        return {f"{name}|codes": codes, f"{name}|low": low, f"{name}|step": step}

    # Unpacking

    def _unpacked(self, message: Message, parcel: Parcel) -> Parcel | None:
        sparse = self.messages.top is not None and message.kind == _WEIGHTS
        before = self.memory["received"].get(message.sender, {}) if sparse else {}
        arrays = unpacked(parcel.arrays, before)
        if arrays is None:
            return None
        if sparse:
            self.memory["received"][message.sender] = arrays
        return Parcel(arrays, parcel.floats)

    def _learn_fate(self, outcome: Outcome) -> None:
        """What arrived is what the receiver now has; what gave way or found no edge is not."""
        sent = self.memory["sent"].get(outcome.receiver, {})
        if outcome.kind != _WEIGHTS or outcome.round not in sent or outcome.fate == "waits":
            return
        arrays = sent.pop(outcome.round)
        if outcome.fate == "arrives":
            known = self.memory["arrived"]
            found = unpacked(arrays, known.get(outcome.receiver, {}))
            assert found is not None
            known[outcome.receiver] = found
            for old in [round_ for round_ in sent if round_ < outcome.round]:
                del sent[old]  # lost on the way: an edge keeps the order


def _priced(parcel: Parcel, arrays: Arrays) -> Parcel:
    """What is packed counts as many floats as it takes of the bytes, rounded up."""
    packed = Parcel(arrays, 0)
    if not parcel.bytes:
        return parcel
    return Parcel(arrays, -(-parcel.floats * packed.bytes // parcel.bytes))


def unpacked(arrays: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> Arrays | None:
    """Arrays as they were before they were packed; None where the parts do not fit together.
    before: what sparse ones are changes of."""
    parts: dict[str, Arrays] = {}
    for key, array in arrays.items():
        name, _, part = key.partition("|")
        parts.setdefault(name, {})[part] = array
    result = {}
    for name, own in parts.items():
        value = _dense(own) if "" in own or "codes" in own else None
        if value is not None and "places" in own:
            value = _filled_in(own["places"], value, before.get(name))
        if value is None:
            return None
        result[name] = value
    return result


def _dense(parts: Arrays) -> Tensor | None:
    if "" in parts:
        value = parts[""]
        return value.float() if value.dtype == torch.float16 else value
    codes, low, step = parts["codes"], parts.get("low"), parts.get("step")
    rows = (len(codes) if codes.dim() > 1 else 1,)
    if low is None or step is None or not low.shape == step.shape == rows or not codes.numel():
        return None
    return dequantised(codes, low, step)


def _filled_in(places: Tensor, values: Tensor, before: Tensor | None) -> Tensor | None:
    if before is None or places.dtype not in (torch.int32, torch.uint8) or places.dim() != 1:
        return None
    found = unpacked_places(places, before.numel())
    if values.shape != found.shape:
        return None
    if len(found) and not 0 <= int(found.min()) <= int(found.max()) < before.numel():
        return None
    return replaced(before, found, values)
