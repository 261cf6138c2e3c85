"""From settings to a cloud."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.clouds import CLOUDS
from understudy.clouds.settings import CloudSettings
from understudy.errors import ConfigError
from understudy.link import Budget, ReplyLog
from understudy.types import AnswerKey, Cloud


def build_cloud(settings: CloudSettings, key: AnswerKey) -> Cloud:
    """The cloud that the settings describe; what it cannot be is refused here, before any call.

    key: the answer key that a simulated cloud answers from.
    """
    kind = CLOUDS.load(settings.kind)
    if not isinstance(settings, CloudSettings):
        raise ConfigError(
            f"cloud.kind={settings.kind}: its Settings must be a subclass of "
            "understudy.clouds.settings.CloudSettings"
        )
    cloud: Cloud = kind(settings, key)
    return cloud


def build_budget(settings: CloudSettings, logs: Sequence[ReplyLog] = ()) -> Budget | None:
    """The caps of a run, with what its logs say was spent; None: it has no cap."""
    given = {"calls": settings.max_calls, "dollars": settings.max_dollars}
    caps = {part: cap for part, cap in given.items() if cap is not None}
    if not caps:
        return None
    budget = Budget(caps)
    for log in logs:
        for entry in log.entries():
            budget.charge(entry.reply.most)
    return budget
