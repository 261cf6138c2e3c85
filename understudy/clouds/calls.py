"""One call of any cloud: what it raises is a failed reply; what does not stream is one piece."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from understudy.errors import UnderstudyError
from understudy.types import Cloud, Reply, Request, StreamingCloud

# What a cloud raises for a fault of its program or its settings. All else is a failed call.
DEFECTS = (
    UnderstudyError,
    AssertionError,
    AttributeError,
    ImportError,
    NameError,
    NotImplementedError,
    TypeError,
)


async def reply_of(cloud: Cloud, request: Request) -> Reply:
    try:
        return _checked(await cloud.answer(request))
    except DEFECTS:
        raise
    except Exception as error:  # a cloud of somebody's own may raise anything
        return _failed(error)


async def stream_of(cloud: Cloud, request: Request) -> AsyncIterator[str | Reply]:
    """Pieces of the answer, then the whole reply."""
    if not isinstance(cloud, StreamingCloud):
        reply = await reply_of(cloud, request)
        if reply.text:
            yield reply.text
        yield reply
        return
    last: str | Reply = ""
    try:
        async for last in cloud.stream(request):
            if isinstance(last, Reply):
                last = _checked(last)
            yield last
    except DEFECTS:
        raise
    except Exception as error:
        last = _failed(error)
        yield last
    if not isinstance(last, Reply):
        raise TypeError(f"{type(cloud).__name__}.stream must end with a Reply")


def _checked(reply: Reply) -> Reply:
    """A reply that has neither a text nor an error is a failed call."""
    nothing = reply.text is None and reply.error is None
    return replace(reply, error="no answer") if nothing else reply


def _failed(error: Exception) -> Reply:
    return Reply(text=None, error=f"{type(error).__name__}: {error}")
