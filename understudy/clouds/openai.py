"""Any endpoint that speaks OpenAI's chat completions: hosted, or vLLM, llama.cpp, Ollama, ..."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic import Field

from understudy.clouds.endpoint import Endpoint
from understudy.clouds.settings import CloudSettings
from understudy.types import AnswerKey, Cost, Question, Reply, Request


class OpenAICloud:
    """The endpoint that the settings describe. Its key and its prices are read here."""

    class Settings(CloudSettings):
        kind: str = "openai"
        http: Endpoint = Field(Endpoint(), description="an OpenAI-compatible endpoint")

    def __init__(self, settings: Settings, key: AnswerKey) -> None:
        endpoint = settings.http
        endpoint.check()
        secret, prices = endpoint.read_key(), endpoint.load_prices()

        from understudy.clouds.http import HttpCloud  # loads aiohttp

        self.http = HttpCloud(endpoint, secret, prices)
        self.address = self.http.address

    async def answer(self, request: Request) -> Reply:
        return await self.http.answer(request)

    def stream(self, request: Request) -> AsyncIterator[str | Reply]:
        return self.http.stream(request)

    def estimate(self, question: Question) -> Cost:
        return self.http.estimate(question)
