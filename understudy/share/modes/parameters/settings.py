"""Settings of the sharing of weights."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from understudy.share.modes import Schedule


class Settings(Schedule):
    """Weights cross the edges."""

    shares_weights: ClassVar[bool] = True

    mode: Literal["none", "fedavg", "fedprox", "fedcurv", "fedfish"] = Field(
        "none", description="what is done with the weights of neighbours"
    )
    every: int = Field(5, ge=1, description="epochs from one exchange to the next")
    mu: float = Field(0.01, ge=0, description="weight of the penalty of fedprox or fedcurv")
    squared: bool = Field(False, description="fedprox with the squared norm of its paper")
    temperature: float = Field(1.0, gt=0, description="of fedfish's softmax")
    max_age: int | None = Field(
        None, ge=0, description="rounds after which weights are refused; null: never"
    )

    @property
    def period(self) -> int | None:
        return self.every

    @model_validator(mode="after")
    def _compatible(self) -> Settings:
        readers = {
            "mu": ("fedprox", "fedcurv"),
            "squared": ("fedprox",),
            "temperature": ("fedfish",),
        }
        self.refuse_unread(self.mode, readers)
        return self
