"""Configs to begin with, written without looking at anything. Nothing is imported for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import ConfigError

_FOLDER = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Template:
    """next: the command that takes it, {config} being its file; beside: files that it names."""

    summary: str
    next: str
    beside: tuple[str, ...] = ()


_TRAIN = "understudy train understudy --config {config} --out "
TEMPLATES: Mapping[str, Template] = {
    "csv": Template(
        "questions of your own in a CSV file", _TRAIN + "runs/csv", beside=("questions.csv",)
    ),
    "endpoint": Template("a cloud behind an OpenAI-compatible endpoint", _TRAIN + "runs/endpoint"),
    "sharing": Template(
        "agents that share what they learn", "understudy share {config} --out runs/sharing"
    ),
    "federation": Template(
        "clients around a server", "understudy federate {config} --out runs/federation"
    ),
    "serving": Template("one endpoint for many", "understudy serve --config {config}"),
}


def template_files(name: str) -> dict[str, str]:
    """File name -> content, the config first."""
    if name not in TEMPLATES:
        raise ConfigError(f"--template {name}: unknown; use {', '.join(TEMPLATES)}")
    names = {f"{name}.yaml": f"{name}.yaml"} | {each: each for each in TEMPLATES[name].beside}
    return {shown: (_FOLDER / kept).read_text(encoding="utf-8") for shown, kept in names.items()}
