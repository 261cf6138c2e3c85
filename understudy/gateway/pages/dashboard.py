"""What the pages read and do: the parts of a gateway that people look at."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from understudy.gateway.door.door import Door
from understudy.gateway.engine import EngineLoad
from understudy.store.batches import AsyncLedger
from understudy.store.database import Database
from understudy.store.keys import Key
from understudy.store.versions import Versions

_NAMES_SECONDS = 5.0  # names of keys are read anew after so long


@dataclass(slots=True)
class Dashboard:
    """What is None is not shown, or the page says that it is not there."""

    door: Door  # the core, keys, feedback, limits, and whether it is stopping
    events: Database
    ledger: AsyncLedger | None = None
    versions: Versions | None = None
    engine: Callable[[], EngineLoad] | None = None
    serving: Callable[[], str] | None = None  # the version of the local model
    text: str = "asked"  # whose questions and answers are kept: off, asked or all
    clock: Callable[[], float] = time.time
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _keys: dict[str, Key] = field(default_factory=dict)
    _keys_at: float = float("-inf")

    @property
    def is_open(self) -> bool:
        """Nobody needs a key."""
        return self.door.is_open

    @property
    def is_closing(self) -> bool:
        return self.door.flight.draining

    def known_keys(self) -> Mapping[str, Key]:
        """By id. Reads the database every few seconds, so not from the event loop."""
        now = time.monotonic()
        if self.door.keys is not None and now - self._keys_at > _NAMES_SECONDS:
            self._keys_at = now
            self._keys = {key.id: key for key in self.door.keys.all()}
        return self._keys
