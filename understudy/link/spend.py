"""What has crossed a link so far, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, replace

from understudy.types import Reply


@dataclass(frozen=True, slots=True)
class Spend:
    """Running totals of one link. What the cache answers costs nothing and is counted apart."""

    calls: int = 0
    failed_calls: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    seconds: float = 0.0

    def with_reply(self, reply: Reply) -> Spend:
        return replace(
            self,
            calls=self.calls + 1,
            failed_calls=self.failed_calls + (reply.error is not None),
            prompt_tokens=self.prompt_tokens + reply.prompt_tokens,
            completion_tokens=self.completion_tokens + reply.completion_tokens,
            dollars=self.dollars + reply.dollars,
            seconds=self.seconds + reply.seconds,
        )

    def with_cache_hit(self) -> Spend:
        return replace(self, cache_hits=self.cache_hits + 1)
