"""From settings to a cloud."""

from __future__ import annotations

from understudy.clouds import CLOUDS
from understudy.clouds.settings import CloudSettings
from understudy.errors import ConfigError
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
