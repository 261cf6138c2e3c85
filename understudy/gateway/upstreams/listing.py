"""Which models an upstream has, asked before anything is paid."""

from __future__ import annotations

import aiohttp

from understudy.clouds import listing
from understudy.clouds.http import proxy_for
from understudy.gateway.upstreams.calls import UpstreamError
from understudy.gateway.upstreams.refusal import reason_of

SECONDS = 3.0  # for all of it: whoever starts a gateway waits no longer for a cloud that is away


async def models_at(base: str, key: str | None) -> list[str]:
    """Their names. Raises UpstreamError; without a status nobody answered at all."""
    async with aiohttp.ClientSession(
        headers={} if key is None else {"Authorization": f"Bearer {key}"},
        timeout=aiohttp.ClientTimeout(total=SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=proxy_for(base),
    ) as session:
        try:
            return await listing.models_at(session, base)
        except listing.NoListError as error:
            status, cause = error.status, error.__cause__
    if status is None:
        raise UpstreamError(reason_of(cause) if cause else "no answer")
    raise UpstreamError("no list of models" if status == 200 else f"HTTP {status}", status=status)
