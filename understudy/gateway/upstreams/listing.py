"""Which models an endpoint has, as it says itself: asked before anything is paid."""

from __future__ import annotations

import aiohttp
import orjson

from understudy.clouds.http import proxy_for
from understudy.gateway.upstreams.calls import LATE, UpstreamError
from understudy.gateway.upstreams.posting import open_session
from understudy.gateway.upstreams.refusal import read_at_most, reason_of, refusal_of

SECONDS = 3.0  # for all of it: whoever starts a gateway waits no longer for a cloud that is away

_LARGEST = 16 * 2**20  # bytes of a list


async def models_at(url: str, key: str | None) -> list[str]:
    """Their names. Raises UpstreamError; without a status nobody answered at all."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        async with (
            open_session(aiohttp.ClientTimeout(total=SECONDS)) as session,
            session.get(
                url, headers=headers, proxy=proxy_for(url), allow_redirects=False
            ) as response,
        ):
            status = response.status
            if status != 200:
                raise await refusal_of(response, key)
            content = await read_at_most(response, _LARGEST)
    except (aiohttp.ClientError, OSError) as error:  # a time-out is one
        reason = LATE if isinstance(error, TimeoutError) else reason_of(error)
        raise UpstreamError(reason) from None
    try:
        return [str(each["id"]) for each in orjson.loads(content)["data"]]
    except (ValueError, LookupError, TypeError):
        raise UpstreamError("no list of models", status=status) from None
