"""Signing in with an API key, and out again; and what every page is sent with."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from understudy.gateway.door.bodies import HungUpError
from understudy.gateway.door.errors import invalid
from understudy.gateway.door.exchange import exchange_of
from understudy.gateway.pages import guard, sessions
from understudy.gateway.pages.dashboard import Dashboard
from understudy.gateway.pages.templates import Templates

# Nothing from outside, nothing inline, nothing framed.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "img", "connect")),
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_SHORT = 8 * 1024  # bytes of a key that is typed


def html(page: str, status: int = 200) -> Response:
    headers = {
        "content-security-policy": _POLICY,
        "referrer-policy": "same-origin",  # without one a form's origin is told as null
    }
    return Response(page, status, headers, "text/html")


async def form_of(request: Request, most: int) -> dict[str, str]:
    """The fields of a form; of one that is there twice, the last."""
    raw = bytearray()
    while True:
        part = await request.receive()
        if part["type"] == "http.disconnect":
            raise HungUpError
        raw += part.get("body", b"")
        if len(raw) > most:
            raise invalid(f"the form is larger than {most} bytes", code="request_too_large")
        if not part.get("more_body", False):
            break
    text = raw.decode("utf-8", "replace")
    return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=100))


class Entrance:
    def __init__(self, dashboard: Dashboard, templates: Templates) -> None:
        self._dashboard, self._templates = dashboard, templates

    async def page(self, request: Request) -> Response:
        exchange_of(request.scope).route = "/dashboard/sign-in"
        place = guard.place(request.query_params.get("next", "/"))
        if await guard.who_looks(self._dashboard, request) is not None:
            return RedirectResponse(place, 303)
        return self._shown(place, "")

    async def enter(self, request: Request) -> Response:
        exchange_of(request.scope).route = "/dashboard/sign-in"
        if await self._dashboard.door.asked_keys() is None:
            return RedirectResponse("/", 303)
        if not guard.is_from_here(request, by_script=False):
            return self._shown("/", "This form was not sent from this page.", 403)
        form = await form_of(request, _SHORT)
        place = guard.place(form.get("next", "/"))
        found = await guard.sign_in(self._dashboard, form.get("key", "").strip())
        if isinstance(found, str):
            return self._shown(place, found, 403)
        exchange_of(request.scope).key = found[0]
        response = RedirectResponse(place, 303)
        guard.keep(response, found[1], request)
        return response

    async def leave(self, request: Request) -> Response:
        exchange_of(request.scope).route = "/dashboard/sign-out"
        response = RedirectResponse("/dashboard/sign-in", 303)
        if guard.is_from_here(request, by_script=False):
            response.delete_cookie(sessions.COOKIE, httponly=True, samesite="lax")
        return response

    def _shown(self, place: str, trouble: str, status: int = 200) -> Response:
        page = self._templates.render("sign_in.html", next=place, trouble=trouble, key=None)
        return html(page, status)
