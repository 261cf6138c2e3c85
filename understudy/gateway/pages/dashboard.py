"""What the pages read and do: the parts of a gateway that people look at."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from understudy.gateway.door.door import Door
from understudy.gateway.engine import EngineLoad
from understudy.store.batches import AsyncLedger
from understudy.store.database import Database
from understudy.store.keys import Key
from understudy.store.versions import Versions

_NAMES_SECONDS = 5.0  # names of keys are read anew after so long
_MOST_SCOPES = 40


@dataclass(slots=True)
class Dashboard:
    """What is None is not shown, or the page says that it is not there."""

    door: Door  # the core, keys, feedback, limits, and whether it is stopping
    events: Database
    ledger: AsyncLedger | None = None
    versions: Versions | None = None
    engine: Callable[[], EngineLoad] | None = None
    text: str = "asked"  # whose questions and answers are kept: off, asked or all
    clock: Callable[[], float] = time.time
    _keys: dict[str, Key] = field(default_factory=dict)
    _keys_at: float = float("-inf")

    @property
    def is_open(self) -> bool:
        """Nobody needs a key."""
        return self.door.keys is None

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

    def capped_scopes(self, keys: Mapping[str, Key]) -> Sequence[str]:
        """Those that have caps: in total, of teams, of keys."""
        if self.ledger is None:
            return []
        now = self.clock()
        live = [key for key in keys.values() if key.is_live(now)]
        scopes = dict.fromkeys(scope for key in live for scope in key.spends_on)
        order = sorted({"total": None} | scopes, key=lambda scope: scope.startswith("key:"))
        return [scope for scope in order if self.ledger.ledger.caps_on(scope)][:_MOST_SCOPES]
