"""The two apps of a Flower project: `server_app` is the relay, `client_app` is a node.

Flower reports its use to its makers and looks for updates by default; both are switched off here,
before it is imported.
"""

from __future__ import annotations

import os

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from understudy.actors.actor import Address
from understudy.actors.factory import Factory
from understudy.actors.flower.crew import FlowerCrew, NodeAnswer
from understudy.actors.flower.node import Node
from understudy.errors import ConfigError
from understudy.files import write_json

_PULL_AGAIN = 0.2  # seconds between looks for answers
_LONGER = 10  # times the time to answer, for which a request is kept
_BLOB, _HOLDS = "blob", "holds"  # records of a message


def client_app(
    factory_of: Callable[[], Factory], pinned: Mapping[Address, int] | None = None
) -> ClientApp:
    """A node of a run with the actors of this factory. Its node-config says partition-id,
    num-partitions and place, a folder for its actors' states."""
    app = ClientApp()

    def answer(message: Message, context: Context) -> Message:
        said = context.node_config
        partition, partitions = _number(said, "partition-id"), _number(said, "num-partitions")
        if "place" not in said:
            raise ConfigError("node-config has no place: give it a folder for its actors' states")
        place = Path(str(said["place"])).expanduser() / f"run-{context.run_id}"
        node = Node(factory_of(), partition, partitions, place, pinned)
        return Message(_wrapped(node.answer(_unwrapped(message))), reply_to=message)

    def holds(message: Message, context: Context) -> Message:
        names = ("partition-id", "num-partitions")
        found = ConfigRecord({name: _number(context.node_config, name) for name in names})
        return Message(RecordDict({_HOLDS: found}), reply_to=message)

    app.query()(answer)
    app.query("holds")(holds)
    return app


def server_app(
    factory_of: Callable[[], Factory],
    run: Callable[[FlowerCrew], dict[str, Any]],
    pinned: Mapping[Address, int] | None = None,
) -> ServerApp:
    """The relay. run: takes a crew through its moments and gives results, which are written.

    Its run-config says nodes (how many), seconds (for an answer), wait (for all nodes to be there)
    and out (a file for the results)."""
    app = ServerApp()

    def main(grid: Grid, context: Context) -> None:
        said = context.run_config
        crew = FlowerCrew(
            factory_of(),
            GridTransport(grid),
            _number(said, "nodes"),
            float(said.get("seconds", 60)),
            float(said.get("wait", 300)),
            pinned,
        )
        started = time.monotonic()
        result = run(crew) | {
            "relay_bytes": dict(crew.relay_bytes),
            "events": {f"node {node}: {what}": n for (node, what), n in crew.events.items()},
            "seconds": time.monotonic() - started,
        }
        write_json(Path(str(said.get("out", "result.json"))).expanduser(), result)

    app.main()(main)
    return app


class GridTransport:
    """Requests as messages of Flower, each with one blob."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._sent: dict[str, int] = {}  # the node of every request that is not answered

    def nodes(self) -> list[int]:
        return list(self._grid.get_node_ids())

    def partitions(self, nodes: Sequence[int], seconds: float) -> Mapping[int, tuple[int, int]]:
        asked = [
            Message(RecordDict(), dst_node_id=node, message_type="query.holds", ttl=seconds)
            for node in nodes
        ]
        found = {}
        for reply in self._grid.send_and_receive(asked, timeout=seconds):
            if reply.has_error():
                continue
            said = reply.content.get(_HOLDS, {})
            partition, count = said.get("partition-id"), said.get("num-partitions")
            if isinstance(partition, int) and isinstance(count, int):
                found[reply.metadata.src_node_id] = (partition, count)
        return found

    def exchange(self, requests: Mapping[int, bytes], seconds: float) -> Iterator[NodeAnswer]:
        messages = [
            Message(_wrapped(blob), dst_node_id=node, message_type="query", ttl=_LONGER * seconds)
            for node, blob in requests.items()
        ]
        earlier = set(self._sent)
        names = list(self._grid.push_messages(messages)) if messages else []
        self._sent |= {name: node for name, node in zip(names, requests, strict=False) if name}
        end = time.monotonic() + seconds
        while True:
            for reply in self._grid.pull_messages(list(self._sent)) if self._sent else []:
                name = reply.metadata.reply_to_message_id
                node = self._sent.pop(name, None)
                if node is not None:
                    yield NodeAnswer(node, _answer(reply), name in earlier)
            if set(self._sent) <= earlier or time.monotonic() > end:
                return
            time.sleep(_PULL_AGAIN)


def _answer(reply: Message) -> bytes | None:
    return None if reply.has_error() else _unwrapped(reply)


def _wrapped(blob: bytes) -> RecordDict:
    array = Array(dtype="uint8", shape=(len(blob),), stype="safetensors", data=blob)
    return RecordDict({_BLOB: ArrayRecord({_BLOB: array})})


def _unwrapped(message: Message) -> bytes:
    """The blob of a message; of any other message nothing."""
    record = message.content.get(_BLOB)
    array = record.get(_BLOB) if isinstance(record, ArrayRecord) else None
    return array.data if isinstance(array, Array) else b""


def _number(said: Mapping[str, Any], name: str) -> int:
    value = said.get(name)
    if not isinstance(value, int) or value < 0:
        raise ConfigError(f"{name}={value}: give a whole number")
    return value
