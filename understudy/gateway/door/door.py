"""What stands at the door: the core behind it, and whatever else a route may need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from understudy.gateway.dialects.embeddings import Embedder
from understudy.gateway.dialects.feedback import FeedbackStore
from understudy.gateway.dialects.stored import StoredCompletions
from understudy.gateway.door.auth import Identity, Keys, identify
from understudy.gateway.door.exchange import Exchange
from understudy.gateway.door.flight import Flight
from understudy.gateway.door.limits import RateLimits
from understudy.gateway.door.settings import DoorSettings
from understudy.gateway.requests import Core


@dataclass(slots=True)
class Door:
    """The parts that the routes use. Those that are None have no route, or answer that there is
    nothing."""

    core: Core
    settings: DoorSettings = field(default_factory=DoorSettings)
    keys: Keys | None = None  # None: no request needs a key
    stored: StoredCompletions | None = None
    feedback: FeedbackStore | None = None
    embedder: Embedder | None = None
    metrics: Callable[[], tuple[bytes, str]] | None = None  # the page, and its content type
    ready: Callable[[], Awaitable[str]] | None = None  # why it is not ready; '': it is
    finished: Callable[[Exchange], None] | None = None  # told of every request that ended
    flight: Flight = field(init=False)
    limits: RateLimits = field(default_factory=RateLimits)

    def __post_init__(self) -> None:
        self.flight = Flight(self.settings.max_in_flight)

    async def identify(self, exchange: Exchange, scope: str) -> Identity:
        """Who asks, if they may do that; the exchange keeps it."""
        exchange.identity = await identify(self.keys, exchange.headers, scope)
        return exchange.identity
