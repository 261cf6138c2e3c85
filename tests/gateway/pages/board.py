"""The dashboard on a real socket, over real files, with what a busy gateway would have kept."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.gateway.serving import Served, serving
from understudy.gateway.door.door import Door
from understudy.gateway.engine import EngineLoad
from understudy.gateway.pages.dashboard import Dashboard
from understudy.gateway.pages.routes import pages
from understudy.store.batches import AsyncLedger
from understudy.store.caps import Cap
from understudy.store.database import open_database, open_events
from understudy.store.events import Event, EventWriter
from understudy.store.feedback import EventStore
from understudy.store.keys import Key, Keys
from understudy.store.ledger import Ledger
from understudy.store.operations import Hold
from understudy.store.settings import EventSettings
from understudy.store.versions import Versions
from understudy.types import Cost

HOSTILE = "<script>alert('xss')</script>\"'&{{ 7 * 7 }}<img src=x onerror=alert(1)>"
WHYS = {
    "local": "the local model's request for help, -2.31, is not above the threshold, -0.40",
    "cloud": "the local model's request for help, 1.87, is above the threshold, -0.40",
    "refused": "the budget is spent, and the caller insists on the cloud",
}


@dataclass
class Board:
    """What stands behind the pages."""

    folder: Path
    now: float = field(default_factory=time.time)
    caps: Sequence[Cap] = ()
    text: str = "all"
    url: str = ""  # of PostgreSQL

    def __post_init__(self) -> None:
        store = self.url or self.folder / "board.db"
        self.database, self.ledger_database = open_events(store), open_database(store)
        self.keys, self.versions = Keys(self.ledger_database), Versions(self.ledger_database)
        settings = EventSettings.model_validate({"text": self.text, "days": None})
        self.writer = EventWriter(self.database, settings)
        self.at = self.now
        self.ledger = Ledger(
            self.ledger_database, self.caps, caps_of=self.keys.caps_of, clock=lambda: self.at
        )

    def key(self, name: str, *scopes: str, team: str = "") -> tuple[Key, str]:
        chosen = {"scopes": scopes} if scopes else {}
        return self.keys.create(name, team=team, **chosen)

    def spend(self, ago: float, dollars: float, *scopes: str) -> None:
        self.at = self.now - ago
        hold = self.ledger.reserve(("total", *scopes), Cost(1, 40, 160, dollars=dollars))
        self.at = self.now
        if isinstance(hold, Hold):
            self.ledger.settle(hold, hold.cost)

    def fill(self, number: int, seconds: float, keys: Sequence[str], seed: int = 1) -> None:
        """So many requests over that time, more of them later."""
        luck = random.Random(seed)
        agos = sorted((seconds * luck.random() ** 1.4 for _ in range(number)), reverse=True)
        for count, ago in enumerate(agos):
            who = luck.choices(("local", "cloud", "refused"), (78, 20, 2))[0]
            cost = luck.uniform(0.0004, 0.004) if who == "cloud" else 0.0
            first = luck.lognormvariate(-2.2 if who == "local" else -0.6, 0.5)
            key = luck.choice(keys)
            if cost:
                self.spend(ago, cost, f"key:{key}")
            self.writer.add(
                Event(
                    id=f"chatcmpl-{seed}-{count}",
                    request_id=f"req_{seed}_{count}",
                    at=self.now - ago,
                    key=key,
                    answered_by=who,
                    why=WHYS[who],
                    model="big-model-2026" if who == "cloud" else "tiny@12",
                    version="" if who == "cloud" else "tiny@12",
                    cloud="main" if who == "cloud" else "",
                    asked=who == "cloud",
                    prompt_tokens=luck.randrange(20, 400),
                    completion_tokens=luck.randrange(5, 300),
                    cost=Cost(1, 120, 80, dollars=cost) if cost else Cost(),
                    seconds=first * luck.uniform(2, 6),
                    first_token_seconds=first,
                    signals={"margin": luck.gauss(0, 2), "mean_logprob": -0.23},
                    request={"messages": [{"role": "user", "content": "What is 17 + 25?"}]},
                    answer={"choices": [{"message": {"role": "assistant", "content": "42"}}]},
                )
            )
        self.writer.flush()

    @contextmanager
    def served(
        self, with_keys: bool = False, settings: dict[str, Any] | None = None
    ) -> Iterator[Served]:
        ledger = AsyncLedger(self.ledger)

        def routes(door: Door) -> Any:
            load = EngineLoad(7, 2, 1843.0)
            board = Dashboard(door, self.database, ledger, self.versions, text=self.text)
            board.engine, board.serving = lambda: load, lambda: "tiny@12"
            return pages(board)

        events = EventStore(self.database, self.writer)
        with serving(
            settings, routes, keys=self.keys if with_keys else None, events=events
        ) as found:
            yield found

    def close(self) -> None:
        self.writer.close()
        self.ledger.close()
        self.database.close()
        self.ledger_database.close()
