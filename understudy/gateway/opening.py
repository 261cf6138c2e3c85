"""The local model of the settings, opened: its engine and who decides for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.errors import ConfigError
from understudy.gateway.deciding import Deciding, check_fitted, deciding_for
from understudy.gateway.engine import Engine
from understudy.gateway.engine.opening import is_url, open_engine
from understudy.gateway.engine.options import EngineOptions
from understudy.gateway.local import LocalSide
from understudy.gateway.settings import DEMO, NONE, LocalSettings, PolicySettings

if TYPE_CHECKING:
    from understudy.gateway.routed import Generate
    from understudy.routing.calibration import Calibrations

DEMO_FOLDER = Path(__file__).parent / "demo"


async def open_local(
    settings: LocalSettings, policy: PolicySettings, warn: Callable[[str], None]
) -> LocalSide | None:
    """Raises UnderstudyError. None: there is to be no local model."""
    if settings.path == NONE:
        return None
    place = place_of(settings)
    if is_url(place):
        calibrations = None
    else:
        calibrations = await asyncio.to_thread(_calibrations, Path(place), policy)
    check_fitted(policy, calibrations)  # before a model is loaded
    engine = await engine_of(settings)
    try:
        side = _side(engine, settings, policy, calibrations, warn)
    except BaseException:
        await engine.close()
        raise
    side.knows_tasks = settings.form == "task" and _is_run(Path(place))
    if settings.path == DEMO:
        side.knows = _is_generated
    return side


def _is_generated(text: str) -> bool:
    """The model that ships has learnt nothing else, and does not know that it has not."""
    from understudy.tasks.recognise import recognise, typed

    return recognise(typed(text)) is not None


def _is_run(place: Path) -> bool:
    return (place / "config.yaml").is_file()


def place_of(settings: LocalSettings) -> str:
    """Of the model: its path, or its URL."""
    return str(DEMO_FOLDER) if settings.path == DEMO else settings.path


async def engine_of(settings: LocalSettings) -> Engine:
    """Who writes, whoever decides. Raises UnderstudyError."""
    return await open_engine(
        place_of(settings),
        name=settings.name,
        model=settings.model,
        key=_key(settings),
        form=settings.form,
        task=settings.task,
        options=EngineOptions(
            rows=settings.max_running,
            waiting=settings.max_waiting,
            longest_answer=settings.max_tokens,
            threads=settings.threads,
        ),
    )


def decide_for(
    local: LocalSide, settings: LocalSettings, policy: PolicySettings, warn: Callable[[str], None]
) -> Callable[[Path], Deciding | None]:
    """Who decides for another version, by the calibrations in its folder; None: there are none."""

    def decide(folder: Path) -> Deciding | None:
        found = _calibrations(folder, policy)
        if found is None:
            return None
        generate = _generate(local.engine, lambda: local.serving, settings)
        return deciding_for(local.engine, policy, found, generate, settings.task, warn)

    return decide


def _side(
    engine: Engine,
    settings: LocalSettings,
    policy: PolicySettings,
    calibrations: Calibrations | None,
    warn: Callable[[str], None],
) -> LocalSide:
    serving = engine.versions()[-1]
    generate = _generate(engine, lambda: side.serving, settings)
    deciding = deciding_for(engine, policy, calibrations, generate, settings.task, warn)
    side = LocalSide(
        *(engine, deciding.policy, serving, deciding.task_of, settings.temperature),
        tasks=deciding.tasks,
    )
    return side


def _generate(
    engine: Engine, version: Callable[[], str], settings: LocalSettings
) -> Callable[[], Generate]:
    """Made when a router wants it: it loads numpy."""

    def generate() -> Generate:
        from understudy.gateway.routed import Generate

        return Generate(engine, version, settings.max_tokens)

    return generate


def _calibrations(place: Path, policy: PolicySettings) -> Calibrations | None:
    """Of a run's examinations, or of what lies beside a model's files."""
    if policy.cascade:
        return None
    if _is_run(place):
        from understudy.gateway.run_routers import run_calibrations

        return run_calibrations(place, policy.router)
    if policy.router is not None or not place.is_dir():
        return None
    from understudy.routing.calibration import read_calibrations

    return read_calibrations(place)


def _key(settings: LocalSettings) -> str | None:
    """Of an engine's URL."""
    if settings.api_key_env is None:
        return None
    found = os.environ.get(settings.api_key_env, "").strip()
    if not found:
        raise ConfigError(
            "local.api_key_env: no environment variable of that name is set; export it (the "
            "setting is the variable's name, not the key)"
        )
    return found
