"""A cloud behind a cache and a meter: one question is paid for once, and everything is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from understudy.link import Spend
from understudy.types import Cloud, Query, Reply, Request


class MeteredCloud:
    """Answers each query once and remembers it; failures are counted, never remembered."""

    def __init__(self, cloud: Cloud, state: Mapping[str, Any] | None = None) -> None:
        self.cloud = cloud
        state = state or {"spend": {}, "replies": {}, "attempts": {}}
        self.spend = Spend(**state["spend"])
        self._replies = {prompt: Reply(**reply) for prompt, reply in state["replies"].items()}
        self._attempts: dict[str, int] = dict(state["attempts"])

    async def answer(self, request: Request) -> Reply:
        return (await self.answer_all([request.query]))[0]

    async def answer_all(self, queries: Sequence[Query]) -> list[Reply]:
        """A reply per query, in order; equal prompts cross the link once."""
        new = {query.prompt: query for query in queries if query.prompt not in self._replies}
        requests = [Request(query, self._attempts.get(prompt, 0)) for prompt, query in new.items()]
        replies = await asyncio.gather(*(self.cloud.answer(request) for request in requests))
        fresh = dict(zip(new, replies, strict=True))
        for prompt, reply in fresh.items():  # in the order asked: totals must not depend on timing
            self.spend = self.spend.with_reply(reply)
            if reply.error is None:
                self._replies[prompt] = reply
            else:
                self._attempts[prompt] = self._attempts.get(prompt, 0) + 1
        answers, seen = [], set()
        for query in queries:
            if query.prompt not in fresh or query.prompt in seen:
                self.spend = self.spend.with_cache_hit()
            seen.add(query.prompt)
            answers.append(fresh.get(query.prompt) or self._replies[query.prompt])
        return answers

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs to spend, hit and miss as this one would have."""
        return {
            "spend": asdict(self.spend),
            "replies": {prompt: asdict(reply) for prompt, reply in self._replies.items()},
            "attempts": self._attempts,
        }
