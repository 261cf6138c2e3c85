"""Routes of stored completions: a key sees its own, one with the scope admin everybody's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request
from starlette.responses import Response

from understudy.gateway.dialects.checking import check
from understudy.gateway.dialects.stored import (
    MetadataBody,
    limit_of,
    page_of,
    wanted_of,
)
from understudy.gateway.door.auth import ADMIN, may
from understudy.gateway.door.bodies import read_json
from understudy.gateway.door.door import Door
from understudy.gateway.door.errors import not_found
from understudy.gateway.door.exchange import exchange_of
from understudy.gateway.door.plain import Json
from understudy.gateway.ids import unmarked
from understudy.gateway.requests import Refused
from understudy.store.feedback import EventStore


class Keeping:
    """Each method is a route."""

    def __init__(self, door: Door, events: EventStore) -> None:
        self.door, self.events = door, events

    async def list(self, request: Request) -> Response:
        async with self._let_in(request) as key:
            wanted = wanted_of(request.scope.get("query_string", b""))
            found = await self.events.stored(
                key,
                model=wanted.model,
                metadata=wanted.metadata,
                after=wanted.after,
                limit=wanted.limit + 1,  # whether there is another page
                newest_first=wanted.newest_first,
            )
            return Json(page_of(found[: wanted.limit], len(found) > wanted.limit))

    async def get(self, request: Request) -> Response:
        async with self._let_in(request) as key:
            completion = await self.events.completion(_id(request), key)
            if completion is None:
                raise _missing(request)
            return Json(completion)

    async def messages(self, request: Request) -> Response:
        async with self._let_in(request) as key:
            query = request.query_params
            limit, after = limit_of(query), query.get("after", "")
            messages = await self.events.messages(_id(request), key)
            if messages is None:
                raise _missing(request)
            found = [
                {"id": f"{_id(request)}-{number}", **message}
                for number, message in enumerate(messages)
            ]
            start = next((n + 1 for n, each in enumerate(found) if each["id"] == after), 0)
            page = found[start : start + limit]
            return Json(page_of(page, len(found) > start + limit))

    async def update(self, request: Request) -> Response:
        async with self._let_in(request) as key:
            headers = exchange_of(request.scope).headers
            body, _ = await read_json(headers, request.receive, self.door.settings)
            check(MetadataBody, body)
            completion = await self.events.describe(_id(request), key, body["metadata"])
            if completion is None:
                raise _missing(request)
            return Json(completion)

    async def delete(self, request: Request) -> Response:
        async with self._let_in(request) as key:
            if not await self.events.forget(_id(request), key):
                raise _missing(request)
            return Json({"object": "chat.completion.deleted", "id": _id(request), "deleted": True})

    @asynccontextmanager
    async def _let_in(self, request: Request) -> AsyncIterator[str | None]:
        """Whose completions the caller may see; None: everybody's."""
        async with self.door.let_in(exchange_of(request.scope), "stored") as grant:
            yield None if may(grant.key, ADMIN) else grant.key.id


def _id(request: Request) -> str:
    return unmarked(str(request.path_params["completion"]))


def _missing(request: Request) -> Refused:
    return not_found(f"there is no stored completion {_id(request)[:200]!r}", "not_found")
