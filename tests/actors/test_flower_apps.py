"""The two apps, with Flower's own messages, handed over in this process."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from tests.actors.same import same
from understudy.actors.crew import Together
from understudy.actors.loop import run
from understudy.actors.saved import load_states
from understudy.share.clock import moments_of
from understudy.share.population import begin_in_common, carriers_of, populations_of
from understudy.share.settings import ShareConfig
from understudy.tasks.instance_sets import load_instances

pytest.importorskip("flwr")

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from understudy.actors.flower.apps import GridTransport
from understudy.share.flower import client_app, server_app

SETTINGS: dict[str, Any] = {
    "data_options": {"per_class": 50},
    "agents": 2,
    "tasks": 6,
    "learner": "monolithic",
    "epochs": 2,
    "train_per_class": 8,
    "validation_per_class": 8,
    "evaluate_every": 2,
    "width": 8,
    "share_parameters": {"mode": "fedavg", "every": 2},
}
RUN = 5


class FakeGrid(Grid):  # type: ignore[misc]
    """Both nodes are in this process. slow: a node whose answers wait for the next request."""

    def __init__(self, settings: Path, place: Path) -> None:
        self.client, self.place = client_app(settings), place
        self.answers: dict[str, Message] = {}
        self.slow: set[int] = set()

    def set_run(self, run: Any) -> None: ...

    @property
    def run(self) -> Any:
        return None

    def create_message(self, *given: Any, **named: Any) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return [100, 101]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        self.slow = set()
        return [self._handed(message) for message in messages]

    def _handed(self, message: Message) -> str:
        node, name = message.metadata.dst_node_id, uuid4().hex
        message.metadata.__dict__["_message_id"] = name
        said = {
            "partition-id": node - 100,
            "num-partitions": 2,
            "place": str(self.place / str(node)),
        }
        context = Context(RUN, node, said, RecordDict(), {})
        self.answers[name] = self.client(message, context)
        return name

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        ready = [name for name in message_ids if self._node(name) not in self.slow]
        return [self.answers.pop(name) for name in ready if name in self.answers]

    def _node(self, name: str) -> int:
        node: int = self.answers[name].metadata.src_node_id
        return node

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        return self.pull_messages(self.push_messages(messages))


@pytest.fixture
def grid(tmp_path: Path) -> FakeGrid:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, RUN, 1  # as Flower does
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump(SETTINGS))
    return FakeGrid(settings, tmp_path)


def test_the_apps_give_the_numbers_of_one_process(grid: FakeGrid, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    said = {"nodes": 2, "seconds": 60.0, "wait": 60.0, "out": str(out)}
    server_app(tmp_path / "settings.yaml")(grid, Context(RUN, 0, {}, RecordDict(), said))
    result, config = json.loads(out.read_text()), ShareConfig(**SETTINGS)
    data = load_instances(config.data, config.data_options)
    populations, carriers = populations_of(config, data), carriers_of(config)
    begin_in_common([agent for row in populations for agent in row])
    run(Together(populations), carriers, moments_of(config))
    found: dict[tuple[int, int], Any] = {}
    for path in tmp_path.glob(f"*/run-{RUN}/states.safetensors"):
        found |= load_states(path)["actors"]
    assert same(
        [found[0, number] for number in range(2)], [agent.state() for agent in populations[0]]
    )
    assert result["events"] == {}
    crossed = sum(carriers[0].totals().bytes.values())
    assert min(result["relay_bytes"].values()) > crossed > 0


def test_a_request_is_answered_late_or_with_an_error(grid: FakeGrid) -> None:
    transport = GridTransport(grid)
    assert transport.partitions([100, 101], 1.0) == {100: (0, 2), 101: (1, 2)}
    push = grid.push_messages

    def slowly(messages: Iterable[Message]) -> Iterable[str]:
        names = push(messages)
        grid.slow = {101}
        return names

    grid.push_messages = slowly  # type: ignore[method-assign]
    started = time.monotonic()
    first = list(transport.exchange({100: b"?", 101: b"?"}, 0.5))
    assert time.monotonic() - started >= 0.5
    assert [(each.node, each.late) for each in first] == [(100, False)]
    grid.push_messages = push  # type: ignore[method-assign]
    again = {(each.node, each.late) for each in transport.exchange({100: b"?", 101: b"?"}, 5.0)}
    assert again == {(100, False), (101, True), (101, False)}
    assert all(each.answer for each in first)


def test_a_message_without_a_blob_is_refused_as_unreadable(grid: FakeGrid) -> None:
    record = RecordDict({"blob": ConfigRecord({"blob": 3})})
    message = Message(record, dst_node_id=100, message_type="query")
    (reply,) = grid.send_and_receive([message])
    assert not reply.has_error()
