"""Embeddings are passed through to an endpoint, within the budget."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from understudy.clouds.endpoint import chat_url, read_key
from understudy.clouds.http import proxy_for
from understudy.clouds.prices import Prices
from understudy.gateway.asking import held, scopes_of
from understudy.gateway.dialects.embeddings import EmbeddingBody
from understudy.gateway.not_asked import NotAskedError, gave_none
from understudy.gateway.requests import Caller, ChatRequest, Decision, Refused, never_asks
from understudy.gateway.trace import FailedCall, OnDone, Trace
from understudy.gateway.upstreams.bounds import cost_of
from understudy.gateway.upstreams.calls import LATE, Bound, UpstreamError
from understudy.gateway.upstreams.embedding import EmbeddingSettings
from understudy.gateway.upstreams.failing import Failures
from understudy.gateway.upstreams.posting import open_session, posted
from understudy.gateway.upstreams.refusal import reason_of, refusal_of
from understudy.store.batches import AsyncLedger
from understudy.types import Cost

_LARGEST_ANSWER = 256 * 2**20  # bytes


class Embeddings:
    """The endpoints by name. See `dialects.embeddings.Embedder`."""

    def __init__(
        self,
        endpoints: Mapping[str, EmbeddingSettings],
        ledger: AsyncLedger,
        wait_seconds: float,
        dial: float | None = None,
        on_done: OnDone = lambda trace: None,
    ) -> None:
        """dial: the policy's, for keys without one; at 0 nothing is embedded. on_done: is told of
        every request that has ended."""
        self._dial, self._on_done = dial, on_done
        self._endpoints = {name: _Endpoint(name, settings) for name, settings in endpoints.items()}
        self._ledger, self._wait_seconds = ledger, wait_seconds
        self._failures = Failures()

    async def embed(self, body: Mapping[str, Any], caller: Caller) -> Mapping[str, Any]:
        """OpenAI's list of embeddings. Raises Refused."""
        known = {name: body[name] for name in EmbeddingBody.model_fields if name in body}
        trace = Trace(ChatRequest(known), caller)
        try:
            return await self._embedded(body, trace)
        except Refused as refused:
            trace.refuse(refused)
            raise
        except asyncio.CancelledError:
            trace.hung_up = True
            raise
        finally:
            trace.seconds = trace.elapsed
            self._on_done(trace)

    async def _embedded(self, body: Mapping[str, Any], trace: Trace) -> Mapping[str, Any]:
        if not trace.caller.may_ask(self._dial):
            raise never_asks("a cloud makes the embeddings")
        endpoint = self._named(body["model"])
        self._ledger.see(scopes_of(trace.caller))
        # No token is shorter than a byte, and a token's number is none either. All fields are
        # passed on, so all of them count.
        most = cost_of(endpoint.prices, len(orjson.dumps(body)), 0)
        about = (endpoint.name, f"call-{secrets.token_hex(12)}")
        ledger, patience = self._ledger, self._wait_seconds
        try:
            bound = Bound(most, most)
            hold = await held(ledger, trace.caller, bound, about, patience, ledger.longest)
        except NotAskedError as error:
            raise error.refused from None
        trace.asked = True
        cost, reason = most, "the call was given up"  # what nobody knows costs what was held for it
        try:
            found = await endpoint.answer(body, hold.request_id)
            counted = endpoint.cost(found)
            trace.estimated, cost, reason = counted is None, counted or most, ""
        except UpstreamError as error:
            cost, reason = Cost() if error.billed is False else most, str(error)
            self._failures.failed(endpoint.name, error)
            raise gave_none(endpoint.name, error).refused from None
        finally:
            if reason:
                trace.failed.append(FailedCall(endpoint.name, reason, hold.request_id, cost))
                trace.estimated = cost == most
            trace.cloud_cost = cost
            if cost == Cost():
                self._ledger.release(hold)
            else:
                self._ledger.settle(hold, cost)
        trace.cloud, trace.call_id = endpoint.name, hold.request_id
        trace.prompt_tokens = cost.prompt_tokens
        why = f"{endpoint.name} makes embeddings"
        trace.decide(Decision("cloud", why, endpoint.model, asked=True, dollars=cost.dollars))
        trace.first()
        return found

    def _named(self, name: str) -> _Endpoint:
        for endpoint in self._endpoints.values():
            if name in (endpoint.name, endpoint.model):
                return endpoint
        known = ", ".join(self._endpoints) or "none"
        raise Refused(
            404,
            "not_found_error",
            f"there is no model {name[:200]!r} that embeds; there is {known}",
            code="model_not_found",
            param="model",
        )

    async def close(self) -> None:
        for endpoint in self._endpoints.values():
            await endpoint.close()


class _Endpoint:
    def __init__(self, name: str, settings: EmbeddingSettings) -> None:
        section = f"embeddings.{name}"
        file = Path(settings.api_key_file) if settings.api_key_file is not None else None
        base = chat_url(settings.base_url, section).removesuffix("/chat/completions")
        self.name, self.model, self.url = name, settings.model, f"{base}/embeddings"
        self.prices = Prices(settings.price, settings.price, 0.0)
        self._key = read_key(settings.api_key_env, file, section)
        self._seconds, self._proxy = settings.timeout_seconds, proxy_for(self.url)
        self._session: aiohttp.ClientSession | None = None

    async def answer(self, body: Mapping[str, Any], call_id: str) -> Mapping[str, Any]:
        """Raises UpstreamError."""
        headers = {"Content-Type": "application/json", "x-client-request-id": call_id}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        content = orjson.dumps({**body, "model": self.model})
        response = await posted(self._opened(), self.url, content, headers, self._proxy)
        try:
            async with response:
                if response.status != 200:
                    raise await refusal_of(response, self._key)
                return await _read(response)
        except TimeoutError:
            raise UpstreamError(LATE, billed=None) from None
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamError(f"no answer: {reason_of(error)}", billed=None) from None

    def cost(self, found: Mapping[str, Any]) -> Cost | None:
        """As the endpoint counted; no text has no tokens, so 0 is no count."""
        usage = found.get("usage")
        tokens = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
        return cost_of(self.prices, tokens, 0) if isinstance(tokens, int) and tokens > 0 else None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = open_session(aiohttp.ClientTimeout(total=self._seconds))
        return self._session


async def _read(response: aiohttp.ClientResponse) -> Mapping[str, Any]:
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > _LARGEST_ANSWER:
            raise UpstreamError(f"an answer over {_LARGEST_ANSWER} bytes", billed=None)
    try:
        found = orjson.loads(content)
    except ValueError:
        raise UpstreamError("the answer is no JSON", billed=None) from None
    if not isinstance(found, dict) or not isinstance(found.get("data"), list):
        raise UpstreamError("an answer without data", billed=None)
    return found
