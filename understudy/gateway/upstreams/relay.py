"""One HTTP call passed through: bytes in, bytes out, its tokens counted while they pass."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import orjson

from understudy.clouds.completions import Answer, Assembly, read_usage
from understudy.clouds.estimates import about_tokens
from understudy.clouds.events import DONE, EventData, OverlongEventError
from understudy.clouds.http import proxy_for
from understudy.clouds.prices import Prices
from understudy.clouds.retries import REFUSED_QUESTION
from understudy.gateway.upstreams.bounds import cost_of, passes
from understudy.gateway.upstreams.calls import Call, UpstreamError
from understudy.gateway.upstreams.posting import open_session, posted
from understudy.gateway.upstreams.refusal import read_at_most, reason_of, refusal_of, with_code
from understudy.gateway.writing import error_payload
from understudy.types import Cost

_LAST_BYTES_SECONDS = 1.0  # between a stream's [DONE] and the end of its body

_LARGEST_ANSWER = 64 * 2**20  # bytes of an answer that does not stream
_LARGEST_USAGE = 64 * 2**10


class Relay:
    """Calls of one endpoint, over connections that are kept."""

    def __init__(
        self,
        url: str,
        model: str,
        prices: Prices,
        key: str | None,
        *,
        timeout_seconds: float,
        connect_timeout_seconds: float,
        usage_url: str,
    ) -> None:
        self.url, self.model, self.prices, self.usage_url = url, model, prices, usage_url
        self._key = key
        self._counts_usage: bool | None = None  # whether it takes stream_options; None: not known
        self._proxy = proxy_for(url)
        self._session = open_session(
            aiohttp.ClientTimeout(
                total=None,
                sock_connect=connect_timeout_seconds,
                sock_read=timeout_seconds,
            )
        )

    async def close(self) -> None:
        await self._session.close()

    async def send(self, call: Call) -> Passing:
        """Until it is known that a stream can count its tokens, a refusal may be for asking that:
        then it is asked again without."""
        counted = call.streams and self._counts_usage is not False
        try:
            passing = await self._posted(call, counted)
        except UpstreamError as error:
            if not counted or self._counts_usage or error.status not in REFUSED_QUESTION:
                raise
            passing = await self._posted(call, False)
            self._counts_usage = False
        else:
            if counted:
                self._counts_usage = True
        return passing

    async def _posted(self, call: Call, counted: bool) -> Passing:
        body = {**call.body, "model": self.model}
        if counted:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        elif call.streams:
            body.pop("stream_options", None)
        content, headers = orjson.dumps(body), self._headers(call)
        response = await posted(self._session, self.url, content, headers, self._proxy)
        passing = Passing(response, self.prices, call, self._key)
        try:
            if response.status != 200:
                raise await refusal_of(response, self._key)
            await passing.begin()
        except BaseException:
            response.close()
            raise
        return passing

    def _headers(self, call: Call) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if call.streams else "application/json",
            "Accept-Encoding": "identity",
            "x-client-request-id": call.request_id,
        }
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        return headers

    async def served(self, request_id: str) -> Cost | None:
        if not self.usage_url:
            return None
        url = self.usage_url.replace("{request_id}", quote(request_id, safe=""))
        headers = {} if self._key is None else {"Authorization": f"Bearer {self._key}"}
        try:
            async with self._session.get(
                url, headers=headers, proxy=self._proxy, allow_redirects=False
            ) as response:
                if response.status == 404:  # it knows of no such request
                    return Cost()
                if (status := response.status) != 200:
                    raise UpstreamError(f"its usage_url: HTTP {status}", status=status)
                content = orjson.loads(await read_at_most(response, _LARGEST_USAGE))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise UpstreamError(f"its usage_url: {reason_of(error)}") from None
        return served_cost(content, self.prices)


def served_cost(content: Any, prices: Prices) -> Cost | None:
    """What a usage address says: {"prompt_tokens", "completion_tokens"}, with "calls" where the
    id was served more often than once."""
    content = content.get("usage", content) if isinstance(content, Mapping) else {}
    used = read_usage(content)
    if used.prompt is None or used.completion is None:
        return None
    cost = cost_of(prices, used.prompt, used.completion, used.cached, used.written)
    calls = content.get("calls")
    known = isinstance(calls, int) and calls >= 0
    return replace(cost, calls=calls if known else int(used.prompt + used.completion > 0))


def _believed(answer: Answer, size: int) -> Answer:
    """No question has no tokens, and no text has none: an endpoint that says so did not count.

    size: of what it wrote.
    """
    if answer.prompt_tokens == 0:
        answer = replace(answer, prompt_tokens=None)
    if answer.completion_tokens == 0 and size:
        answer = replace(answer, completion_tokens=None)
    return answer


class Passing:
    """An answer of an endpoint while it passes; see `calls.Incoming`."""

    def __init__(
        self, response: aiohttp.ClientResponse, prices: Prices, call: Call, key: str | None = None
    ) -> None:
        """key: that an error may repeat."""
        self.completion: Mapping[str, Any] | None = None
        self.raw: bytes | None = None
        self.error: str | None = None
        self.id = self.model = ""
        self._response, self._prices, self._call, self._key = response, prices, call, key
        self._events, self._assembly = EventData(), Assembly()
        self._ready: deque[bytes] = deque()
        self._chunks = 0
        self._over = False  # nothing more is read
        self._whole: Answer | None = None

    async def begin(self) -> None:
        """Until it is certain that there is an answer."""
        kind = self._response.content_type
        if kind == "text/event-stream" and self._call.streams:
            while not self._ready and not self._over:
                await self._read()
            if self.error is not None and not self._chunks:
                raise UpstreamError(self.error, billed=None)
            return
        if kind != "application/json" and not kind.endswith("+json"):
            raise UpstreamError(f"wrong content type: {kind}", billed=None)
        await self._read_whole()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._ready:
            if self._over:
                raise StopAsyncIteration
            await self._read()
        return self._ready.popleft()

    @property
    def ended(self) -> bool:
        return self._over and not self._ready

    @property
    def text(self) -> str:
        return "".join(self._assembly.texts)

    @property
    def finish_reason(self) -> str:
        return self._assembly.finish_reason or ""

    @property
    def counted(self) -> bool:
        answer = self._answer()
        return answer.prompt_tokens is not None and answer.completion_tokens is not None

    def cost(self) -> Cost:
        """As the endpoint counted; else a token for four bytes of the question and for four of all
        its answers, or for every part of them that came in a chunk of its own."""
        answer = self._answer()
        prompt, completion = answer.prompt_tokens, answer.completion_tokens
        if prompt is None:
            prompt = about_tokens(len(orjson.dumps(self._call.body)))
        if completion is None:
            completion = max(self._assembly.pieces, about_tokens(self._assembly.size))
        cached, written = answer.cached_tokens, answer.written_tokens
        return cost_of(self._prices, prompt, completion, cached, written)

    def _answer(self) -> Answer:
        """What has come, put together once it is all."""
        if self._whole is not None:
            return self._whole
        answer = _believed(self._assembly.answer(), self._assembly.size)
        if self._over:
            self._whole = answer
        return answer

    async def close(self) -> None:
        """The body of a stream that has ended is read to its end: then the connection is kept."""
        whole = self._over and self.error is None
        self._over = True
        if whole and not self._response.content.at_eof():
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with asyncio.timeout(_LAST_BYTES_SECONDS):
                    await self._response.content.readany()
        self._response.release() if whole else self._response.close()

    async def _read(self) -> None:
        """The next bytes. Cancelled, it may be called again: nothing is lost."""
        try:
            piece = await self._response.content.readany()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._fail(f"the stream broke: {reason_of(error)}")
            return
        try:
            found = self._events.feed(piece) if piece else self._events.end()
        except OverlongEventError as error:
            self._fail(str(error))
            return
        for data in found:
            self._take(data)
        if not piece and not self._over:
            if self._assembly.finish_reason is None:
                self._fail("the stream ended before the answer did")
            self._over = True

    def _take(self, data: bytes) -> None:
        if self._over:
            return
        if data.strip() == DONE:
            self._over = True
            return
        try:
            chunk = orjson.loads(data)
        except ValueError:
            chunk = None
        if not isinstance(chunk, dict):
            self._fail("an event of the stream is no JSON object")
            return
        self._note(chunk)
        if chunk.get("error"):
            self._fail(with_code("an error came in the stream", chunk, self._key))
            return
        if chunk.get("choices"):
            self._chunks += 1
        elif chunk.get("usage") and not self._call.include_usage:
            return
        if not self._call.include_usage:
            # In a text these quotes would be escaped, so this is a field.
            data = data.replace(b',"usage":null', b"").replace(b', "usage": null', b"")
        self._ready.append(data)
        most, answers = self._call.tokens, self._assembly
        if most is not None and passes(most, answers.pieces, answers.size):
            self._fail(f"it wrote on past the {most} tokens that it was allowed, and was cut")

    def _note(self, content: Mapping[str, Any]) -> None:
        """Of a whole completion, or of one chunk."""
        self._assembly.add(content)
        if not self.id:
            self.id, self.model = str(content.get("id") or ""), str(content.get("model") or "")

    def _fail(self, error: str) -> None:
        """Who reads has had a part of the answer, so the error is told in the stream."""
        self.error, self._over = error, True
        if self._chunks:
            self._ready.append(error_payload(f"the cloud failed: {self.error}"))
        self._response.close()

    async def _read_whole(self) -> None:
        content = bytearray()
        try:
            async for piece in self._response.content.iter_any():
                content += piece
                if len(content) > _LARGEST_ANSWER:
                    raise UpstreamError(f"an answer over {_LARGEST_ANSWER} bytes", billed=None)
            completion = orjson.loads(content)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise UpstreamError(f"the answer broke: {reason_of(error)}", billed=None) from None
        except ValueError:
            raise UpstreamError("the answer is no JSON", billed=None) from None
        if not isinstance(completion, dict) or not completion.get("choices"):
            reason = with_code("an answer without choices", completion, self._key)
            raise UpstreamError(reason, billed=None)
        self._note(completion)
        self.completion, self.raw, self._over = completion, bytes(content), True
