"""What a run of agents is going to do, before it does it."""

from __future__ import annotations

import yaml

from understudy.share.clock import clock, moments_of
from understudy.share.settings import ShareConfig
from understudy.share.variants import ShareRun, crossing, variants_of
from understudy.trackers.tracking import check_trackers


def rounds_of(config: ShareRun) -> int:
    """Moments of all variants."""
    return sum(len(moments_of(each)) for each in variants_of(config).values())


def plan_text(config: ShareRun) -> str:
    """Every variant in a line, and all settings."""
    check_trackers(config.report_to)
    lines = [f"{name}: {_in_words(each)}" for name, each in variants_of(config).items()]
    settings = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    return "\n".join([*lines, "", settings.rstrip()])


def _in_words(config: ShareConfig) -> str:
    ticks = clock(config, config.sections().values())
    what = " and ".join(crossing(config)) or "nothing"
    return (
        f"{config.agents} {config.learner} agents x {len(config.seeds)} seeds, "
        f"{config.tasks} tasks of {config.epochs} epochs, {what} shared over a "
        f"{config.graph.topology} graph in {sum(tick.exchange > 0 for tick in ticks)} exchanges"
    )
