"""One node: some of the agents, whose state lies in a file of the node's own.

Every letter may meet a new process, as Flower starts them, or a node that was away: an agent first
catches up, alone, on the moments that it missed, and what it would have sent then is left out.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from understudy.errors import UnderstudyError
from understudy.link.carrier import Inbox, Message
from understudy.share.agent import Agent
from understudy.share.crew import report_of
from understudy.share.engine import grant
from understudy.share.flower.letters import (
    Letter,
    Pair,
    Told,
    letter_of,
    pairs_of,
    refusal,
    written,
)
from understudy.share.instances import load_instances
from understudy.share.partition import Instances
from understudy.share.population import begin_alike, populations_of
from understudy.share.saved import load_states, save_states
from understudy.share.settings import ShareConfig


class Node:
    """place: a folder of its own, for one run."""

    def __init__(self, config: ShareConfig, partition: int, partitions: int, place: Path) -> None:
        self.config, self.place = config, place
        self.pairs = pairs_of(partition, partitions, len(config.seeds), config.agents)
        self._file = place / "states.safetensors"

    def answer(self, blob: bytes) -> bytes:
        """What goes wrong is answered too, and changes nothing here: the file is written last."""
        moment = -1
        try:
            letter = letter_of(blob)
            moment = letter[0]
            with self._alone():
                return self._answered(letter)
        except UnderstudyError as error:
            return refusal(moment, error)
        except Exception as error:
            return refusal(moment, f"{type(error).__name__}: {error}")

    def _answered(self, letter: Letter) -> bytes:
        now, heard, asked = letter
        kept = load_states(self._file) if self._file.exists() else None
        done = -1 if kept is None else kept["moment"]
        if done >= now:
            return refusal(now, "answered before")
        if done < heard:
            return refusal(now, "its state is lost")
        torch.set_num_threads(1)  # more would add in another order
        agents = self._agents(None if kept is None else kept["agents"])
        last = self._caught_up(agents, letter, done)
        told: list[Told] = []
        for pair, _, _, known in asked:
            agent = agents[pair]
            told.append((pair, last[pair], agent.curve[known:], report_of(agent)))
        states = {pair: agent.state() for pair, agent in agents.items()}
        part = self._file.with_suffix(".part")
        save_states(part, {"moment": now, "agents": states})
        part.replace(self._file)
        return written((now, "", told))

    def _agents(self, states: Mapping[Pair, dict[str, Any]] | None) -> dict[Pair, Agent]:
        """As they were; without states, as they begin."""
        data: Instances = load_instances(self.config.data, self.config.data_options)
        populations = populations_of(self.config, data)
        agents = {(p, a): populations[p][a] for p, a in self.pairs}
        if states is None:
            own = [[a for (p, _), a in agents.items() if p == n] for n in range(len(populations))]
            begin_alike(self.config, own)
        else:
            for pair, agent in agents.items():
                agent.restore(states[pair])
        return agents

    def _caught_up(
        self, agents: Mapping[Pair, Agent], letter: Letter, done: int
    ) -> dict[Pair, list[Message]]:
        """Take every step that is owed; what each agent sends at this moment."""
        now, _, asked = letter
        steps: dict[int, list[tuple[Pair, Any]]] = {}
        for pair, owed, inbox, _ in asked:
            for moment, tick in owed:
                if moment > done:
                    found = inbox if moment == now else Inbox()
                    steps.setdefault(moment, []).append((pair, (tick, found)))
        sent: dict[Pair, list[Message]] = {pair: [] for pair, *_ in asked}
        for moment, row in sorted(steps.items()):
            outboxes = grant([agents[pair].step(*each) for pair, each in row])
            if moment == now:
                sent |= {pair: list(box) for (pair, _), box in zip(row, outboxes, strict=True)}
        return sent

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """A letter that comes while an older one is still answered waits for it."""
        self.place.mkdir(parents=True, exist_ok=True)
        with (self.place / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
