"""A federation on machines apart, over Flower: the two apps of a project; see docs/federate.md.

The server is in the relay; each node has some clients, and their data alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from understudy.actors.flower import apps
from understudy.actors.flower.crew import FlowerCrew
from understudy.actors.loop import run as run_all
from understudy.errors import ConfigError
from understudy.federate.clock import moments_of
from understudy.federate.population import Federation, carriers_of
from understudy.federate.settings import FederateConfig
from understudy.federate.summary import federation_result
from understudy.federate.variants import FederateRun, variants_of
from understudy.plain import to_plain
from understudy.settings import resolve_settings


def settings_of(path: Path) -> FederateConfig:
    """One federation's; several variants are several runs."""
    run = resolve_settings(FederateRun, {}, path, [])
    if run.variants:
        raise ConfigError(
            f"{path}: variants={', '.join(run.variants)}; over Flower give one file for each"
        )
    (config,) = variants_of(run).values()
    return config


def client_app(settings: Path) -> ClientApp:
    """A node of a run with these settings."""
    servers = Federation(settings_of(settings)).servers
    return apps.client_app(lambda: Federation(settings_of(settings)), servers)


def server_app(settings: Path) -> ServerApp:
    """The relay of a run with these settings, and its server."""
    servers = Federation(settings_of(settings)).servers
    return apps.server_app(
        lambda: Federation(settings_of(settings)),
        lambda crew: results(crew, settings_of(settings)),
        servers,
    )


def results(crew: FlowerCrew, config: FederateConfig) -> dict[str, Any]:
    """A whole run, of every seed."""
    carriers = carriers_of(config)
    run_all(crew, carriers, moments_of(config))
    rows = zip(config.seeds, crew.reports(), crew.logs(), carriers, strict=True)
    return {
        "settings": config.model_dump(mode="json"),
        "seeds": [to_plain(federation_result(config, *row)) for row in rows],
    }
