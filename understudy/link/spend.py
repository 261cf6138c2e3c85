"""The bill of a link to a cloud: a view of its account."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from understudy.link.meter import Account
from understudy.types import Cost

CACHE_HIT, FAILED, REFUSED = "cache hit", "failed call", "refused call"


@dataclass(frozen=True, slots=True)
class Spend:
    """Running totals of one link. What the cache answers costs nothing and is counted apart.

    refused_calls: not made, since a cap was reached or the endpoint had failed too often before;
    they are among neither calls nor failures.
    """

    calls: int = 0
    failed_calls: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    seconds: float = 0.0
    refused_calls: int = 0

    @classmethod
    def of(cls, account: Account) -> Spend:
        cost, events = account.total, account.events
        return cls(
            calls=cost.calls,
            failed_calls=events[FAILED],
            cache_hits=events[CACHE_HIT],
            prompt_tokens=cost.prompt_tokens,
            completion_tokens=cost.completion_tokens,
            dollars=cost.dollars,
            seconds=cost.seconds,
            refused_calls=events[REFUSED],
        )

    def account(self) -> Account:
        """An account with these totals, to go on with."""
        total = Cost(
            calls=self.calls,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            dollars=self.dollars,
            seconds=self.seconds,
        )
        events = {
            FAILED: self.failed_calls,
            CACHE_HIT: self.cache_hits,
            REFUSED: self.refused_calls,
        }
        return Account(total, events=Counter(events))
