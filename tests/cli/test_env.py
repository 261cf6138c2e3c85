"""`understudy env`, with a model and without."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.cli.commands import Command


def test_a_model_is_described_with_what_a_run_takes(command: Command, tmp_path: Path) -> None:
    given = ("--set", "batch_size=2", "--set", "stream=[{families: facts, steps: 3}]")
    code, out, _ = command("env", "tiny", *given, "--seconds", "1")
    assert code == 0
    lines = dict(line.split(": ", 1) for line in out.splitlines())
    assert "349,632 parameters" in lines["tiny"]
    assert lines["runs on"] == "builtin"
    assert lines["settings"].endswith("(given: batch_size)")
    assert "a step of 2 prompts x 8 responses x 24 tokens" in lines
    assert lines["a run of 3 steps"].endswith("to examine 3072 questions")
    code, out, _ = command("env", "tiny", *given, "--no-measure", "--json")
    found = json.loads(out)
    assert (code, found["step"], found["model"]["layers"]) == (0, None, 3)
    assert found["settings"]["batch_size"] == 2
    assert "batch_size" not in found["chosen"]


def test_the_environment_names_its_versions(command: Command) -> None:
    code, out, _ = command("env")
    assert code == 0
    assert "torch: " in out
    assert shutil.which("python") is None or "python: " in out
