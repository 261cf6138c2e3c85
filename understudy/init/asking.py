"""What is wanted, and all of it that a person may be asked: before bars of work are shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from understudy.init.cloud import Endpoint, Given, endpoint_of
from understudy.init.columns import Ask
from understudy.init.looking import Found, look_at
from understudy.models import hub


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person gave. prompt, solution: columns; None: they are looked for."""

    model: str
    data: Path
    cloud: Given | None = None
    prompt: str | None = None
    solution: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """With what was found of the data, and is known of the cloud."""

    wish: Wish
    found: Found
    endpoint: Endpoint | None


def seen(wish: Wish, ask: Ask | None, check: bool) -> Seen:
    """ask: a person, for what cannot be found out; None: nobody is there. check: whether the cloud
    may be asked which models it has."""
    hub.check(wish.model)
    found = look_at(wish.data, wish.prompt, wish.solution, ask)
    endpoint = endpoint_of(wish.cloud, ask, check) if wish.cloud else None
    return Seen(wish, found, endpoint)
