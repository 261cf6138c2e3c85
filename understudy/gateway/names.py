"""What a request means by the model that it names."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
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
    """others: names that stand for one of ours; '*' for every name that is none."""

    def __init__(self, choice: Choice, others: Mapping[str, str]) -> None:
        self._choice, self._others = choice, dict(others)
        self._since = int(time.time())

    def target(self, name: str, versions: Sequence[str]) -> Target:
        """Raises Refused for what is no model of ours."""
        found = self._target(name, versions)
        if found is None:
            meant = self._others.get(name) or self._others.get("*")
            found = None if meant is None else self._target(meant, versions)
        if found is None:
            known = ", ".join([AUTO, LOCAL, CLOUD, *versions, *self._clouds()][:12])
            raise Refused(
                404,
                "invalid_request_error",
                f"the model {name!r} does not exist here; use {known}",
                code="model_not_found",
                param="model",
            )
        return found

    def cards(self, versions: Sequence[str]) -> list[ModelCard]:
        cards = [
            ModelCard(AUTO, "understudy", self._since, "the policy decides who answers"),
            ModelCard(LOCAL, "understudy", self._since, "the local model"),
            ModelCard(CLOUD, "understudy", self._since, "the first cloud that has room"),
        ]
        cards += [ModelCard(each, "understudy", self._since) for each in versions]
        cards += [ModelCard(name, owner, self._since) for name, owner in self._clouds().items()]
        others = [name for name in self._others if name != "*"]
        return cards + [ModelCard(name, "understudy", self._since) for name in others]

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

    def _clouds(self) -> dict[str, str]:
        """Every name of a cloud, with the cloud's own."""
        return {
            name: candidate.name
            for candidate in self._choice.candidates
            for name in sorted(candidate.names())
        }
