"""A run of one federation, or of several variants of it side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from understudy.actors import variants
from understudy.federate.settings import FederateConfig
from understudy.trackers.settings import PROJECT, REPORT_TO, RUN_NAME, ReportTo


class FederateRun(FederateConfig):
    """`understudy federate`, complete."""

    recipe: Literal["federate"] = Field("federate", description="what made this run")
    variants: dict[str, dict[str, Any]] = Field(
        {}, description="settings by name, each over all others here; run one after the other"
    )
    workers: int = Field(1, ge=1, description="processes that the clients are divided among")
    checkpoint_seconds: float = Field(60.0, ge=0, description="between checkpoints, at least")
    report_to: ReportTo = REPORT_TO
    run_name: str | None = RUN_NAME
    project: str = PROJECT

    @model_validator(mode="after")
    def _has_effect(self) -> FederateRun:
        """Refuse settings that nothing reads. Of a run with variants they are a common start, of
        which each variant reads its own."""
        if self.variants:
            return self
        unread = [] if self.method.small else ["small", "small_options", "feature_width"]
        unread += [] if self.method.tuned else ["cache"]
        for name in unread:
            value = getattr(self, name)
            if value != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name}={value} has no effect with method.kind={self.method.kind}; "
                    "leave it out"
                )
        return self


def asked_settings(out: Path, given: Mapping[str, Any], resume: bool) -> FederateRun:
    """The settings of a run to be, or to be resumed, checked with those of its variants."""
    asked = variants.asked_settings(FederateRun, out, given, resume)
    variants_of(asked)
    return asked


def variants_of(run: FederateRun) -> dict[str, FederateConfig]:
    """The federations of a run by name. One without variants has one, named by its method."""
    return variants.by_variant(FederateConfig, run, run.variants, described)


def described(config: FederateConfig) -> str:
    return f"{config.method.kind}, {config.serving.kind}"
