"""Any OpenAI-compatible endpoint as a cloud. A failed call is an outcome, never an exception."""

from __future__ import annotations

import asyncio
import json
import random
import time
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import aiohttp

from understudy.clouds.completions import (
    Answer,
    StreamedAnswer,
    body_of,
    error_message,
    max_tokens_of,
    whole_answer,
)
from understudy.clouds.endpoint import Endpoint
from understudy.clouds.estimates import UNKNOWN_LENGTH, about_tokens, prompt_tokens_at_most
from understudy.clouds.failures import shortened
from understudy.clouds.pieces import Pieces
from understudy.clouds.prices import Prices
from understudy.clouds.retries import (
    REFUSED_QUESTION,
    Circuit,
    is_retried,
    retry_after,
    wait_before,
)
from understudy.types import Cost, Question, Reply, Request

# Between batches nobody notices that the other side closed an idle connection, and common servers
# do after 5 seconds: one that was idle for longer than this is not used again.
_KEEP_ALIVE_SECONDS = 4.0

# A connection that breaks this soon after a question was sent had been given up by the other side
# before; later, an answer may be on its way, and paid for.
_STALE_SECONDS = 5.0

_LARGEST_ERROR = 64 * 2**10  # bytes of an error's body that are read

_SHORTEST_SECRET = 16  # characters

_CIRCUIT_OPEN = Reply(text=None, error="circuit open", called=False)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Of one HTTP exchange."""

    answer: Answer
    works: bool  # the endpoint does, whatever it made of this question
    retried: bool = False
    after: float | None = None  # seconds that it asks to wait
    status: int | None = None
    broke_off: bool = False  # an answer may have been written, and nobody says what it cost
    retries: int = 0


@dataclass(frozen=True, slots=True)
class _Call:
    """One question on its way, and who takes the pieces of its answer."""

    session: aiohttp.ClientSession
    question: Question
    pieces: Pieces | None


@dataclass(frozen=True, slots=True)
class _Connections:
    """What calls in one event loop share."""

    session: aiohttp.ClientSession
    slots: asyncio.Semaphore
    owner: AsyncGenerator[aiohttp.ClientSession, None]


class HttpCloud:
    """One client of one endpoint; at most `max_concurrency` calls are in flight.

    A call has a deadline, which counts from when it gets its slot and includes its retries. It is
    made again only where no answer can be on its way: refused for now, failed by the server, or its
    connection broken at once. clock: what the circuit's pauses are measured by. Usable from several
    event loops, one after the other; each closes its own connections when it ends.
    """

    largest_reply = 16 * 2**20  # bytes; what is longer is no answer

    def __init__(
        self,
        endpoint: Endpoint,
        key: str | None,
        prices: Prices,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint, self.prices = endpoint, prices
        self.url = endpoint.url
        self.address = self.url.removesuffix("/chat/completions")
        self.estimated = 0  # replies whose tokens the endpoint did not count, so they are estimates
        self._circuit = Circuit(endpoint.circuit_failures, endpoint.circuit_pause_seconds, clock)
        self._random = random.Random()
        self._by_loop: dict[asyncio.AbstractEventLoop, _Connections] = {}
        self._counts_usage: bool | None = None  # whether it takes stream_options; None: not known
        self._proxy = proxy_for(self.url)
        self._key = key

    async def answer(self, request: Request) -> Reply:
        return await self._answered(request.question)

    async def stream(self, request: Request) -> AsyncIterator[str | Reply]:
        """The answer's pieces as the endpoint sends them, then the reply."""
        parts: asyncio.Queue[str | None] = asyncio.Queue()
        pieces = Pieces(parts.put_nowait, self._key if self._hides_key else None)
        task = asyncio.create_task(self._answered(request.question, pieces))
        task.add_done_callback(lambda _: parts.put_nowait(None))
        came = False
        try:
            while (part := await parts.get()) is not None:
                came = True
                yield part
            reply = await task
            if reply.text and not came:  # from an endpoint that does not stream
                yield reply.text
            yield reply
        finally:
            task.cancel()

    def estimate(self, question: Question) -> Cost:
        """What an answer costs at most, where the length of answers is bounded."""
        prompt = prompt_tokens_at_most(question)
        longest = max_tokens_of(self.endpoint, question) or UNKNOWN_LENGTH
        return Cost(1, prompt, longest, dollars=self.prices.at_most(prompt, longest))

    @property
    def _hides_key(self) -> bool:
        """Whether the key is cut out of answers; a local server's "EMPTY" may be part of one."""
        return self._key is not None and len(self._key) >= _SHORTEST_SECRET

    async def _answered(self, question: Question, pieces: Pieces | None = None) -> Reply:
        if self._circuit.pauses():  # said at once, though every slot may be taken
            return _CIRCUIT_OPEN
        shared = await self._connections()
        async with shared.slots:
            if not self._circuit.admits():
                return _CIRCUIT_OPEN
            works: bool | None = None
            started = time.monotonic()
            try:
                outcome = await self._outcome(_Call(shared.session, question, pieces))
                works = outcome.works
            finally:
                self._circuit.note(works)
        if pieces is not None:
            pieces.close()
        return self._reply(question, outcome, time.monotonic() - started)

    async def _outcome(self, call: _Call) -> _Outcome:
        """Of a call and its retries, within the deadline."""
        seconds = self.endpoint.timeout_seconds
        deadline, retry = time.monotonic() + seconds, 0
        try:
            async with asyncio.timeout(seconds):
                for retry in range(self.endpoint.max_retries + 1):
                    outcome = await self._called(call)
                    wait = wait_before(retry, outcome.after, self._random)
                    last = retry == self.endpoint.max_retries
                    if last or not outcome.retried or time.monotonic() + wait >= deadline:
                        return replace(outcome, retries=retry)
                    await asyncio.sleep(wait)
        except TimeoutError:
            pass
        return _Outcome(Answer(error="timeout"), works=False, broke_off=True, retries=retry)

    async def _called(self, call: _Call) -> _Outcome:
        """One attempt. Until it is known that a stream can count its tokens, a refusal may be for
        asking that: then it is asked again without."""
        counted = self._streams(call) and self._counts_usage is not False
        outcome = await self._posted(call, counted)
        if not counted:
            return outcome
        if outcome.status == 200:
            self._counts_usage = True
        elif outcome.status in REFUSED_QUESTION and self._counts_usage is None:
            outcome = await self._posted(call, False)
            if outcome.status == 200:
                self._counts_usage = False
        return outcome

    def _streams(self, call: _Call) -> bool:
        return self.endpoint.stream or call.pieces is not None

    async def _posted(self, call: _Call, counted: bool) -> _Outcome:
        streams = self._streams(call)
        headers = {"Content-Type": "application/json"}
        headers["Accept"] = "text/event-stream" if streams else "application/json"
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        started = time.monotonic()
        try:
            response = await call.session.post(
                self.url,
                data=body_of(self.endpoint, call.question, streams, counted),
                headers=headers,
                proxy=self._proxy,
                allow_redirects=False,  # a key goes where its owner sent it
            )
        except aiohttp.ClientSSLError as error:
            return _failed(f"no secure connection: {type(error).__name__}")
        except (aiohttp.ClientConnectionError, OSError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            never_made = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
            soon = time.monotonic() - started < _STALE_SECONDS
            retried = soon or isinstance(error, never_made)
            return replace(_failed(f"no connection: {reason}", retried), broke_off=not retried)
        except (aiohttp.ClientError, ValueError) as error:
            return _failed(f"no HTTP: {type(error).__name__}")
        async with response:
            return await self._read(call, response)

    async def _read(self, call: _Call, response: aiohttp.ClientResponse) -> _Outcome:
        status = response.status
        if not 200 <= status < 300:
            return _Outcome(
                Answer(error=await _refusal(response)),
                works=status in REFUSED_QUESTION,
                retried=is_retried(status),
                after=retry_after(response.headers, time.time()),
                status=status,
                broke_off=status in (504, 524),
            )
        kind = response.content_type
        if kind == "text/event-stream":
            answer = await self._streamed(call, response)
        elif kind == "application/json" or kind.endswith("+json"):
            answer = await self._whole(response)
        else:
            answer = Answer(error=f"wrong content type: {kind}")
        return _Outcome(answer, works=answer.served, status=200, broke_off=not answer.served)

    async def _whole(self, response: aiohttp.ClientResponse) -> Answer:
        content = bytearray()
        try:
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > self.largest_reply:
                    return self._too_large()
        except (aiohttp.ClientError, OSError):
            return Answer(error="broken reply")
        return whole_answer(bytes(content))

    async def _streamed(self, call: _Call, response: aiohttp.ClientResponse) -> Answer:
        stream, size = StreamedAnswer(), 0
        try:
            async for piece in response.content.iter_any():
                size += len(piece)
                if size > self.largest_reply:
                    return self._too_large()
                text = stream.feed(piece)
                if call.pieces is not None:
                    call.pieces.add(text)
                if stream.done:
                    break
        except (aiohttp.ClientError, OSError):
            pass  # the stream knows what is missing
        return stream.answer()

    def _too_large(self) -> Answer:
        return Answer(error=f"reply over {self.largest_reply} bytes")

    def _reply(self, question: Question, outcome: _Outcome, seconds: float) -> Reply:
        """Our record of it: counted, priced, and without the key."""
        answer = outcome.answer
        prompt_tokens, completion_tokens = answer.prompt_tokens, answer.completion_tokens
        if answer.served and (prompt_tokens is None or completion_tokens is None):
            self.estimated += 1
            if prompt_tokens is None:
                prompt_tokens = about_tokens(sum(len(m.content) for m in question.messages))
            if completion_tokens is None:
                completion_tokens = about_tokens(answer.characters)
        prompt_tokens, completion_tokens = prompt_tokens or 0, completion_tokens or 0
        text, error, key = answer.text, answer.error, self._key
        if key and error:
            error = error.replace(key, "[key]")  # whole, so before it is cut
        if key and text and self._hides_key:
            text = text.replace(key, "[key]")
        return Reply(
            text=text,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            dollars=self.prices.dollars(
                prompt_tokens, answer.cached_tokens, completion_tokens, answer.written_tokens
            ),
            seconds=seconds,
            error=shortened(error) if error else None,
            retries=outcome.retries,
            may_cost=self.estimate(question).dollars if outcome.broke_off else None,
        )

    async def _connections(self) -> _Connections:
        loop = asyncio.get_running_loop()
        if loop not in self._by_loop:
            self._by_loop = {
                each: kept for each, kept in self._by_loop.items() if not each.is_closed()
            }
            owner = _session(self.endpoint.connect_timeout_seconds)
            session = await anext(owner)
            slots = asyncio.Semaphore(self.endpoint.max_concurrency)
            self._by_loop[loop] = _Connections(session, slots, owner)
        return self._by_loop[loop]


async def _session(connect_seconds: float) -> AsyncGenerator[aiohttp.ClientSession, None]:
    """A session that its event loop closes: a loop that ends finishes its open generators."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield session


async def _refusal(response: aiohttp.ClientResponse) -> str:
    """The status, and the endpoint's own words where they are an error in JSON."""
    content = bytearray()
    try:
        async for piece in response.content.iter_any():
            content += piece
            if len(content) > _LARGEST_ERROR:
                break
        message = error_message(json.loads(content))
    except (aiohttp.ClientError, OSError, ValueError, RecursionError):
        message = None
    return f"HTTP {response.status}" + (f": {message}" if message else "")


def _failed(error: str, retried: bool = False) -> _Outcome:
    return _Outcome(Answer(error=error), works=False, retried=retried)


def proxy_for(url: str) -> str | None:
    """The environment's proxy for this address. (aiohttp's own look-up reads .netrc along with it,
    whose password would go to the endpoint in place of the key.)"""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)
