"""The HTTP cloud as tests build and ask it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from tests.clouds.endpoint_server import EndpointServer
from understudy.clouds.endpoint import Endpoint
from understudy.clouds.http import HttpCloud
from understudy.clouds.prices import Prices
from understudy.types import Question, Reply, Request

PRICES = Prices(prompt=2.0, cached_prompt=0.5, completion=10.0)
KEY = "sk-test-0123456789abcdef"
QUESTION = Question.of("2 + 2 = ?", "Answer with a number.")


def cloud_of(
    server: EndpointServer | str, clock: Callable[[], float] = time.monotonic, **settings: Any
) -> HttpCloud:
    url = server if isinstance(server, str) else server.url
    key = settings.pop("api_key", KEY)
    largest = settings.pop("largest_reply", HttpCloud.largest_reply)
    settings = {"timeout_seconds": 60.0, "max_tokens": None} | settings
    endpoint = Endpoint(base_url=url, model="big", **settings)
    cloud = HttpCloud(endpoint, key, PRICES, clock)
    cloud.largest_reply = largest
    return cloud


def ask(cloud: HttpCloud, *questions: Question) -> list[Reply]:
    """A reply per question, all in flight together."""

    async def answers() -> list[Reply]:
        return await asyncio.gather(*(cloud.answer(Request(question)) for question in questions))

    return asyncio.run(answers())


def ask_one(cloud: HttpCloud) -> Reply:
    return ask(cloud, QUESTION)[0]
