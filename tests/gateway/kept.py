"""A store in a file: keys, and completions that two of them asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.store.database import Database, open_database, open_events
from understudy.store.events import Event, EventWriter
from understudy.store.feedback import EventStore
from understudy.store.keys import Keys

ASKED = {"role": "user", "content": "one two"}


@dataclass
class Kept:
    keys: Keys
    events: EventStore
    writer: EventWriter
    database: Database  # of events
    ids: dict[str, str]  # of keys, by their names
    secrets: dict[str, str]

    @property
    def parts(self) -> dict[str, Any]:
        """Of a door."""
        return {"keys": self.keys, "events": self.events}


@contextmanager
def kept(folder: Path) -> Iterator[Kept]:
    """The key `first` asked for chatcmpl-0 to chatcmpl-3, `second` for chatcmpl-4."""
    ledger, database = open_database(folder / "kept.db"), open_events(folder / "kept.db")
    keys, writer = Keys(ledger), EventWriter(database)
    found = Kept(keys, EventStore(database, writer), writer, database, {}, {})
    for name, chosen in (("first", {}), ("second", {}), ("root", {"scopes": ("admin",)})):
        key, secret = keys.create(name, **chosen)
        found.ids[name], found.secrets[name] = key.id, secret
    for number in range(5):
        writer.add(_event(number, found.ids["first" if number < 4 else "second"]))
    writer.flush()
    yield found
    writer.close()
    for each in (ledger, database):
        each.engine.dispose()


def _event(number: int, key: str) -> Event:
    completion = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1700000000 + number,
        "model": "echo@7",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "one"}}],
    }
    return Event(
        *(f"chatcmpl-{number}", time.time() - 60 + number, key, "local", "it was sure", "echo@7"),
        request_id=f"req-{number}",
        conversation="talk",
        stored=True,
        metadata={"parity": "odd" if number % 2 else "even"},
        request={"messages": [ASKED]},
        answer=completion,
    )
