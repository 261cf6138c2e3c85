"""The dashboard's routes, for `create_app(door, pages=...)`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from understudy.errors import LedgerUnavailable
from understudy.gateway.door.exchange import exchange_of
from understudy.gateway.pages.dashboard import Dashboard
from understudy.gateway.pages.entrance import Entrance, html
from understudy.gateway.pages.guard import is_from_here, who_looks
from understudy.gateway.pages.templates import STATIC_PATH, Templates
from understudy.gateway.pages.views import Views
from understudy.store.keys import Key

View = Callable[[Request, Key], Awaitable[Response]]

_FOR_EVER = "public, max-age=31536000, immutable"


def pages(dashboard: Dashboard) -> list[BaseRoute]:
    """Everything below `/dashboard/`, and `/` itself."""
    templates = Templates()
    views, entrance = Views(dashboard, templates), Entrance(dashboard, templates)

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        found = templates.assets.get(name)
        exchange_of(request.scope).route = f"{STATIC_PATH}{{name}}"
        if found is None:
            return Response("there is no such file", 404, media_type="text/plain")
        fresh = request.query_params.get("v") == found.digest
        headers = {"cache-control": _FOR_EVER if fresh else "no-cache", "content-type": found.type}
        return Response(found.content, headers=headers)

    def route(path: str, view: View, method: str = "GET") -> Route:
        async def guarded(request: Request) -> Response:
            exchange = exchange_of(request.scope)
            exchange.route = path
            if method == "POST" and not is_from_here(request):
                return html(templates.render("trouble.html", words=_FOREIGN, key=None), 403)
            try:
                exchange.key = await who_looks(dashboard, request)
                if exchange.key is None:
                    return _to_sign_in(request)
                return await view(request, exchange.key)
            except LedgerUnavailable:
                page = templates.render("trouble.html", words=_NO_DATABASE, key=None)
                return html(page, 503)

        return Route(path, guarded, methods=[method])

    return [
        route("/", views.overview),
        route("/dashboard/live", views.live),
        route("/dashboard/figures", views.figures),
        route("/dashboard/decisions", views.decisions),
        route("/dashboard/decision", views.decision),
        route("/dashboard/versions", views.versions),
        route("/dashboard/playground", views.playground),
        route("/dashboard/ask", views.ask, "POST"),
        route("/dashboard/feedback", views.feedback, "POST"),
        Route("/dashboard/sign-in", entrance.page, methods=["GET"]),
        Route("/dashboard/sign-in", entrance.enter, methods=["POST"]),
        Route("/dashboard/sign-out", entrance.leave, methods=["POST"]),
        Route(f"{STATIC_PATH}{{name}}", asset, methods=["GET"]),
    ]


_FOREIGN = "This did not come from a page of this dashboard, so nothing was done."
_NO_DATABASE = "The database cannot be read now. Questions are still answered; look again soon."


def _to_sign_in(request: Request) -> Response:
    """A page is taken there; what a script fetched tells the page to go."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.headers.get("hx-request") == "true":
        return Response("sign in first", 401, {"hx-redirect": "/dashboard/sign-in"})
    return RedirectResponse(f"/dashboard/sign-in?next={quote(wanted, safe='')}", 303)
