"""What a run would do, without doing it."""

from __future__ import annotations

import yaml

from understudy.clouds.building import build_cloud
from understudy.models import hub
from understudy.offload.config import Config
from understudy.offload.device import check_device, with_precision
from understudy.offload.phases import settled, total_steps
from understudy.tasks import KeyOfDrawn


def plan_text(config: Config) -> str:
    """The resolved settings, then what they amount to; wrong ones are refused as in a run."""
    hub.check(config.model)
    check_device(config.device)
    build_cloud(config.cloud, KeyOfDrawn())
    complete = with_precision(settled(config))
    responses = total_steps(config) * config.batch_size * config.num_generations
    lines = [f"# {total_steps(config)} steps, {responses} responses to draw"]
    if chosen := [name for name in ("threads", "bf16") if getattr(config, name) is None]:
        lines.append(f"# chosen for this model and machine: {', '.join(chosen)}")
    settings = yaml.safe_dump(complete.model_dump(mode="json"), sort_keys=False)
    return settings + "\n".join(lines)
