"""The settings of the generator. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from understudy.settings import Section


class GeneratorSettings(Section):
    """What turns features into low-rank matrices."""

    kind: Literal["bottleneck", "trunk"] = Field(
        "bottleneck", description="a hidden layer for each block, or one trunk with embeddings"
    )
    hidden: int = Field(32, ge=1, description="units of a hidden layer")
    embedding: int = Field(16, ge=1, description="of trunk: numbers that say which block is meant")

    @model_validator(mode="after")
    def _has_effect(self) -> GeneratorSettings:
        if self.kind != "trunk" and self.embedding != type(self).model_fields["embedding"].default:
            raise ValueError(
                f"embedding={self.embedding} has no effect with kind={self.kind}; "
                "set kind=trunk, or leave it out"
            )
        return self
