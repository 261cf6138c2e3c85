"""Which models an OpenAI-compatible endpoint has, as it says itself."""

from __future__ import annotations

import os

import aiohttp

from understudy.errors import CloudError

# Whose numbers are none of the system's.
_REASONS = (
    (aiohttp.ClientConnectorDNSError, "no host of that name"),
    (aiohttp.ClientConnectorCertificateError, "its certificate is not trusted"),
)


class NoListError(CloudError):
    """status: of its refusal; None: there is no answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


async def models_at(session: aiohttp.ClientSession, base: str) -> list[str]:
    """Their names, in the endpoint's order. base: its address up to /v1.

    Raises NoListError, without the endpoint's own words: they may quote the key.
    """
    status: int | None = None
    try:
        async with session.get(f"{base}/models", allow_redirects=False) as response:
            status = response.status
            if status != 200:
                raise NoListError(
                    f"{base}/models answers HTTP {status}; give the address before /models, such "
                    "as http://localhost:8000/v1, and the key that it wants",
                    status,
                )
            found = await response.json(content_type=None)
            return [str(each["id"]) for each in found["data"]]
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        reason = connection_failure(error)
        raise NoListError(f"{base} does not answer ({reason}); is the engine on?") from error
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{base}/models is no list of models; is it an OpenAI API?"
        raise NoListError(reason, status) from error


def connection_failure(error: BaseException) -> str:
    """In words without an address, which asyncio's own have."""
    for kind, words in _REASONS:
        if isinstance(error, kind):
            return words
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number).lower()
    return type(error).__name__
