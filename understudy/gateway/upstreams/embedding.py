"""Models that embed texts, by URL: their settings. They load nothing but pydantic."""

from __future__ import annotations

from pydantic import Field

from understudy.settings import Section


class EmbeddingSettings(Section):
    """An endpoint that speaks OpenAI's embeddings."""

    base_url: str = Field(description="its address up to /v1, as http://localhost:8000/v1")
    model: str = Field(min_length=1, description="the model's name there")
    price: float = Field(ge=0, description="dollars per million tokens; 0 where it is free")
    api_key_env: str | None = Field(
        None, description="name of the environment variable that holds the key"
    )
    api_key_file: str | None = Field(
        None, description="file that holds the key; neither: no key is sent"
    )
    timeout_seconds: float = Field(60.0, gt=0, description="of one call")
