"""A gateway put together from its settings: store, clouds, local model, core and door."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from understudy.gateway.app import create_app
from understudy.gateway.asking import Asking
from understudy.gateway.cloud_check import check_clouds
from understudy.gateway.clouds import open_clouds
from understudy.gateway.conversations import Conversations
from understudy.gateway.core import Gateway
from understudy.gateway.door.door import Door
from understudy.gateway.door.exchange import Exchange
from understudy.gateway.door.log import said_while
from understudy.gateway.embedding import Embeddings
from understudy.gateway.latencies import Usual
from understudy.gateway.local import LocalSide
from understudy.gateway.metrics import Metrics
from understudy.gateway.names import Names
from understudy.gateway.opening import decide_for, open_local
from understudy.gateway.pages.dashboard import Dashboard
from understudy.gateway.pages.routes import pages
from understudy.gateway.recording import event_of
from understudy.gateway.requests import Caller, ChatRequest, ModelCard, Outcome, Refused
from understudy.gateway.settings import NONE, ServeSettings
from understudy.gateway.swapping import Swapping
from understudy.gateway.telemetry import Telemetry
from understudy.gateway.trace import OnDone, Trace, turned_away
from understudy.gateway.upstreams.choice import Choice
from understudy.gateway.way import Parts
from understudy.store.batches import AsyncLedger
from understudy.store.database import Database, open_database, open_events
from understudy.store.events import EventWriter, interrupted
from understudy.store.feedback import EventStore
from understudy.store.keys import Keys
from understudy.store.ledger import Ledger
from understudy.store.secret import server_secret
from understudy.store.settings import store_url
from understudy.store.versions import Versions

if TYPE_CHECKING:
    from starlette.applications import Starlette

Warn = Callable[[str], None]


class Behind:
    """The core behind the door: there once everything is open."""

    def __init__(self) -> None:
        self.gateway: Gateway | None = None
        self.failure: Exception | None = None  # why it could not be opened

    async def answer(self, request: ChatRequest, caller: Caller) -> Outcome:
        return await self._open().answer(request, caller)

    async def models(self) -> list[ModelCard]:
        return await self._open().models()

    def _open(self) -> Gateway:
        if self.gateway is None:
            raise Refused(503, "server_error", "the gateway is starting", code="starting")
        return self.gateway


@dataclass
class Assembly:
    """What is built of the settings before anything listens; `opened` does the rest.

    watchers: told of every request that has ended.
    """

    settings: ServeSettings
    warn: Warn
    behind: Behind = field(default_factory=Behind)
    watchers: list[OnDone] = field(default_factory=list)

    def __post_init__(self) -> None:
        store = self.settings.store
        self.choice: Choice = open_clouds(self.settings, self.warn)
        url = store_url(store.url)
        self.database: Database = open_database(url, durable=store.durable)
        self.events_database: Database = open_events(url, durable=store.durable)
        self.keys = Keys(self.database)
        self.keys.read()
        self.versions = Versions(self.database)
        self.writer = EventWriter(self.events_database, store.events)
        self.metrics = Metrics()
        self.metrics.writer, self.metrics.keys = self.writer, self.keys.all
        self.watchers += [self._keep, self.metrics.answered]
        if self.settings.opentelemetry:
            self.watchers.append(Telemetry().answered)
        self.door = Door(
            self.behind,
            self.settings.door,
            keys=None if self.settings.door.keys == "off" else self.keys,
            events=EventStore(self.events_database, self.writer),
            metrics=self.metrics.page,
            ready=self._ready,
            finished=self._finished,
        )
        self.dashboard = Dashboard(
            self.door, self.events_database, versions=self.versions, text=store.events.text
        )
        if (secret := server_secret(self.database, store.secret_env)) is not None:
            self.dashboard.secret = secret
        elif not self.database.is_sqlite and self.door.keys is not None:
            self.warn(
                f"{store.secret_env} is not set: sessions of the dashboard end with this process, "
                "and other replicas do not know them"
            )

    def app(self) -> Starlette:
        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            try:
                async with self.opened():
                    yield
            except Exception as error:
                self.behind.failure = error
                raise

        return create_app(self.door, pages(self.dashboard), lifespan)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Gateway]:
        """In the event loop that serves."""
        settings, store = self.settings, self.settings.store
        async with AsyncExitStack() as stack:
            stack.enter_context(closing(self.database))
            stack.enter_context(closing(self.events_database))
            stack.push_async_callback(asyncio.to_thread, self.writer.close)
            ledger = Ledger(
                self.database,
                [cap.cap() for cap in store.caps],
                caps_of=self.keys.caps_of,
                read_caps=self.keys.read,
                hold_seconds=store.hold_seconds,
            )
            # A hold that an earlier process left is asked for at its cloud.
            patience = settings.spending.wait_seconds
            books = AsyncLedger(
                ledger,
                patience=patience,
                longest=settings.spending.ledger_seconds,
                usage=lambda hold: asking.usage(hold),
                resolved=lambda found: self.writer.add(interrupted(found, time.time())),
            )
            asking = Asking(self.choice, books, settings.spending)
            await stack.enter_async_context(books)
            if settings.embeddings:
                embedder = Embeddings(
                    settings.embeddings, books, patience, settings.policy.dial, self._done
                )
                stack.push_async_callback(embedder.close)
                self.door.embedder = embedder
            looking = asyncio.create_task(self._look_at_clouds())
            stack.callback(looking.cancel)
            what = settings.local.path
            said = nullcontext() if what == NONE else said_while(f"opening the local model, {what}")
            async with said:
                local = await open_local(settings.local, settings.policy, self.warn)
            gateway = self._gateway(local, asking)
            stack.push_async_callback(gateway.close)
            await looking
            self.dashboard.ledger = self.metrics.ledger = books
            if local is not None:
                side = local
                self.dashboard.engine = side.engine.load_now
                self.dashboard.serving = lambda: side.serving
                self.metrics.engine = local.engine
                await stack.enter_async_context(self._swapping(local))
            self.behind.gateway = gateway
            yield gateway

    def _gateway(self, local: LocalSide | None, asking: Asking) -> Gateway:
        policy, names = self.settings.policy, Names(self.choice, self.settings.policy.models)
        for name in names.dangling(local.versions() if local else ()):
            meant = policy.models[name]
            self.warn(f"policy.models.{name}={meant}: there is no such model or cloud here")
        conversations, drafts = Conversations(policy.sticky_seconds), Usual(policy.usual)
        return Gateway(Parts(local, asking, names, conversations, policy, self._done, drafts))

    async def _look_at_clouds(self) -> None:
        if self.settings.check_clouds:
            await check_clouds(self.choice, self.warn)

    @asynccontextmanager
    async def _swapping(self, local: LocalSide) -> AsyncIterator[None]:
        """Other versions are taken up as the store says."""
        settings = self.settings
        decide = decide_for(local, settings.local, settings.policy, self.warn)
        following = asyncio.create_task(Swapping(local, self.versions, decide).follow())
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    def _done(self, trace: Trace) -> None:
        for watch in self.watchers:
            watch(trace)

    def _keep(self, trace: Trace) -> None:
        """Whoever has no key leaves no event: else anybody could fill the store."""
        if trace.caller.key:
            self.writer.add(event_of(trace))

    def _finished(self, exchange: Exchange) -> None:
        self.metrics.finished(exchange)
        if (refused := exchange.turned_away) is not None:
            key = exchange.key
            key_id, team = (key.id, key.team) if key else ("", "")
            caller = Caller(key_id, team, request_id=exchange.request_id)
            self._done(turned_away(refused, caller, exchange.model, exchange.seconds))

    async def _ready(self) -> str:
        return "" if self.behind.gateway is not None else "it is starting"
