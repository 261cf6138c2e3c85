"""What a request means by the model that it names."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from understudy.gateway.requests import AUTO, CLOUD, LOCAL, ModelCard, Refused
from understudy.gateway.upstreams.choice import Candidate, Choice

Way = Literal["auto", "local", "cloud"]


@dataclass(frozen=True, slots=True)
class Target:
    way: Way
    version: str = ""  # '': the one that serves
    among: tuple[Candidate, ...] = ()  # clouds; none: all of them


class Names:
    """others: names that stand for one of ours, also where a cloud has the same: a program that
    asks for gpt-4o may be meant to ask the policy first. '*' is for every name that is none."""

    def __init__(self, choice: Choice, others: Mapping[str, str]) -> None:
        self._choice, self._others = choice, dict(others)
        self._since = int(time.time())

    def target(self, name: str, versions: Sequence[str]) -> Target:
        """Raises Refused for what is no model of ours."""
        meant = self._others.get(name)
        found = self._target(name if meant is None else meant, versions)
        if found is None and meant is None and (meant := self._others.get("*")) is not None:
            found = self._target(meant, versions)
        if found is None:
            known = ", ".join([card.id for card in self.cards(versions)][:12])
            stands = "" if meant is None else f" (it stands for {meant}, by policy.models)"
            raise Refused(
                404,
                "invalid_request_error",
                f"the model {name!r}{stands} does not exist here; use {known}",
                code="model_not_found",
                param="model",
            )
        return found

    def cards(self, versions: Sequence[str]) -> list[ModelCard]:
        """Each name once."""
        cards = [
            ModelCard(AUTO, "understudy", self._since, "the policy decides who answers"),
            ModelCard(LOCAL, "understudy", self._since, "the local model"),
            ModelCard(CLOUD, "understudy", self._since, "the first cloud that has room"),
        ]
        cards += [ModelCard(each, "understudy", self._since) for each in versions]
        cards += [
            ModelCard(name, "understudy", self._since, f"stands for {meant}")
            for name, meant in self._others.items()
            if name != "*"
        ]
        cards += [ModelCard(name, owner, self._since) for name, owner in self._clouds()]
        first: dict[str, ModelCard] = {}
        for card in cards:
            first.setdefault(card.id, card)
        return list(first.values())

    def dangling(self, versions: Sequence[str]) -> list[str]:
        """Other names that stand for nothing that is here now; a version may still come."""
        return [
            name
            for name, meant in self._others.items()
            if "@" not in meant and self._target(meant, versions) is None
        ]

    def _target(self, name: str, versions: Sequence[str]) -> Target | None:
        if name == AUTO:
            return Target("auto")
        if name == LOCAL:
            return Target("local")
        if name == CLOUD:
            return Target("cloud")
        if name in versions:
            return Target("local", name)
        among = tuple(self._choice.named(name))
        return Target("cloud", among=among) if among else None

    def _clouds(self) -> Iterator[tuple[str, str]]:
        """Names of clouds, with the cloud's own; of several under one alias, not how they are told
        apart here."""
        for candidate in self._choice.candidates:
            own = {candidate.name} if candidate.alias else set()
            for name in sorted(candidate.names() - own | {candidate.alias} - {""}):
                yield name, candidate.alias or candidate.name
