"""The log: a line of JSON per request and per fault, on standard error; no text of anybody."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

_SILENT_SECONDS = 10.0  # at most, while somebody waits for it to start

LOGGER = logging.getLogger("understudy.gateway")


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time, level, event, and the fields it came with; of an
    exception where it happened, without its words."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = getattr(record, "fields", {})
        line: dict[str, Any] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if record.exc_info and (error := record.exc_info[1]) is not None:
            line |= {"error": type(error).__name__, "where": _places(error)}
        return orjson.dumps(line | fields, default=str).decode()


def log_to(stream: Any = None) -> None:
    """Write what any part of the package logs as JSON lines; called once, by whoever runs it."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    package = logging.getLogger("understudy")
    package.handlers[:] = [handler]
    package.setLevel(logging.INFO)
    package.propagate = False


def event(name: str, level: int = logging.INFO, **fields: Any) -> None:
    """One line; fields that are None or empty are left out."""
    if LOGGER.isEnabledFor(level):
        kept = {key: value for key, value in fields.items() if value not in (None, "")}
        LOGGER.log(level, name, extra={"fields": kept})


@asynccontextmanager
async def said_while(work: str) -> AsyncIterator[None]:
    """A line when it begins, and every ten seconds until it is done."""

    async def say() -> None:
        started = time.monotonic()
        while True:
            await asyncio.sleep(_SILENT_SECONDS)
            event(f"still {work}", seconds=round(time.monotonic() - started))

    event(work)
    saying = asyncio.create_task(say())
    try:
        yield
    finally:
        saying.cancel()


def fault(error: BaseException, request_id: str, with_text: bool) -> None:
    """A fault of ours: where it happened, and its words only if text may be logged, for they may
    quote a question or a key."""
    words = str(error)[:500] if with_text else ""
    event(
        "fault",
        logging.ERROR,
        request_id=request_id,
        error=type(error).__name__,
        message=words,
        where=_places(error),
    )


def _places(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{_short(each.filename)}:{each.lineno} {each.name}" for each in frames[-8:]]


def _short(path: str) -> str:
    """The end of a module's path: enough to find it, nothing of the machine."""
    return "/".join(path.replace("\\", "/").split("/")[-3:])
