"""The settings of a run of actors, and of its variants. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from understudy.errors import ConfigError
from understudy.run import RunDirectory
from understudy.settings import (
    Section,
    check_complete,
    check_settings,
    gathered_settings,
    merged,
)
from understudy.trackers import settings as trackers

FREE = {"workers", "checkpoint_seconds", *trackers.FREE}  # what may change when a run is resumed

Kind = TypeVar("Kind", bound=Section)


def saved_settings(kind: type[Kind], run: RunDirectory) -> Kind:
    """The settings that a run was made with, all of them."""
    kept = run.settings()
    config = check_settings(kind, kept)
    check_complete(kept, config, run.config)
    return config


def asked_settings(kind: type[Kind], out: Path, given: Mapping[str, Any], resume: bool) -> Kind:
    """The settings of a run to be, checked; of one to be resumed: its own under those given."""
    kept = RunDirectory.open(out).settings() if resume else {}
    made_by, own = kept.get("recipe"), kind.model_fields["recipe"].default
    if resume and made_by != own:
        raise ConfigError(f"{out}: a run of recipe {made_by}; this is for those of {own}")
    return check_settings(kind, gathered_settings(kept, None, given))


def by_variant(
    kind: type[Kind],
    run: Section,
    variants: Mapping[str, Mapping[str, Any]],
    described: Callable[[Kind], str],
) -> dict[str, Kind]:
    """The settings of each variant by name, over those of the run; without variants one, as it is
    described."""
    shared = run.model_dump(include=set(kind.model_fields))
    if not variants:
        config = kind.model_validate(shared)
        return {described(config): config}
    found = {}
    for name, own in variants.items():
        try:
            found[name] = check_settings(kind, merged(shared, own))
        except ConfigError as error:
            raise ConfigError(f"variants.{name}: {error}") from None
    return found
