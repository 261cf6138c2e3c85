"""The settings of `understudy shadow`. They load nothing but pydantic."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from understudy.gateway.settings import NONE, LocalSettings
from understudy.settings import Section


class JudgeSettings(Section):
    """A model that judges whether a local answer is as good as the cloud's."""

    base_url: str = Field("", description="its endpoint, up to /v1")
    model: str = Field("", description="its name there")
    api_key_env: str | None = Field(
        None, description="name of the environment variable that holds its key"
    )
    labelled: str = Field("", description="JSON lines with verdicts of a person, to measure it by")


class ShadowSettings(Section):
    """How a log is held against a local model."""

    local: LocalSettings = Field(LocalSettings(), description="who would have answered first")
    prices: str = Field(
        "", description="your price table, or YAML in place; '': as the log says what was paid"
    )
    agree: str = Field("", description="what of an answer is compared; '': as the answers are")
    checker: str = Field("", description="file.py:function, or a generated family, that checks")
    judge: JudgeSettings = Field(JudgeSettings(), description="who judges, in place of both")
    max_wrong: float = Field(
        0.05, ge=0, le=1, description="share wrong, beyond what the cloud gets wrong itself"
    )
    dial: float | None = Field(
        None, ge=0, le=1, description="share of the questions to ask, in place of max_wrong"
    )
    by: str = Field("", description="what tells kinds apart; '': the first that does")
    minutes: float = Field(10.0, gt=0, description="for local answers; then a sample is reported")
    questions: int | None = Field(None, ge=1, description="answered locally at most")

    @model_validator(mode="after")
    def _one_truth(self) -> Self:
        given = [
            name
            for name, value in (
                ("agree", self.agree),
                ("checker", self.checker),
                ("judge", self.judge.base_url),
            )
            if value
        ]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} each say what is right; give one of them")
        named = [name for name in ("model", "api_key_env", "labelled") if getattr(self.judge, name)]
        if named and not self.judge.base_url:
            raise ValueError(
                f"judge.{named[0]} says nothing without judge.base_url; give --judge URL"
            )
        if self.judge.base_url and not self.judge.labelled:
            raise ValueError(
                "a judge errs, and how often is measured on labelled answers; give labelled, a "
                "file of them (--sheet writes some to label)"
            )
        if self.local.path == NONE:
            raise ValueError("local.path=none: shadow mode needs a local model")
        return self
