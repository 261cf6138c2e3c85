"""How everyone stands to their caps: for whoever watches the gateway."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from understudy.store.batches import AsyncLedger
from understudy.store.keys import Key
from understudy.store.operations import Standing

_MOST_SCOPES = 40


def capped_scopes(ledger: AsyncLedger, keys: Iterable[Key], now: float) -> Sequence[str]:
    """The scopes that have caps: in total, of teams, of live keys; not more than forty."""
    scopes = dict.fromkeys(scope for key in keys if key.is_live(now) for scope in key.spends_on)
    order = sorted({"total": None} | scopes, key=lambda scope: scope.startswith("key:"))
    return [scope for scope in order if ledger.ledger.caps_on(scope)][:_MOST_SCOPES]


async def standings(ledger: AsyncLedger, keys: Iterable[Key], now: float) -> list[Standing]:
    """Raises LedgerUnavailable."""
    scopes = tuple(capped_scopes(ledger, keys, now))
    return await ledger.standing(scopes) if scopes else []
