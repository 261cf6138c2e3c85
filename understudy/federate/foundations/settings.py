"""The settings of a foundation. Imports nothing heavy."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from understudy.settings import Section

Pooling = Literal["class", "patches", "mean", "last"]


class FoundationSettings(Section):
    """The frozen network that generated adapters steer."""

    name: str = Field(
        "vit",
        description="'vit', the small one that ships; 'tiny', the language model that ships; the "
        "folder of a transformers checkpoint (ViT, DINOv2, BERT, a causal language model), or its "
        "name on the hub; module:function or file.py:function",
    )
    pooling: Pooling | None = Field(
        None,
        description="what its last states become: the class token or the mean of the patches "
        "(pictures), the mean, the last or the class token (text); null: as the model was made",
    )
    size: int | None = Field(
        None, ge=1, description="pictures are resized to size x size; null: the checkpoint's own"
    )
    longest: int = Field(64, ge=2, description="tokens of a text that are read")
    depth: int | None = Field(
        None, ge=1, description="blocks that are computed, the others left out; null: all"
    )
    random: bool = Field(
        False, description="its shape with random weights: what pre-training is worth"
    )
    seed: int = Field(0, ge=0, description="of random weights")
    options: dict[str, Any] = Field({}, description="given to a function of your own")

    @model_validator(mode="after")
    def _compatible(self) -> FoundationSettings:
        own = ":" in self.name
        if self.options and not own:
            raise ValueError(
                f"options are for a function of your own, but name={self.name}; leave them out"
            )
        fields = type(self).model_fields.items()
        given = {name for name, field in fields if getattr(self, name) != field.default}
        if own and (given := given - {"name", "options"}):
            raise ValueError(
                f"{', '.join(sorted(given))}: {self.name} makes its foundation itself; write "
                "what it is given under options"
            )
        return self
