"""One node: some of the actors, whose state lies in a file of the node's own.

Every request may meet a new process, as Flower starts them, or a node that was away: an actor first
catches up, alone, on the moments that it missed, and what it would have sent then is left out.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from understudy.actors.actor import Actor, Address
from understudy.actors.factory import Factory, parts_of
from understudy.actors.flower.exchange import StepRequest, Taken, refusal, request_of, written
from understudy.actors.jobs import run_steps
from understudy.actors.saved import load_states, save_states
from understudy.errors import UnderstudyError
from understudy.link.carrier import Inbox, Message


class Node:
    """place: a folder of its own, for one run. pinned: as the relay has it."""

    def __init__(
        self,
        factory: Factory,
        partition: int,
        partitions: int,
        place: Path,
        pinned: Mapping[Address, int] | None = None,
    ) -> None:
        self.factory, self.place = factory, place
        self.addresses = parts_of(factory.sizes, partitions, pinned)[0][partition]
        self._file = place / "states.safetensors"

    def answer(self, blob: bytes) -> bytes:
        """What goes wrong is answered too, and changes nothing here: the file is written last."""
        moment = -1
        try:
            request = request_of(blob)
            moment = request[0]
            with self._alone():
                return self._answered(request)
        except UnderstudyError as error:
            return refusal(moment, error)
        except Exception as error:
            return refusal(moment, f"{type(error).__name__}: {error}")

    def _answered(self, request: StepRequest) -> bytes:
        now, last_answered, asked = request
        kept = load_states(self._file) if self._file.exists() else None
        done = -1 if kept is None else kept["moment"]
        if done >= now:
            return refusal(now, "answered before")
        if done < last_answered:
            return refusal(now, "its state is lost")
        torch.set_num_threads(1)  # more would add in another order
        actors = self._actors(None if kept is None else kept["actors"])
        last = self._caught_up(actors, request, done)
        taken: list[Taken] = []
        for address, _, _, known in asked:
            actor = actors[address]
            taken.append((address, last[address], actor.log[known:], actor.report()))
        states = {address: actor.state() for address, actor in actors.items()}
        part = self._file.with_suffix(".part")
        save_states(part, {"moment": now, "actors": states})
        part.replace(self._file)
        return written((now, "", taken))

    def _actors(self, states: Mapping[Address, dict[str, Any]] | None) -> dict[Address, Actor]:
        """This node's, as they were; without states, as they begin."""
        kept = None if states is None else [states[address] for address in self.addresses]
        made = self.factory.make(self.addresses, kept)
        return dict(zip(self.addresses, made, strict=True))

    def _caught_up(
        self, actors: Mapping[Address, Actor], request: StepRequest, done: int
    ) -> dict[Address, list[Message]]:
        """Take every step that is owed; what each actor sends at this moment."""
        now, _, asked = request
        steps: dict[int, list[tuple[Address, Any]]] = {}
        for address, owed, inbox, _ in asked:
            for moment, tick in owed:
                if moment > done:
                    found = inbox if moment == now else Inbox()
                    steps.setdefault(moment, []).append((address, (tick, found)))
        sent: dict[Address, list[Message]] = {address: [] for address, *_ in asked}
        for moment, row in sorted(steps.items()):
            outboxes = run_steps([actors[address].step(*each) for address, each in row])
            if moment == now:
                sent |= {address: box for (address, _), box in zip(row, outboxes, strict=True)}
        return sent

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """A request that comes while an older one is still answered waits for it."""
        self.place.mkdir(parents=True, exist_ok=True)
        with (self.place / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
