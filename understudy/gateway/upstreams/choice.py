"""Several clouds: which is asked for a question, in which order, and which rests after failures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from understudy.clouds.retries import Circuit
from understudy.errors import ConfigError
from understudy.gateway.latencies import Usual
from understudy.gateway.upstreams import UPSTREAMS, UpstreamSettings
from understudy.gateway.upstreams.calls import Bound, Upstream, UpstreamError

_FAILURES, _PAUSE_SECONDS = 5, 10.0
_PROBE_SECONDS = 1.0  # while one call looks whether a cloud is back, others may come again after


@dataclass(slots=True)
class Candidate:
    """An upstream with what its last calls were like."""

    upstream: Upstream
    circuit: Circuit
    usual: Usual  # seconds of a whole answer
    alias: str = ""  # a model name under which several are asked, as LiteLLM's model_name
    rests_until: float = 0.0  # it asked to be left alone

    @property
    def name(self) -> str:
        return self.upstream.name

    def names(self) -> set[str]:
        """By which a request may ask for it."""
        return {self.upstream.name, self.upstream.model, self.alias} - {""}

    def resting(self) -> UpstreamError:
        """Why no call is made to it now."""
        rest = max(self.circuit.rest(), _PROBE_SECONDS)
        return UpstreamError(f"{self.name} failed too often, and rests", retry_after=rest)


@dataclass(frozen=True, slots=True)
class Offer:
    """A candidate for a question, and what it may cost there."""

    candidate: Candidate
    bound: Bound


@dataclass(slots=True)
class Choice:
    candidates: Sequence[Candidate]
    order: Literal["listed", "cheapest"] = "listed"
    clock: Callable[[], float] = time.monotonic
    _by_name: dict[str, list[Candidate]] = field(init=False)

    def __post_init__(self) -> None:
        self._by_name = {}
        for candidate in self.candidates:
            for name in candidate.names():
                self._by_name.setdefault(name, []).append(candidate)

    def named(self, name: str) -> list[Candidate]:
        """Those that a request means by a name; none: it is no name of a cloud."""
        return self._by_name.get(name, [])

    def offers(
        self,
        body: Mapping[str, Any],
        size: int,
        least_tokens: int,
        among: Sequence[Candidate] = (),
    ) -> tuple[list[Offer], list[UpstreamError]]:
        """Who is asked, in order; and why each of the others is not."""
        found, why = list[Offer](), list[UpstreamError]()
        candidates = among or self.candidates
        for candidate in candidates:
            if (rest := candidate.rests_until - self.clock()) > 0:
                reason = f"{candidate.name} asked to be left alone for a while"
                why.append(UpstreamError(reason, retry_after=rest))
                continue
            if candidate.circuit.pauses():
                why.append(candidate.resting())
                continue
            try:
                bound = candidate.upstream.bound(body, size, least_tokens)
            except UpstreamError as error:
                why.append(error)
                continue
            found.append(Offer(candidate, bound))
        if not candidates:
            why.append(UpstreamError("there is no cloud"))
        if self.order == "cheapest":
            found.sort(key=lambda offer: offer.bound.most.dollars)
        return found, why

    def usual(self, among: Sequence[Candidate] = ()) -> Usual | None:
        """Of the one that would be asked first."""
        awake = (
            each
            for each in among or self.candidates
            if not each.circuit.pauses() and each.rests_until <= self.clock()
        )
        first = next(awake, None)
        return None if first is None else first.usual

    async def close(self) -> None:
        for candidate in self.candidates:
            await candidate.upstream.close()


def candidate_of(
    name: str, settings: UpstreamSettings, usual: float, key: str | None = None, alias: str = ""
) -> Candidate:
    """usual: the quantile of its latency that is taken for usual. key: of an upstream whose
    settings name none."""
    try:
        upstream: Upstream = UPSTREAMS.make(settings.kind, name, settings, key)
    except TypeError as error:
        raise ConfigError(f"clouds.{name}.kind={settings.kind}: is no upstream ({error})") from None
    failures = getattr(settings, "circuit_failures", _FAILURES)
    pause = getattr(settings, "circuit_pause_seconds", _PAUSE_SECONDS)
    return Candidate(upstream, Circuit(failures, pause), Usual(usual), alias)
