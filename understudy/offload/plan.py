"""What a run would do, without doing it."""

from __future__ import annotations

import yaml

from understudy.models import hub
from understudy.offload.config import Config
from understudy.offload.device import check_device
from understudy.offload.estimate import cloud_estimate
from understudy.offload.phases import total_steps
from understudy.offload.settled import settled
from understudy.settings import open_settings
from understudy.trackers.tracking import check_trackers


def plan_text(config: Config) -> str:
    """The resolved settings, then what they amount to; wrong ones are refused as in a run."""
    hub.check(config.model)
    check_device(config.device)
    check_trackers(config.report_to)
    complete = settled(config)
    responses = total_steps(config) * complete.batch_size * complete.num_generations
    lines = [f"# {total_steps(config)} steps, {responses} responses to draw"]
    lines.append(f"# {cloud_estimate(complete).text()}")
    if chosen := list(open_settings(config)):
        lines.append(f"# chosen for this model and machine: {', '.join(chosen)}")
    settings = yaml.safe_dump(complete.model_dump(mode="json"), sort_keys=False)
    return settings + "\n".join(lines)
