"""Rate limits of a key: requests and tokens a minute, each a bucket that refills evenly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from understudy.gateway.door.headers import Pairs
from understudy.gateway.requests import Refused
from understudy.store.keys import Key

_BYTES_PER_TOKEN = 3  # of English JSON there are about four


@dataclass(frozen=True, slots=True)
class Bucket:
    """How much was left at a moment."""

    level: float
    at: float


def level_at(bucket: Bucket, per_minute: float, now: float) -> float:
    """What is left now: what was, and what came since; never more than a minute's worth."""
    return min(per_minute, bucket.level + (now - bucket.at) * per_minute / 60)


def seconds_until(amount: float, level: float, per_minute: float) -> float:
    """Until that much is there."""
    return max(0.0, (amount - level) * 60 / per_minute)


def expected_tokens(body_bytes: int, max_tokens: int | None, answers: int) -> int:
    """What a request may take, before it is answered: its own text, and the answers it allows."""
    return math.ceil(body_bytes / _BYTES_PER_TOKEN) + (max_tokens or 0) * answers


@dataclass(slots=True)
class Grant:
    """A request that was let in, and what it has been counted as."""

    key: Key
    tokens: float = 0.0


class RateLimits:
    """The buckets of every key, of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def admit(self, key: Key) -> Grant:
        """One request more; Refused where the minute has none left."""
        if key.requests_per_minute is not None:
            self._take(key, "requests", 1, key.requests_per_minute)
        return Grant(key)

    def expect(self, grant: Grant, tokens: float) -> None:
        """The request may take so many tokens. What is larger than a whole minute's share waits
        for a full bucket, else it would wait for ever."""
        limit = grant.key.tokens_per_minute
        if limit is not None:
            grant.tokens = min(tokens, limit)
            self._take(grant.key, "tokens", grant.tokens, limit)

    def settle(self, grant: Grant, tokens: float) -> None:
        """It took so many. The bucket may go below nothing: then later requests wait longer."""
        limit = grant.key.tokens_per_minute
        if limit is None:
            return
        now = self._clock()
        level = self._level(grant.key, "tokens", limit, now) + grant.tokens - tokens
        self._buckets[grant.key.id, "tokens"] = Bucket(min(level, limit), now)
        grant.tokens = tokens

    def headers(self, key: Key) -> Pairs:
        """OpenAI's: the limit, what remains, and when the bucket is full again."""
        found: Pairs = []
        now = self._clock()
        for part, limit in (
            ("requests", key.requests_per_minute),
            ("tokens", key.tokens_per_minute),
        ):
            if limit is None:
                continue
            level = self._level(key, part, limit, now)
            full = seconds_until(limit, level, limit)
            found += [
                (f"x-ratelimit-limit-{part}".encode(), str(limit).encode()),
                (f"x-ratelimit-remaining-{part}".encode(), str(max(0, int(level))).encode()),
                (f"x-ratelimit-reset-{part}".encode(), f"{full:.3f}s".encode()),
            ]
        return found

    def _level(self, key: Key, part: str, limit: int, now: float) -> float:
        bucket = self._buckets.get((key.id, part), Bucket(limit, now))
        return level_at(bucket, limit, now)

    def _take(self, key: Key, part: str, amount: float, limit: int) -> None:
        now = self._clock()
        level = self._level(key, part, limit, now)
        if amount > level:
            raise Refused(
                429,
                "rate_limit_error",
                f"this key may use {limit} {part} a minute; {max(0, int(level))} are left",
                code="rate_limit_exceeded",
                retry_after=seconds_until(amount, level, limit),
            )
        self._buckets[key.id, part] = Bucket(level - amount, now)


class Count:
    """The tokens of the answers to one request, settled once each of them is known.

    Whoever asks for a stream and leaves it has taken tokens too: the core tells how many, when the
    answer is paid.
    """

    def __init__(self, limits: RateLimits, grant: Grant, prompts: Sequence[int]) -> None:
        """prompts: about how many tokens each question has."""
        self._limits, self._grant, self._prompts = limits, grant, prompts
        self._taken: list[int | None] = [None] * len(prompts)

    def note(self, number: int, tokens: int) -> None:
        """So many one answer took, and its question."""
        self._taken[number] = tokens
        known = [each for each in self._taken if each is not None]
        if len(known) == len(self._taken):
            self._limits.settle(self._grant, sum(known))

    def told(self, number: int, prompt: int, completion: int) -> None:
        """What the core knows of one answer, where its usage did not come through the door."""
        if self._taken[number] is None:
            self.note(number, (prompt or self._prompts[number]) + completion)

    def refund(self) -> None:
        """The request was refused."""
        self._limits.settle(self._grant, 0)
