"""Agents on machines apart, over Flower: the two apps of a project; see docs/flower.md."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from understudy.actors.flower import apps
from understudy.actors.flower.crew import FlowerCrew
from understudy.actors.loop import run
from understudy.errors import ConfigError
from understudy.plain import to_plain
from understudy.settings import resolve_settings
from understudy.share.clock import moments_of
from understudy.share.population import Agents, carriers_of
from understudy.share.settings import ShareConfig
from understudy.share.summary import population_result


def settings_of(path: Path) -> ShareConfig:
    config = resolve_settings(ShareConfig, {}, path, [])
    if config.messages.top is not None:
        raise ConfigError(
            f"messages.top={config.messages.top}: over Flower a node that was away would miss "
            "what later changes build on; leave it out"
        )
    return config


def client_app(settings: Path) -> ClientApp:
    """A node of a run with these settings."""
    return apps.client_app(lambda: Agents(settings_of(settings)))


def server_app(settings: Path) -> ServerApp:
    """The relay of a run with these settings."""
    return apps.server_app(
        lambda: Agents(settings_of(settings)), lambda crew: results(crew, settings_of(settings))
    )


def results(crew: FlowerCrew, config: ShareConfig) -> dict[str, Any]:
    """A whole run; what went wrong with a node is said of each of its agents."""
    carriers = carriers_of(config)
    run(crew, carriers, moments_of(config))
    reports = [
        [
            replace(report, events=report.events | crew.events_of((population, number)))
            for number, report in enumerate(row)
        ]
        for population, row in enumerate(crew.reports())
    ]
    rows = zip(config.seeds, reports, crew.logs(), carriers, strict=True)
    return {
        "settings": config.model_dump(mode="json"),
        "seeds": [to_plain(population_result(*row)) for row in rows],
    }
