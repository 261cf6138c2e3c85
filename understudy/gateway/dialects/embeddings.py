"""OpenAI's embeddings: passed through to whoever makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from pydantic import Field

from understudy.gateway.dialects.checking import Body, ModelName
from understudy.gateway.requests import Caller

MOST_TEXTS = 2048


class EmbeddingBody(Body):
    """Texts whose embeddings are asked for."""

    model: ModelName
    input: str | Annotated[list[Any], Field(min_length=1, max_length=MOST_TEXTS)]
    encoding_format: str | None = None
    dimensions: int | None = Field(None, ge=1)
    user: str | None = None


class Embedder(Protocol):
    async def embed(self, body: Mapping[str, Any], caller: Caller) -> Mapping[str, Any]:
        """OpenAI's list of embeddings. Raises Refused."""
        ...
