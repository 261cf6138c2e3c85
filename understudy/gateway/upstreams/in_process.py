"""A cloud of the kinds that training knows as an upstream: the simulated one, or your own."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field

from understudy.clouds import CLOUDS
from understudy.clouds.building import build_cloud
from understudy.clouds.calls import stream_of
from understudy.clouds.estimates import estimated_cost
from understudy.clouds.failures import NOT_KNOWN, NOT_RECORDED, shortened
from understudy.clouds.settings import CloudSettings, refuse_settings_of_a_run
from understudy.errors import ConfigError
from understudy.gateway.engine.fields import unserved
from understudy.gateway.messages import NotTextError, question_of
from understudy.gateway.upstreams import UpstreamSettings
from understudy.gateway.upstreams.calls import LATE, Bound, Call, UpstreamError, of_question
from understudy.gateway.writing import Writing, choice_of, error_payload, usage_of
from understudy.settings import Kinds
from understudy.tasks.recognise import recognise, typed
from understudy.types import Cloud, Cost, Problem, Question, Reply, Request

log = logging.getLogger(__name__)

# What a local engine serves and no cloud of training takes, with the values that ask for nothing.
_NOT_TAKEN: dict[str, tuple[Any, ...]] = {
    "tools": (None, []),
    "response_format": (None, {"type": "text"}),
    "logprobs": (None, False),
    "n": (None, 1),
    "top_p": (None, 1),
}
_CUT = "truncated"  # the error of an answer that is as long as it may be
_ELSEWHERE = "; for any other start understudy serve with --local or --cloud"
_OF_QUESTION = (NOT_KNOWN, NOT_RECORDED)  # errors that are the question's, not the cloud's


class InProcessUpstream:
    """Answers in this process. What it takes is known whole, so no answer is cut to its room."""

    class Settings(UpstreamSettings):
        kind: str = Field("cloud", description="which kind of cloud")
        cloud: Annotated[CloudSettings, Kinds(CLOUDS, "simulated")] = Field(
            "simulated", validate_default=True, description="which cloud"
        )

    def __init__(self, name: str, settings: Settings, key: str | None = None) -> None:
        if key is not None:
            raise ConfigError(f"clouds.{name}: a cloud in this process has no key")
        try:
            refuse_settings_of_a_run(settings.cloud)
        except ValueError as error:
            raise ConfigError(f"clouds.{name}.cloud: {error}; see caps") from None
        self.name = name
        self.model, self.address = f"{settings.cloud.kind}-cloud", ""
        self.train_on_replies = settings.train_on_replies
        self.tells_usage = False
        self._cloud = build_cloud(settings.cloud, _typed_problem)
        self.bounds_dollars = hasattr(self._cloud, "estimate")

    def bound(self, body: Mapping[str, Any], size: int, least_tokens: int) -> Bound:
        cost = estimated_cost(self._cloud, self._question(body))
        return Bound(cost, cost)

    def within(self, body: Mapping[str, Any], room: Cost) -> Mapping[str, Any]:
        return body

    async def send(self, call: Call) -> Told:
        request = Request(self._question(call.body))
        writing = Writing(self.model, call.include_usage)
        told = Told(self._cloud, request, writing)
        await told.begin(call.streams)
        return told

    async def models(self) -> list[str] | None:
        return None

    async def served(self, request_id: str) -> Cost | None:
        return None

    async def close(self) -> None: ...

    def _question(self, body: Mapping[str, Any]) -> Question:
        wanted = (name for name, idle in _NOT_TAKEN.items() if body.get(name) not in idle)
        if name := unserved(body) or next(wanted, ""):
            reason = f"{self.model} does not serve {name}"
            raise of_question(reason, name, "unsupported_parameter")
        try:
            return question_of(body)
        except NotTextError as error:
            reason = f"{self.model} reads text only, not {error}"
            raise of_question(reason, "messages", "unsupported_parameter") from None


class Told:
    """An answer of such a cloud on its way; see `calls.Incoming`."""

    def __init__(self, cloud: Cloud, request: Request, writing: Writing) -> None:
        self.completion: Mapping[str, Any] | None = None
        self.raw: bytes | None = None
        self.error: str | None = None
        self.text = ""
        self.ended = False
        self.id, self.model = writing.id, writing.model
        self._cloud, self._request, self._writing = cloud, request, writing
        self._reply: Reply | None = None
        self._ready: deque[bytes] = deque()
        self._parts: asyncio.Queue[str | Reply | Exception] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    async def begin(self, streams: bool) -> None:
        """Until it is certain that there is an answer."""
        try:
            while not (self.ended or (streams and self._ready)):
                await self._next()
        except BaseException:
            await self.close()
            raise
        reply = self._reply
        if reply is not None and self.error is not None and not (streams and self._ready):
            if (reply.error or "").startswith(_OF_QUESTION):
                elsewhere = _ELSEWHERE if self.error == NOT_KNOWN else ""
                raise of_question(self.error + elsewhere, "messages", "unknown_question")
            raise UpstreamError(self.error, billed=None if reply.cost.dollars else False)
        if reply is not None and not streams:
            choice = choice_of(self.text, self.finish_reason)
            self.completion = self._writing.completion([choice], _usage(reply))
            self._ready.clear()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._ready:
            if self.ended:
                raise StopAsyncIteration
            await self._next()
        return self._ready.popleft()

    @property
    def finish_reason(self) -> str:
        if self._reply is None or self.error is not None:
            return ""
        return "length" if self._reply.error == _CUT else "stop"

    @property
    def counted(self) -> bool:
        return self._reply is not None

    def cost(self) -> Cost:
        """Of what has not ended: what it costs at most."""
        if self._reply is None:
            return estimated_cost(self._cloud, self._request.question)
        return self._reply.cost

    async def close(self) -> None:
        self.ended = True
        self._reading.cancel()

    async def _read(self) -> None:
        """Apart from who reads along, so that they may stop and go on."""
        try:
            async for part in stream_of(self._cloud, self._request):
                self._parts.put_nowait(part)
        except Exception as error:
            self._parts.put_nowait(error)

    async def _next(self) -> None:
        part = await self._parts.get()
        if isinstance(part, Exception):
            self.ended = True
            log.error("%s failed", type(self._cloud).__name__, exc_info=part)
            raise UpstreamError(type(part).__name__, billed=None) from part
        if isinstance(part, str):
            self.text += part
            self._ready.append(self._writing.piece(part))
            return
        self.ended, self._reply, self.error = True, part, _reason(part)
        self.text = part.text or self.text
        if self.error is None:
            self._ready.extend(self._writing.end(self.finish_reason, _usage(part)))
        elif self._ready or self.text:
            self._ready.append(error_payload(f"the cloud failed: {self.error}"))


def _reason(reply: Reply) -> str | None:
    """Why it is no answer. What comes after a colon is an endpoint's own word, or a question's."""
    if reply.error is None or (reply.error == _CUT and reply.text is not None):
        return None
    kind = reply.error.partition(":")[0]
    return LATE if kind == "timeout" else shortened(kind)


def _usage(reply: Reply) -> dict[str, Any]:
    return usage_of(reply.prompt_tokens, reply.completion_tokens)


def _typed_problem(question: Question) -> Problem | None:
    """What a person who typed it means."""
    return recognise(typed(question.prompt))
