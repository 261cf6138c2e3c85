"""The settings of a low-rank adapter."""

from __future__ import annotations

from pydantic import Field, model_validator

from understudy.settings import OPEN, Chosen, Section


class Lora(Section):
    """Low-rank adapters beside frozen weights, in place of training all of them."""

    rank: Chosen[int] = Field(
        OPEN,
        ge=0,
        le=65536,
        description="rank of the adapters; 0: all weights are trained; null: by the model's size",
    )
    alpha: float = Field(32.0, gt=0, description="their scale is alpha / rank")
    targets: tuple[str, ...] = Field(
        (), description="names of linear layers; none given: all of a block"
    )

    @model_validator(mode="after")
    def _has_effect(self) -> Lora:
        for name in ("alpha", "targets") if self.rank == 0 else ():
            value = getattr(self, name)
            if value != type(self).model_fields[name].default:
                raise ValueError(f"{name}={value} has an effect with rank above 0 only; set rank")
        return self
