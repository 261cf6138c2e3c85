"""The two apps of a Flower project: `server_app` goes through the moments, `client_app` is a node.

Flower sends to its makers what it is used for, and asks them for news, unless it is told not to;
here it is told not to, before it is imported.
"""

from __future__ import annotations

import os

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from understudy.errors import ConfigError
from understudy.files import write_json
from understudy.settings import resolve_settings
from understudy.share.flower.crew import Arrival, FlowerCrew
from understudy.share.flower.node import Node
from understudy.share.loop import run
from understudy.share.population import carriers_of, moments_of
from understudy.share.settings import ShareConfig
from understudy.share.summary import seed_record

_PULL_AGAIN = 0.2  # seconds between looks for answers
_LONGER = 10  # times the time to answer, for which a letter is kept
_BLOB, _HOLDS = "blob", "holds"  # records of a message


def settings_of(path: Path) -> ShareConfig:
    return resolve_settings(ShareConfig, {}, path, [])


def client_app(settings: Path) -> ClientApp:
    """A node of a run with these settings. Its node-config says partition-id, num-partitions and
    place, a folder for its agents' states."""
    app = ClientApp()

    def answer(message: Message, context: Context) -> Message:
        told, config = context.node_config, settings_of(settings)
        partition, partitions = _number(told, "partition-id"), _number(told, "num-partitions")
        if "place" not in told:
            raise ConfigError("node-config has no place: give it a folder for its agents' states")
        place = Path(str(told["place"])).expanduser() / f"run-{context.run_id}"
        node = Node(config, partition, partitions, place)
        return Message(_wrapped(node.answer(_unwrapped(message))), reply_to=message)

    def holds(message: Message, context: Context) -> Message:
        names = ("partition-id", "num-partitions")
        found = ConfigRecord({name: _number(context.node_config, name) for name in names})
        return Message(RecordDict({_HOLDS: found}), reply_to=message)

    app.query()(answer)
    app.query("holds")(holds)
    return app


def server_app(settings: Path) -> ServerApp:
    """Its run-config says nodes (how many), seconds (for an answer), wait (for all nodes to be
    there) and out (a file for the results)."""
    app = ServerApp()

    def main(grid: Grid, context: Context) -> None:
        config, told = settings_of(settings), context.run_config
        crew = flower_crew(
            grid,
            config,
            _number(told, "nodes"),
            float(told.get("seconds", 60)),
            float(told.get("wait", 300)),
        )
        carriers, started = carriers_of(config), time.monotonic()
        run(crew, carriers, moments_of(config))
        rows = zip(config.seeds, crew.reports(), crew.curves(), carriers, strict=True)
        result = {
            "settings": config.model_dump(mode="json"),
            "seeds": [seed_record(*row) for row in rows],
            "relay_bytes": dict(crew.relay_bytes),
            "events": {f"node {node}: {what}": n for (node, what), n in crew.events.items()},
            "seconds": time.monotonic() - started,
        }
        write_json(Path(str(told.get("out", "result.json"))).expanduser(), result)

    app.main()(main)
    return app


def flower_crew(
    grid: Grid, config: ShareConfig, nodes: int, seconds: float, patience: float
) -> FlowerCrew:
    return FlowerCrew(config, GridPost(grid), nodes, seconds, patience)


class GridPost:
    """Letters as messages of Flower, each with one blob."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._sent: dict[str, int] = {}  # the node of every letter that is not answered

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
            told = reply.content.get(_HOLDS, {})
            partition, count = told.get("partition-id"), told.get("num-partitions")
            if isinstance(partition, int) and isinstance(count, int):
                found[reply.metadata.src_node_id] = (partition, count)
        return found

    def exchange(self, letters: Mapping[int, bytes], seconds: float) -> Iterator[Arrival]:
        messages = [
            Message(_wrapped(letter), dst_node_id=node, message_type="query", ttl=_LONGER * seconds)
            for node, letter in letters.items()
        ]
        earlier = set(self._sent)
        names = list(self._grid.push_messages(messages)) if messages else []
        self._sent |= {name: node for name, node in zip(names, letters, strict=False) if name}
        end = time.monotonic() + seconds
        while True:
            for reply in self._grid.pull_messages(list(self._sent)) if self._sent else []:
                name = reply.metadata.reply_to_message_id
                node = self._sent.pop(name, None)
                if node is not None:
                    yield Arrival(node, _answer(reply), name in earlier)
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


def _number(told: Mapping[str, Any], name: str) -> int:
    value = told.get(name)
    if not isinstance(value, int) or value < 0:
        raise ConfigError(f"{name}={value}: give a whole number")
    return value
