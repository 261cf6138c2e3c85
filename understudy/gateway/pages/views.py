"""What each address of the dashboard answers, to whoever may look."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from understudy.gateway.door.auth import ADMIN, may
from understudy.gateway.door.pulse import kept_alive
from understudy.gateway.pages import decisions
from understudy.gateway.pages.dashboard import Dashboard
from understudy.gateway.pages.entrance import form_of, html
from understudy.gateway.pages.guard import who_looks
from understudy.gateway.pages.history import SPANS, Span
from understudy.gateway.pages.live import MOST_WATCHING, Live
from understudy.gateway.pages.overview import charts
from understudy.gateway.pages.play import Playground, asked_of
from understudy.gateway.pages.templates import Templates
from understudy.store.feedback import Feedback
from understudy.store.keys import Key

_PAGE = 50  # decisions
_LARGEST_FORM = 2**20  # bytes
_THUMBS, _CORRECTION = "thumbs_up", "demonstration"
_STREAM = {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}


class Views:
    """Each method is a page, or a part of one."""

    def __init__(self, dashboard: Dashboard, templates: Templates) -> None:
        self._dashboard, self._templates = dashboard, templates
        self._live = Live(dashboard, templates)
        self._playground = Playground(dashboard.door, templates)

    async def overview(self, request: Request, key: Key) -> Response:
        span = _span(request)
        found = await self._live.overview(span)
        return self._page(
            "overview.html",
            key,
            found=found,
            charts=charts(found),
            span=span,
            spans=list(SPANS),
            now=found.history.now,
        )

    async def live(self, request: Request, key: Key) -> Response:
        if self._live.watching >= MOST_WATCHING:
            return Response("too many watch", 503, {"retry-after": "30"})

        async def still_may() -> bool:
            return await who_looks(self._dashboard, request) is not None

        return _streamed(self._live.watch(_span(request), still_may))

    async def figures(self, request: Request, key: Key) -> Response:
        """The charts as a table."""
        found = await self._live.overview(_span(request))
        return html(self._templates.render("figures.html", found=found))

    async def decisions(self, request: Request, key: Key) -> Response:
        given = request.query_params
        which = decisions.Filter(
            given.get("who", "")
            if given.get("who") in ("local", "cloud", "refused", "asked")
            else "",
            given.get("key", "")[:200],
            _number(given.get("before", "")),
            given.get("before_id", ""),
        )
        rows = await asyncio.to_thread(decisions.recent, self._dashboard.events, which, _PAGE + 1)
        keys = await asyncio.to_thread(self._dashboard.known_keys)
        more = rows[_PAGE - 1] if len(rows) > _PAGE else None
        is_part = request.headers.get("hx-request") == "true"
        return self._page(
            "decision_list.html" if is_part else "decisions.html",
            key,
            rows=rows[:_PAGE],
            which=which,
            more=more,
            keys=keys,
            now=self._dashboard.clock(),
        )

    async def decision(self, request: Request, key: Key) -> Response:
        """All that is kept of one."""
        event = request.query_params.get("id", "")
        found = await asyncio.to_thread(decisions.told, self._dashboard.events, event)
        if found is None:
            return self._trouble("This decision is not kept any more.", 404)
        mine = may(key, ADMIN) or found.event.key == key.id
        may_judge = may(key, "feedback") and mine and self._dashboard.door.events is not None
        return html(
            self._templates.render(
                "decision.html",
                told=found if mine else found.without_text(),
                is_mine=mine,
                may_judge=may_judge,
                text=self._dashboard.text,
            )
        )

    async def versions(self, request: Request, key: Key) -> Response:
        adapters, now = self._dashboard.versions, self._dashboard.clock()
        every = await asyncio.to_thread(adapters.all) if adapters else []
        names = dict.fromkeys(version.name for version in every)
        past = {
            name: await asyncio.to_thread(adapters.history, name) if adapters else []
            for name in names
        }
        load = self._dashboard.engine() if self._dashboard.engine else None
        serving = self._dashboard.serving() if self._dashboard.serving else ""
        about = {"versions": every, "past": past, "load": load, "serving": serving}
        return self._page("versions.html", key, now=now, **about)

    async def playground(self, request: Request, key: Key) -> Response:
        models = await self._dashboard.door.core.models()
        return self._page(
            "playground.html",
            key,
            models=models,
            may_ask=may(key, "inference"),
            text=self._dashboard.text,
        )

    async def ask(self, request: Request, key: Key) -> Response:
        if not may(key, "inference"):
            return self._part_trouble(
                "This key may look, but not ask: it lacks the scope inference."
            )
        try:
            asked = asked_of(await form_of(request, _LARGEST_FORM))
        except ValueError as error:
            return self._part_trouble(str(error))
        quiet = self._dashboard.door.settings.quiet_seconds
        return _streamed(kept_alive(self._playground.ask(asked, key), quiet))

    async def feedback(self, request: Request, key: Key) -> Response:
        """A thumb, or how the answer should have been."""
        store = self._dashboard.door.events
        form = await form_of(request, _LARGEST_FORM)
        correction, thumb = form.get("correction", "").strip(), form.get("thumb", "")
        if store is None:
            return self._said("This gateway keeps no events, so no feedback either.")
        if not may(key, "feedback"):
            return self._said("This key may not give feedback: it lacks the scope feedback.")
        if not correction and thumb not in ("up", "down"):
            return self._said("Write how the answer should have been.")
        given = Feedback(
            id=f"fb_{secrets.token_hex(16)}",
            key=key.id,
            metric=_CORRECTION if correction else _THUMBS,
            value=correction or thumb == "up",
            answer=form.get("answer", "")[:512],
            tags={"from": "dashboard"},
        )
        kept = await store.judge(given, may(key, ADMIN))
        if not kept:
            return self._said("That answer is not kept, or it is another key's.")
        return self._said("Your correction is kept." if correction else "Thank you, that is kept.")

    def _page(self, template: str, key: Key, **values: object) -> Response:
        about = {"key": key, "is_open": self._dashboard.is_open}
        return html(self._templates.render(template, **about, **values))

    def _trouble(self, words: str, status: int) -> Response:
        return html(self._templates.render("trouble.html", words=words, key=None), status)

    def _part_trouble(self, words: str) -> Response:
        return html(self._templates.render("play_trouble.html", words=words))

    def _said(self, words: str) -> Response:
        return html(self._templates.render("said.html", words=words))


def _span(request: Request) -> Span:
    return SPANS.get(request.query_params.get("span", ""), SPANS["hour"])


def _number(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _streamed(events: AsyncGenerator[bytes, None]) -> Response:
    return _Streamed(events, headers=_STREAM)


class _Streamed(StreamingResponse):
    """Lets go of what still runs for a client as soon as that has gone."""

    async def stream_response(self, send: Send) -> None:
        async with aclosing(cast("AsyncGenerator[bytes, None]", self.body_iterator)):
            await super().stream_response(send)
