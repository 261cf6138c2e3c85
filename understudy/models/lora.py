"""The settings of a low-rank adapter."""

from __future__ import annotations

from pydantic import Field

from understudy.settings import Section


class Lora(Section):
    """Low-rank adapters beside frozen weights, in place of training all of them."""

    rank: int = Field(
        0, ge=0, le=65536, description="rank of the adapters; 0: all weights are trained"
    )
    alpha: float = Field(32.0, gt=0, description="their scale is alpha / rank")
    targets: tuple[str, ...] = Field(
        (), description="names of linear layers; none given: all of a block"
    )
