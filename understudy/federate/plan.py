"""What a federation is going to do, before it does it."""

from __future__ import annotations

import yaml

from understudy.federate.clock import moments_of
from understudy.federate.settings import FederateConfig
from understudy.federate.variants import FederateRun, variants_of
from understudy.trackers.tracking import check_trackers


def moments_in(config: FederateRun) -> int:
    """Of all variants."""
    return sum(len(moments_of(each)) for each in variants_of(config).values())


def plan_text(config: FederateRun) -> str:
    """Every variant in a line, and all settings."""
    check_trackers(config.report_to)
    lines = [f"{name}: {_in_words(each)}" for name, each in variants_of(config).items()]
    settings = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    return "\n".join([*lines, "", settings.rstrip()])


def _in_words(config: FederateConfig) -> str:
    part = "" if config.participation == 1 else f", {config.participation:.0%} of them in a round"
    tuned = ", ".join(map(str, config.method.tuned)) or "none"
    return (
        f"{config.clients} clients{part} x {len(config.seeds)} seeds, {config.tasks} tasks of "
        f"{config.classes_per_task} classes in {config.rounds} rounds each; method "
        f"{config.method.kind}, server {config.serving.kind}; {config.foundation.name} frozen, "
        f"blocks adapted: {tuned}"
    )
