"""Actors over Flower: a run of examples/flower/start.py with two nodes, and what it found."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

START = Path(__file__).parents[1] / "examples" / "flower" / "start.py"


def run_over_flower(python: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """python: the interpreter of an environment that has Flower."""
    with TemporaryDirectory() as place:
        told, out = Path(place) / "settings.yaml", Path(place) / "result.json"
        told.write_text(yaml.safe_dump(dict(settings)))
        words = [python, START, "--nodes", "2", "--settings", told, "--out", out]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        found: dict[str, Any] = json.loads(out.read_text())
    return found
