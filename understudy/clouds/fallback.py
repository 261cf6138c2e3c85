"""Several clouds in order: where one fails, the next is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Annotated, Self

from pydantic import Field, model_validator

from understudy.clouds import CLOUDS
from understudy.clouds.building import build_cloud
from understudy.clouds.calls import reply_of, stream_of
from understudy.clouds.estimates import estimated_cost
from understudy.clouds.settings import CloudSettings, refuse_settings_of_a_run
from understudy.settings import Kinds
from understudy.types import AnswerKey, Cloud, Cost, Question, Reply, Request


class FallbackCloud:
    """Asks each cloud in turn until one answers. The reply says which, and what the others cost.

    A circuit that is open fails at once, so that the next cloud is asked without a wait. A stream
    that has begun is not begun again by another cloud: its reader has seen a part of it.
    """

    class Settings(CloudSettings):
        kind: str = "fallback"
        clouds: list[Annotated[CloudSettings, Kinds(CLOUDS, "simulated")]] = Field(
            [], description="settings of the clouds, the first to be asked first"
        )

        @model_validator(mode="after")
        def _usable(self) -> Self:
            if not self.clouds:
                raise ValueError("clouds is empty; give the settings of at least one")
            for each in self.clouds:
                refuse_settings_of_a_run(each)
            return self

    def __init__(self, settings: Settings, key: AnswerKey) -> None:
        self.clouds: Sequence[tuple[str, Cloud]] = [
            (f"{number} {each.kind}", build_cloud(each, key))
            for number, each in enumerate(settings.clouds, start=1)
        ]

    @property
    def address(self) -> str:
        """All addresses, in order."""
        return ", ".join(getattr(cloud, "address", name) for name, cloud in self.clouds)

    async def answer(self, request: Request) -> Reply:
        tried: tuple[Reply, ...] = ()
        for name, cloud in self.clouds:
            reply = _named(name, await reply_of(cloud, request), tried)
            if reply.error is None:
                return reply
            tried = (*reply.tried, replace(reply, tried=()))
        return reply

    async def stream(self, request: Request) -> AsyncIterator[str | Reply]:
        tried: tuple[Reply, ...] = ()
        for name, cloud in self.clouds:
            begun = False
            async for part in stream_of(cloud, request):
                if isinstance(part, str):
                    begun = True
                    yield part
                    continue
                reply = _named(name, part, tried)
            if reply.error is None or begun:
                break
            tried = (*reply.tried, replace(reply, tried=()))
        yield reply

    def estimate(self, question: Question) -> Cost:
        """As if every cloud but the last failed after it was paid."""
        return sum((estimated_cost(cloud, question) for _, cloud in self.clouds), Cost())


def _named(name: str, reply: Reply, tried: tuple[Reply, ...]) -> Reply:
    """The reply of one of the clouds, with what failed before it; that cloud may itself be several,
    of which each keeps its line in the bill."""
    within = (replace(each, cloud=f"{name}: {each.cloud}") for each in reply.tried)
    own = f"{name}: {reply.cloud}" if reply.cloud else name
    return replace(reply, cloud=own, tried=(*tried, *within))
