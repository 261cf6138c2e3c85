"""Any OpenAI-compatible engine by its URL: vLLM, llama.cpp, Ollama, LM Studio. Needs no torch."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp

from understudy.clouds.completions import error_message
from understudy.clouds.listing import connection_failure, models_at
from understudy.errors import CheckpointError, CloudError, ConfigError
from understudy.gateway.engine import (
    EngineBusy,
    EngineError,
    EngineLoad,
    Job,
    JobRefused,
    Piece,
    Written,
)
from understudy.gateway.engine.digests import adapter_digest
from understudy.gateway.engine.options import DEFAULT, EngineOptions, named
from understudy.gateway.engine.places import Places
from understudy.gateway.engine.url_adapters import UrlAdapters, find_adapters
from understudy.gateway.engine.url_answers import UrlAnswer, body_of, events
from understudy.gateway.upstreams.refusal import refusal_of, with_code

_CONNECT_SECONDS, _READ_SECONDS = 5.0, 300.0
_PACE_SECONDS = 5.0
_LONGEST_TOLD = 240  # characters of an engine's own words
_ENGINE = "the engine"  # callers are told of it, and its address is none of their business


async def open_url(
    url: str,
    *,
    model: str = "",
    key: str | None = None,
    name: str = "",
    options: EngineOptions = DEFAULT,
) -> UrlEngine:
    """Asks which models are there, whether it gives log-probabilities, and how it takes adapters.

    model: which of them; '': the only one.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        headers=headers,
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
    base = url.rstrip("/").removesuffix("/chat/completions")
    try:
        model = _chosen(await models_at(session, base), model, base)
        signals = await _probed(session, base, model, key)
        adapters = await find_adapters(session, base)
        version = named(model, name)
        return UrlEngine(session, base, version, model, signals, adapters, options, key)
    except BaseException:
        await session.close()
        raise


class UrlEngine:
    """Passes jobs on to an engine elsewhere; each version is a model or an adapter there.

    signals: "mean_logprob" where it gives log-probabilities; nothing gives the margin of a request
    or the entropy over all tokens from afar.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        version: str,
        model: str,
        signals: frozenset[str],
        adapters: UrlAdapters,
        options: EngineOptions = DEFAULT,
        key: str | None = None,
    ) -> None:
        """key: that an error may repeat."""
        self.base, self.model, self.signals = base, model, signals
        self._key = key
        self._session, self._adapters = session, adapters
        # By version, what a request's body says to be answered by it.
        self._versions: dict[str, dict[str, Any]] = {version: {"model": model, **adapters.base}}
        self._users: Counter[str] = Counter()
        self._places = Places(options.rows, options.waiting)
        self._counts_usage: bool | None = None  # in streams; None: not known yet
        self._times: deque[float] = deque(maxlen=1024)

    async def write(self, job: Job) -> AsyncIterator[Piece | Written]:
        given = self._versions.get(job.version)
        if given is None:
            known = ", ".join(self._versions)
            raise EngineError(f"version {job.version} is not loaded; there is {known}")
        self._users[job.version] += 1
        try:
            async with (
                self._places.place(job.key),
                aclosing(self._written(job, given)) as items,
            ):
                async for item in items:
                    yield item
        finally:
            self._users[job.version] -= 1

    async def _written(
        self, job: Job, given: Mapping[str, Any]
    ) -> AsyncGenerator[Piece | Written, None]:
        answer = UrlAnswer(job)
        path = "/completions" if job.prompt is not None else "/chat/completions"
        body = body_of(job, given, "mean_logprob" in self.signals)
        try:
            async with await self._posted(path, body) as response:
                async for event in events(response):
                    if event.get("error"):
                        words = with_code("an error came in its answer", event, self._key)
                        raise EngineError(f"{_ENGINE}: {words}")
                    if (piece := answer.take(event)) is not None:
                        self._times.append(time.monotonic())
                        yield piece
            written = answer.written()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise EngineError(f"{_ENGINE} broke off: {connection_failure(error)}") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise EngineError(f"{_ENGINE} answers in another form than OpenAI's") from error
        if not answer.finish_reason:
            raise EngineError(f"{_ENGINE} broke off in mid-answer")
        yield written

    async def _posted(self, path: str, body: dict[str, Any]) -> aiohttp.ClientResponse:
        """The response of an answer that begins. Until it is known that its tokens are counted, a
        refusal may be for asking that: then it is asked again without."""
        counted = body | {"stream_options": {"include_usage": True}}
        counts = self._counts_usage
        response = await self._post(path, body if counts is False else counted)
        if counts is None and response.status in (400, 422):
            await response.release()
            response = await self._post(path, body)
            if response.status == 200:
                self._counts_usage = False
        elif counts is None and response.status == 200:
            self._counts_usage = True
        if response.status == 200:
            return response
        async with response:
            said = f"{_ENGINE} answers {await _refusal(response, self._key)}"
        if response.status in (429, 503):
            raise EngineBusy(said, _retry_after(response))
        if response.status in (400, 404, 413, 422):
            raise JobRefused(said)
        raise EngineError(said)

    async def _post(self, path: str, body: dict[str, Any]) -> aiohttp.ClientResponse:
        return await self._session.post(self.base + path, json=body, allow_redirects=False)

    def unserved(self, body: Mapping[str, Any]) -> str:
        return ""

    def versions(self) -> list[str]:
        return list(self._versions)

    async def load(self, version: str, folder: Path, digest: str = "") -> None:
        """digest: of the adapter in this machine's folder; the engine reads its own."""
        if version in self._versions:
            raise EngineError(f"version {version} is loaded already; give this another name")
        if digest:
            await asyncio.to_thread(_check_digest, version, folder, digest)
        given = await self._adapters.load(version, folder)
        self._versions[version] = {"model": self.model} | given

    async def unload(self, version: str) -> None:
        if version not in self._versions:
            raise EngineError(f"version {version} is not loaded")
        if len(self._versions) == 1:
            raise EngineError(f"version {version} is the only one; load another first")
        del self._versions[version]
        while self._users[version]:
            await asyncio.sleep(0.01)
        await self._adapters.unload(version)

    def load_now(self) -> EngineLoad:
        now = time.monotonic()
        recent = sum(now - at < _PACE_SECONDS for at in self._times)
        return EngineLoad(self._places.running, self._places.waiting, recent / _PACE_SECONDS)

    async def close(self) -> None:
        await self._session.close()


def _check_digest(version: str, folder: Path, digest: str) -> None:
    try:
        known = adapter_digest(folder)
    except CheckpointError as error:
        raise EngineError(f"version {version} is not loaded: {error}") from error
    if known != digest:
        raise EngineError(
            f"version {version} is not loaded: the weights in {folder} are not those that it "
            "should hold; copy it again"
        )


def _chosen(models: list[str], wanted: str, base: str) -> str:
    if wanted and wanted in models:
        return wanted
    known = ", ".join(models[:8]) + ("..." if len(models) > 8 else "")
    if wanted:
        raise ConfigError(f"local.model={wanted}: {base} has {known or 'no model'}")
    if len(models) != 1:
        raise ConfigError(f"{base} has {known or 'no model'}; name one by local.model")
    return models[0]


async def _probed(
    session: aiohttp.ClientSession, base: str, model: str, key: str | None
) -> frozenset[str]:
    """Whether answers come with log-probabilities; refuses an engine that does not answer."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    body |= {"max_tokens": 1, "temperature": 0}
    refusal = ""
    for more in ({"logprobs": True, "top_logprobs": 1}, {}):
        try:
            async with session.post(f"{base}/chat/completions", json=body | more) as response:
                if response.status != 200:
                    refusal = await _refusal(response, key)
                    continue
                found = await response.json(content_type=None)
                logprobs = found["choices"][0].get("logprobs") or {}
                content = logprobs.get("content") or []
                given = any(isinstance(each.get("logprob"), int | float) for each in content)
                return frozenset({"mean_logprob"}) if given else frozenset()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            refusal = connection_failure(error)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            refusal = "no chat completion came"
    raise CloudError(f"{base}: {model} does not answer a first question ({refusal})")


async def _refusal(response: aiohttp.ClientResponse, key: str | None) -> str:
    """The status, and the engine's own words where they are about the question: others may quote
    the key."""
    error = await refusal_of(response, key)
    said = error_message(error.body)
    return f"{error}: {said[:_LONGEST_TOLD]}" if said else str(error)


def _retry_after(response: aiohttp.ClientResponse) -> float:
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return 1.0
