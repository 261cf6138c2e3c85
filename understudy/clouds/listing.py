"""Which models an OpenAI-compatible endpoint has, and what it says where it refuses."""

from __future__ import annotations

import json
import os

import aiohttp

from understudy.clouds.completions import error_message
from understudy.errors import CloudError


async def models_at(session: aiohttp.ClientSession, base: str) -> list[str]:
    """Their names, in the endpoint's order. base: its address up to /v1."""
    try:
        async with session.get(f"{base}/models", allow_redirects=False) as response:
            if response.status != 200:
                raise CloudError(
                    f"{base}/models answers {response.status}: {await refusal_of(response)}; give "
                    "the address before /models, such as http://localhost:8000/v1"
                )
            found = await response.json(content_type=None)
            return [str(each["id"]) for each in found["data"]]
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        reason = connection_failure(error)
        raise CloudError(f"{base} does not answer ({reason}); is the engine on?") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CloudError(f"{base}/models is no list of models; is it an OpenAI API?") from error


async def refusal_of(response: aiohttp.ClientResponse) -> str:
    """The engine's own words, in one line."""
    try:
        text = (await response.content.read(1 << 16)).decode(errors="replace")
        found = error_message(json.loads(text))
    except (aiohttp.ClientError, ValueError, RecursionError):
        found = None
    return (found or "no reason given")[:240]


def connection_failure(error: BaseException) -> str:
    """In words without an address, which asyncio's own have."""
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number).lower()
    return type(error).__name__
