"""The bill of a link to a cloud: a view of its account."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from understudy.link.meter import Account
from understudy.types import Cost

CACHE_HIT, FAILED, REFUSED = "cache hit", "failed call", "refused call"
RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Spend:
    """Running totals of one link. What the cache answers costs nothing and is counted apart.

    refused_calls: not made, since a cap was reached or the endpoint had failed too often before;
    they are among neither calls nor failures. unknown_calls: among the failed ones those that broke
    off, so that they may have been paid for: unknown_dollars at most, which are not among dollars.
    """

    calls: int = 0
    failed_calls: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    seconds: float = 0.0
    refused_calls: int = 0
    retries: int = 0
    unknown_calls: int = 0
    unknown_dollars: float = 0.0

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
            retries=events[RETRY],
            unknown_calls=account.unknown.calls,
            unknown_dollars=account.unknown.dollars,
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
            RETRY: self.retries,
        }
        unknown = Cost(calls=self.unknown_calls, dollars=self.unknown_dollars)
        return Account(total, events=Counter(events), unknown=unknown)
