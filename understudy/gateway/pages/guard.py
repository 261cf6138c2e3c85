"""Who looks at the dashboard: a browser with a session that an API key opened.

Where keys are off everyone may look. What changes something must come from the dashboard's own
pages: a header that only its scripts send, and an origin that is its own.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from understudy.gateway.door.auth import ANYBODY, may
from understudy.gateway.pages import sessions
from understudy.gateway.pages.dashboard import Dashboard
from understudy.store.keys import Key

SCOPE = "dashboard"


async def who_looks(dashboard: Dashboard, request: Request) -> Key | None:
    """None: they must sign in."""
    keys = await dashboard.door.asked_keys()
    if keys is None:
        return ANYBODY
    session = sessions.read(request.cookies.get(sessions.COOKIE, ""))
    found = await keys.by_id(session.key) if session else None
    if session is None or found is None:
        return None
    key, digest = found
    good = session.is_good(_sealing(dashboard, digest), dashboard.clock())
    return key if good and may(key, SCOPE) else None


def _sealing(dashboard: Dashboard, digest: str) -> bytes:
    """Of a key, by its hash: a session ends with its key. Of the server's secret, since the hash
    is in the database and in its backups."""
    return hmac.digest(dashboard.secret, digest.encode(), "sha256")


async def sign_in(dashboard: Dashboard, secret: str) -> tuple[Key, sessions.Session] | str:
    """A session for whoever has the key; else why not."""
    keys = await dashboard.door.asked_keys()
    assert keys is not None
    key = await keys.find(secret)
    found = await keys.by_id(key.id) if key else None
    if found is None:
        return "This key is unknown, revoked or expired."
    key, digest = found
    if not may(key, SCOPE):
        return f"This key may not look at the dashboard: it lacks the scope {SCOPE}."
    return key, sessions.opened(key.id, _sealing(dashboard, digest), dashboard.clock())


def keep(response: Response, session: sessions.Session, request: Request) -> None:
    response.set_cookie(
        sessions.COOKIE,
        str(session),
        max_age=sessions.SECONDS,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )


def is_from_here(request: Request, by_script: bool = True) -> bool:
    """Whether one of our own pages sent it, and not a page of somebody else.

    by_script: it has the header that our scripts send, and that a form elsewhere cannot.
    """
    if by_script and request.headers.get("hx-request") != "true":
        return False
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def place(path: str) -> str:
    """Where to go after signing in: one of our own pages."""
    ours = path == "/" or path.startswith("/dashboard/")
    return path if ours and "\\" not in path and path.isprintable() else "/"
