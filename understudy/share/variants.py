"""A run of one population, or of several variants of it side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from understudy.actors import variants
from understudy.settings import Section
from understudy.share.settings import BUILT_IN, ShareConfig
from understudy.trackers.settings import PROJECT, REPORT_TO, RUN_NAME, ReportTo

_CROSSES = ("share_data", "share_parameters", "share_modules")
# What an agent that is alone has no use for.
_LINKS = (*_CROSSES, "modes", "common_start", "graph", "messages", "privacy")


class ShareRun(ShareConfig):
    """`understudy share`, complete."""

    recipe: Literal["share"] = Field("share", description="what made this run")
    variants: dict[str, dict[str, Any]] = Field(
        {}, description="settings by name, each over all others here; run one after the other"
    )
    workers: int = Field(1, ge=1, description="processes that the agents are divided among")
    checkpoint_seconds: float = Field(60.0, ge=0, description="between checkpoints, at least")
    report_to: ReportTo = REPORT_TO
    run_name: str | None = RUN_NAME
    project: str = PROJECT

    @model_validator(mode="after")
    def _has_effect(self) -> ShareRun:
        """Refuse settings that nothing reads. Of a run with variants they are a common start, of
        which each variant reads its own."""
        if self.variants:
            return self
        reasons = {
            f"{name}.{key}": (value, f"{name}.mode=none")
            for name in _CROSSES
            if getattr(self, name).mode == "none"
            for key, value in _changed(getattr(self, name))
        }
        if not self.sections():
            for name in ("graph", "messages", "privacy"):
                for key, value in _changed(getattr(self, name)):
                    reasons[f"{name}.{key}"] = (value, "nothing shared")
        for key, value in _changed(self):
            if key in ("keep_above", "accommodate") and self.learner == "monolithic":
                reasons[key] = (value, "learner=monolithic")
            if key == "width" and not set(self.nets) & set(BUILT_IN):
                reasons[key] = (value, f"net={self.net}")
        for key, (value, why) in reasons.items():
            raise ValueError(f"{key}={value} has no effect with {why}; leave it out")
        return self


def _changed(section: Section) -> Iterator[tuple[str, Any]]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if value != field.default:
            yield name, value


def asked_settings(out: Path, given: Mapping[str, Any], resume: bool) -> ShareRun:
    """The settings of a run to be, or to be resumed, checked."""
    return variants.asked_settings(ShareRun, out, given, resume)


def variants_of(run: ShareRun) -> dict[str, ShareConfig]:
    """The populations of a run by name. One without variants has one, named by what it shares."""
    return variants.by_variant(ShareConfig, run, run.variants, described)


def described(config: ShareConfig) -> str:
    built_in = [str(getattr(config, section).mode) for section in _CROSSES]
    modes = [mode for mode in built_in if mode != "none"] + [mode.kind for mode in config.modes]
    return f"{config.learner}, {' + '.join(modes) or 'nothing shared'}"


def crossing(config: ShareConfig) -> list[str]:
    """What crosses the edges: data, parameters, modules, or modes of the user's own."""
    return list(config.sections())


def base_among(variants: dict[str, ShareConfig], name: str) -> str | None:
    """The variant that differs from this one only in sharing nothing."""
    if not crossing(variants[name]):
        return None
    own = _alone(variants[name])
    for other, config in variants.items():
        if not crossing(config) and _alone(config) == own:
            return other
    return None


def _alone(config: ShareConfig) -> dict[str, Any]:
    """All that makes a difference to agents that share nothing."""
    return config.model_dump(exclude=set(_LINKS)) | {"common": config.common_start == "always"}
