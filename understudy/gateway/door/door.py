"""What stands at the door: the core behind it, and whatever else a route may need."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from understudy.gateway.dialects.embeddings import Embedder
from understudy.gateway.door.auth import identify
from understudy.gateway.door.exchange import Exchange
from understudy.gateway.door.flight import Flight
from understudy.gateway.door.limits import Grant, RateLimits
from understudy.gateway.door.settings import DoorSettings
from understudy.gateway.requests import Core
from understudy.store.feedback import EventStore
from understudy.store.keys import Key, Keys


@dataclass(slots=True)
class Door:
    """The parts that the routes use. Those that are None have no route, or answer that there is
    nothing."""

    core: Core
    settings: DoorSettings = field(default_factory=DoorSettings)
    keys: Keys | None = None  # None: no request needs a key; else see asked_keys
    events: EventStore | None = None  # None: nothing is kept, so nothing can be judged
    embedder: Embedder | None = None
    metrics: Callable[[], Awaitable[tuple[bytes, str]]] | None = None  # a page, its content type
    ready: Callable[[], Awaitable[str]] | None = None  # why it is not ready; '': it is
    finished: Callable[[Exchange], None] | None = None  # told of every request that ended
    flight: Flight = field(init=False)
    limits: RateLimits = field(default_factory=RateLimits)

    def __post_init__(self) -> None:
        self.flight = Flight(self.settings.max_in_flight)

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a key, as far as is known without looking."""
        return self.keys is None or (self._from_the_first and self.keys.none_known)

    async def asked_keys(self) -> Keys | None:
        """The keys that a request is held against now; None: it needs none."""
        if self.keys is None or (self._from_the_first and not await self.keys.exist()):
            return None
        return self.keys

    @property
    def _from_the_first(self) -> bool:
        """Whether keys are needed only from the first one on."""
        return self.settings.keys == "auto" and self.settings.is_loopback

    async def identify(self, exchange: Exchange, scope: str) -> Key:
        """Who asks, if they may do that; the exchange keeps it."""
        exchange.key = await identify(await self.asked_keys(), exchange.headers, scope)
        return exchange.key

    @asynccontextmanager
    async def let_in(self, exchange: Exchange, scope: str) -> AsyncIterator[Grant]:
        """A place among those in flight, for a key that may do that and has requests left."""
        key = await self.identify(exchange, scope)
        with self.flight.place():
            yield self.limits.admit(key)
