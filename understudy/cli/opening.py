"""Opening the run directories that a command names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from understudy import recipes
from understudy.errors import ConfigError

if TYPE_CHECKING:
    from understudy.offload.serve import TrainedModel
    from understudy.run import RunDirectory


def open_run(path: Path) -> RunDirectory:
    """A run whose settings are all there."""
    from understudy.run import RunDirectory

    run = RunDirectory.open(path)
    if is_shared(run):
        from understudy.share.session import saved_settings

        saved_settings(run)
    else:
        recipes.saved_config(run)
    return run


def is_shared(run: RunDirectory) -> bool:
    """Whether `understudy share` made it."""
    return run.settings().get("recipe") == "share"


def open_trained(path: Path) -> RunDirectory:
    """A run of `understudy train`."""
    run = open_run(path)
    if is_shared(run):
        raise ConfigError(
            f"{path}: a run of understudy share; this command is for those of understudy train"
        )
    return run


def open_model(run: RunDirectory, router: str | None) -> TrainedModel:
    """A run's newest model, with its own router or another, by name or file."""
    from understudy.offload.serve import TrainedModel

    return TrainedModel(run, recipes.saved_config(run), router)
