"""An endpoint that speaks OpenAI's chat completions: hosted, or vLLM, llama.cpp, Ollama, ..."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from understudy.clouds.endpoint import chat_url, read_key
from understudy.clouds.prices import PriceSettings, load_prices
from understudy.errors import ConfigError
from understudy.gateway.upstreams import UpstreamSettings
from understudy.gateway.upstreams.bounds import (
    MOST_TOKENS,
    bounded,
    completion_tokens_least,
    completion_tokens_wanted,
    cost_at_most,
    prompt_tokens_at_most,
)
from understudy.gateway.upstreams.calls import Bound, Call, Incoming
from understudy.gateway.upstreams.unbounded import SPENDING, refuse_unbounded
from understudy.types import Cost

if TYPE_CHECKING:
    from understudy.clouds.prices import Prices
    from understudy.gateway.upstreams.relay import Relay


_KEPT_HERE = {"store", "metadata"}  # what the gateway's own store serves
_PART_TOKENS = 4096  # of an image, a sound or a file, where tokens cost nothing
# Their newer models know no other name; many other endpoints do not know that one.
_NEWER_NAME = ("api.openai.com", ".openai.azure.com")


class OpenAIUpstream:
    """The endpoint that the settings describe. Its key and its prices are read here."""

    class Settings(UpstreamSettings):
        kind: str = Field("openai", description="which kind of cloud")
        base_url: str = Field("", description="its address up to /v1, as http://localhost:8000/v1")
        model: str = Field("", description="the model's name there")
        api_key_env: str | None = Field(
            None, description="name of the environment variable that holds the key"
        )
        api_key_file: str | None = Field(
            None, description="file that holds the key; neither: no key is sent"
        )
        prices: PriceSettings | str | None = Field(
            None,
            description="dollars per million tokens, {prompt: 1, completion: 4}; or your price "
            "table, YAML or JSON, that has the model; without a price it is never asked",
        )
        max_tokens: int = Field(
            1024, ge=1, le=MOST_TOKENS, description="longest answer where a client bounds none"
        )
        max_tokens_field: str = Field(
            "",
            description="what the endpoint calls it: max_tokens or max_completion_tokens; '': the "
            "second at OpenAI itself, else the first",
        )
        part_tokens: int | None = Field(
            None,
            ge=0,
            le=MOST_TOKENS,
            description="most tokens of an image, a sound or a file, as the model's maker says; "
            "null: a cloud with a price is asked with text only",
        )
        allow: list[str] = Field(
            [],
            description="fields that are refused else, as no number of tokens bounds what they "
            f"cost: {', '.join(SPENDING)}",
        )
        forward: list[Literal["store", "metadata"]] = Field(
            [],
            description="what the gateway keeps to itself unless it is named here: store, so that "
            "the cloud keeps the completion too, and metadata",
        )
        timeout_seconds: float = Field(
            120.0, gt=0, description="of waiting for an answer's first byte, and for each after it"
        )
        connect_timeout_seconds: float = Field(5.0, gt=0, description="of one connection")
        circuit_failures: int = Field(
            5, ge=1, description="calls failed in a row after which none is made for a while"
        )
        circuit_pause_seconds: float = Field(10.0, ge=0, description="that while")
        usage_url: str = Field(
            "",
            description="address that says what was served for a request, with {request_id} in it; "
            "asked where a call broke before its usage came",
        )

        @field_validator("allow")
        @classmethod
        def _known(cls, allow: list[str]) -> list[str]:
            if unknown := sorted(set(allow) - set(SPENDING)):
                raise ValueError(f"{', '.join(unknown)}: refused nowhere; leave it out")
            return allow

    def __init__(self, name: str, settings: Settings, key: str | None = None) -> None:
        """key: in place of the one that the settings name, as where another file holds it."""
        section = f"clouds.{name}"
        for part in ("base_url", "model"):
            if not getattr(settings, part):
                raise ConfigError(f"{section}.{part} is empty; give it, or remove the cloud")
        if settings.usage_url and "{request_id}" not in settings.usage_url:
            raise ConfigError(f"{section}.usage_url: must hold {{request_id}}")
        self.name, self.settings, self.model = name, settings, settings.model
        self.train_on_replies = settings.train_on_replies
        self.tells_usage, self.bounds_dollars = bool(settings.usage_url), True
        self.url = chat_url(settings.base_url, section)
        self.address = self.url.removesuffix("/chat/completions")
        self.prices = _prices(section, settings)
        self._field = settings.max_tokens_field or _length_field(self.url)
        file = Path(settings.api_key_file) if settings.api_key_file is not None else None
        self._key = key or read_key(settings.api_key_env, file, section)
        self._relay: Relay | None = None

    def bound(self, body: Mapping[str, Any], size: int, least_tokens: int) -> Bound:
        settings, free = self.settings, self.prices.is_free
        part_tokens = _PART_TOKENS if settings.part_tokens is None else settings.part_tokens
        known = part_tokens if free else settings.part_tokens
        refuse_unbounded(self.model, body, settings.allow, known)
        prompt = prompt_tokens_at_most(body, size, part_tokens)
        wanted = completion_tokens_wanted(body, settings.max_tokens)
        least = completion_tokens_least(body, settings.max_tokens, least_tokens)
        return Bound(
            cost_at_most(self.prices, prompt, wanted), cost_at_most(self.prices, prompt, least)
        )

    def within(self, body: Mapping[str, Any], room: Cost) -> Mapping[str, Any]:
        sent = bounded(body, room.completion_tokens, self._field)
        for name in _KEPT_HERE - {*self.settings.forward}:
            sent.pop(name, None)
        return sent

    async def send(self, call: Call) -> Incoming:
        return await self._opened().send(call)

    async def models(self) -> list[str] | None:
        from understudy.gateway.upstreams.listing import models_at  # loads aiohttp

        return await models_at(self.address, self._key)

    async def served(self, request_id: str) -> Cost | None:
        return await self._opened().served(request_id)

    async def close(self) -> None:
        relay, self._relay = self._relay, None
        if relay is not None:
            await relay.close()

    def _opened(self) -> Relay:
        if self._relay is None:
            from understudy.gateway.upstreams.relay import Relay  # loads aiohttp

            self._relay = Relay(
                self.url,
                self.model,
                self.prices,
                self._key,
                timeout_seconds=self.settings.timeout_seconds,
                connect_timeout_seconds=self.settings.connect_timeout_seconds,
                usage_url=self.settings.usage_url,
            )
        return self._relay


def _length_field(url: str) -> str:
    host = urlsplit(url).hostname or ""
    return "max_completion_tokens" if host.endswith(_NEWER_NAME) else "max_tokens"


def _prices(section: str, settings: OpenAIUpstream.Settings) -> Prices:
    given = settings.prices
    if isinstance(given, PriceSettings):
        return given.prices()
    if given is None:
        raise ConfigError(
            f"{section}.prices: no price for {settings.model}; give dollars per million tokens, "
            "as {prompt: 1, completion: 4}, or your price table; 0 where it is free"
        )
    return load_prices(Path(given), settings.model, section)
