"""Agents on nodes: the same numbers as in one process, and what happens when a node is away, late,
wrong or back again. The nodes are real, their requests are handed over here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.actors.same import same
from understudy.actors.crew import Together
from understudy.actors.flower.crew import FlowerCrew, NodeAnswer
from understudy.actors.flower.exchange import answer_of, request_of, written
from understudy.actors.flower.node import Node
from understudy.actors.loop import run
from understudy.actors.saved import load_states
from understudy.errors import RunError
from understudy.link.carrier import Carrier, Message
from understudy.share.agent import Agent
from understudy.share.clock import moments_of
from understudy.share.population import Agents, begin_in_common, carriers_of, populations_of
from understudy.share.settings import ShareConfig
from understudy.tasks.instance_sets import load_instances

CONFIG = ShareConfig(
    data_options={"per_class": 50},
    agents=3,
    tasks=6,
    learner="monolithic",
    epochs=2,
    train_per_class=8,
    validation_per_class=8,
    evaluate_every=1,
    width=8,
    share_parameters={"mode": "fedavg", "every": 1},  # type: ignore[arg-type]
)
PARTITIONS = 2  # the first holds the agents 0 and 2, the second agent 1

Fault = Callable[[int, bytes], bytes | None]  # (moment, answer): what arrives of it; None: late


class FakeTransport:
    """Hands requests to nodes. faults: by node, what becomes of its answers; away: by node, the
    moments at which it is not there."""

    def __init__(self, place: Path, partitions: int = PARTITIONS) -> None:
        self.holds = {10 + number: (number, partitions) for number in range(partitions)}
        self.at = {
            node: Node(Agents(CONFIG), number, count, place / str(number))
            for node, (number, count) in self.holds.items()
        }
        self.faults: dict[int, Fault] = {}
        self.away: dict[int, range] = {}
        self.moment = 0
        self.late: list[tuple[int, bytes]] = []

    def nodes(self) -> Iterable[int]:
        return [node for node in self.holds if self.moment not in self.away.get(node, ())]

    def partitions(self, nodes: Sequence[int], seconds: float) -> Mapping[int, tuple[int, int]]:
        return {node: self.holds[node] for node in nodes}

    def exchange(self, requests: Mapping[int, bytes], seconds: float) -> Iterator[NodeAnswer]:
        for node, blob in self.late:
            yield NodeAnswer(node, blob, late=True)
        self.late = []
        for node, request in requests.items():
            answer: bytes | None = self.at[node].answer(request)
            assert answer is not None
            if node in self.faults:
                late, answer = answer, self.faults[node](self.moment, answer)
                if answer is None:
                    self.late.append((node, late))
                    continue
            yield NodeAnswer(node, answer, late=False)
        self.moment += 1

    def rejoins(self, node: int, as_: int) -> None:
        self.holds[as_], self.at[as_] = self.holds[node], self.at[node]


def ran(transport: FakeTransport) -> tuple[FlowerCrew, list[Carrier]]:
    crew, carriers = (
        FlowerCrew(Agents(CONFIG), transport, PARTITIONS, 1.0, 0.0),
        carriers_of(CONFIG),
    )
    run(crew, carriers, moments_of(CONFIG))
    return crew, carriers


def states_in(place: Path) -> list[dict[str, Any]]:
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for number in range(PARTITIONS):
        found |= load_states(place / str(number) / "states.safetensors")["actors"]
    return [found[0, agent] for agent in range(CONFIG.agents)]


def sound(place: Path) -> bool:
    learners = [state["learner"] for state in states_in(place)]
    return all(bool(w.isfinite().all()) for each in learners for w in each.weights.values())


def together() -> tuple[list[Agent], list[Carrier]]:
    data = load_instances(CONFIG.data, CONFIG.data_options)
    populations, carriers = populations_of(CONFIG, data), carriers_of(CONFIG)
    begin_in_common([agent for row in populations for agent in row])
    run(Together(populations), carriers, moments_of(CONFIG))
    return populations[0], carriers


def test_nodes_that_answer_give_the_numbers_of_one_process(tmp_path: Path) -> None:
    crew, carriers = ran(FakeTransport(tmp_path))
    agents, others = together()
    assert same(states_in(tmp_path), [agent.state() for agent in agents])
    assert same(crew.logs(), [[agent.curve for agent in agents]])
    assert crew.reports() == Together([agents]).reports()
    assert carriers[0].totals() == others[0].totals()
    assert crew.events == {}
    crossed = sum(carriers[0].totals().bytes.values())
    assert crew.relay_bytes["to nodes"] > crossed > 0
    assert crew.relay_bytes["from nodes"] > crossed / 2  # what goes to both neighbours, once
    with pytest.raises(RunError, match="stay with their nodes"):
        crew.states()


def points(crew: FlowerCrew) -> list[list[tuple[int, int]]]:
    return [[point[:2] for point in curve] for curve in crew.logs()[0]]


EVERY_POINT = [(task, epoch) for task in range(6) for epoch in range(3)]


def test_a_node_that_was_away_catches_up_from_its_own_file(tmp_path: Path) -> None:
    """Away over the end of a task; it comes back under another number."""
    transport = FakeTransport(tmp_path)
    transport.away = {11: range(2, 99), 21: range(6)}
    transport.rejoins(11, as_=21)
    crew, _ = ran(transport)
    assert crew.events == {(1, "away"): 4, (1, "another node took its place"): 1}
    assert points(crew) == [EVERY_POINT] * 3
    assert sound(tmp_path)
    assert [crew.events_of((0, agent)).get("away") for agent in range(3)] == [None, 4, None]


def test_a_node_that_lost_its_file_is_gone_on_without(tmp_path: Path) -> None:
    transport = FakeTransport(tmp_path)
    transport.away = {11: range(2, 99), 21: range(6)}
    transport.rejoins(11, as_=21)
    transport.at[21] = Node(Agents(CONFIG), 1, PARTITIONS, tmp_path / "elsewhere")
    crew, _ = ran(transport)
    assert crew.events[1, "refused: its state is lost"] == 2
    assert points(crew)[0] == EVERY_POINT
    assert points(crew)[1] == [*EVERY_POINT[:12], (4, 0), (4, 1)]


def test_late_and_stale_answers_are_dropped_and_their_agent_goes_on(tmp_path: Path) -> None:
    transport, kept = FakeTransport(tmp_path), []

    def fault(moment: int, answer: bytes) -> bytes | None:
        kept.append(answer)
        if moment == 2:
            return None
        return kept[3] if moment == 5 else answer

    transport.faults[11] = fault
    crew, _ = ran(transport)
    assert crew.events == {
        (1, "no answer in time"): 1,
        (1, "late answer"): 1,
        (1, "answer of another moment"): 1,
    }
    assert points(crew) == [EVERY_POINT] * 3
    assert sound(tmp_path)


def changed(answer: bytes, change: Callable[[Message], Message]) -> bytes:
    moment, reason, told = answer_of(answer)
    return written((moment, reason, [(w, [change(m) for m in out], p, r) for w, out, p, r in told]))


def poisoned(message: Message, shape: bool) -> Message:
    parcel = message.parcels[0]
    arrays = {
        name: array[:1] if shape else torch.full_like(array, torch.nan)
        for name, array in parcel.arrays.items()
    }
    return replace(message, parcels=(replace(parcel, arrays=arrays),))


CHANGES: dict[int, Callable[[Message], Message]] = {  # by moment, of the four in which they send
    0: lambda message: poisoned(message, shape=False),
    2: lambda message: poisoned(message, shape=True),
    4: lambda message: replace(message, kind="orders", parcels=()),
    6: lambda message: replace(message, sender=0) if message.receiver else message,
}


def test_what_a_wrong_node_sends_poisons_no_other(tmp_path: Path) -> None:
    transport = FakeTransport(tmp_path)
    transport.faults[11] = lambda moment, answer: changed(
        answer, CHANGES.get(moment, lambda message: message)
    )
    crew, _ = ran(transport)
    assert crew.events == {(1, "message not its own"): 2 + 1}
    reports = crew.reports()[0]
    for what in ("not finite: parameters", "other shapes: parameters"):
        assert [report.events.get(what) for report in reports] == [1, None, 1]
    assert sound(tmp_path)


NO_ANSWERS = {
    1: b"nothing of ours",
    3: written((3, "", [])),
    5: written((5, "no room", [])),
}


def test_what_is_no_answer_is_noted_and_asked_for_again(tmp_path: Path) -> None:
    transport = FakeTransport(tmp_path)
    transport.faults[10] = lambda moment, answer: NO_ANSWERS.get(moment, answer)
    crew, _ = ran(transport)
    assert crew.events == {
        (0, "unreadable answer"): 1,
        (0, "answer for other actors"): 1,
        (0, "refused: no room"): 1,
    }
    assert points(crew) == [EVERY_POINT] * 3


def test_too_few_nodes_are_said(tmp_path: Path) -> None:
    transport = FakeTransport(tmp_path)
    transport.away = {11: range(99)}
    with pytest.raises(RunError, match="1 of 2 nodes are there"):
        FlowerCrew(Agents(CONFIG), transport, PARTITIONS, 1.0, 0.0)


def test_a_node_refuses_what_it_cannot_read_and_what_it_has_done(tmp_path: Path) -> None:
    transport, seen = FakeTransport(tmp_path), []
    node = transport.at[10]
    assert answer_of(node.answer(b"?"))[:1] == (-1,)

    class Ear:
        def answer(self, blob: bytes) -> bytes:
            seen.append(blob)
            return node.answer(blob)

    transport.at[10] = Ear()  # type: ignore[assignment]
    ran(transport)
    before = (tmp_path / "0" / "states.safetensors").read_bytes()
    assert answer_of(node.answer(seen[-1])) == (7, "answered before", [])
    now, _, asked = request_of(seen[-1])
    wrong = written((now + 1, now, [((0, 5), asked[0][1], asked[0][2], 0)]))
    assert "KeyError" in answer_of(node.answer(wrong))[1]
    assert (tmp_path / "0" / "states.safetensors").read_bytes() == before
