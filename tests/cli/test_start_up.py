"""What answers at once imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "numpy", "matplotlib", "transformers", "tokenizers", "aiohttp", "scipy"}

PROGRAM = """
import sys
try:
    {statement}
except SystemExit:
    pass
print(*sys.modules, file=sys.stderr)
"""
COMMAND = "sys.argv = ['understudy', *{arguments!r}]; from understudy.__main__ import main; main()"


def modules_after(statement: str, folder: Path) -> tuple[set[str], str]:
    """(modules that are loaded, what was printed) after a statement in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(statement=statement)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    *errors, modules = done.stderr.splitlines()
    return {name.partition(".")[0] for name in modules.split()}, done.stdout + "".join(errors)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], "Usage"),
        (["train", "--help"], "dagrpo"),
        (["env", "--help"], "MODEL"),
        (["train", "understudy", "--help"], "learning_rate"),
        (["share", "--help"], "checkpoint_seconds"),
        (["federate", "--help"], "checkpoint_seconds"),
        (["train", "understudy", "--out", "run", "--dry-run"], "learning_rate:"),
        (["train", "dagrpo", "--out", "run", "--set", "budgte=1"], "did you mean budget"),
        (["train", "dagrp", "--out", "run"], "did you mean dagrpo"),
        (["share", "--out", "run", "--dry-run"], "checkpoint_seconds:"),
        (["federate", "--out", "run", "--dry-run"], "checkpoint_seconds:"),
        (["share", "--out", "run", "--set", "agnts=1"], "did you mean agents"),
        (["init", "--template", "serving"], "understudy serve --config serving.yaml"),
        (["init", "--help"], "--template"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_a_command_that_trains_nothing_loads_nothing_heavy(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    loaded, printed = modules_after(COMMAND.format(arguments=arguments), tmp_path)
    assert words in printed
    assert loaded & HEAVY == set()


def test_the_package_itself_loads_nothing_at_all(tmp_path: Path) -> None:
    loaded, _ = modules_after("import understudy", tmp_path)
    assert loaded & (HEAVY | {"pydantic", "yaml", "typer", "rich", "safetensors"}) == set()


def test_help_loads_no_settings(tmp_path: Path) -> None:
    loaded, _ = modules_after(COMMAND.format(arguments=["--help"]), tmp_path)
    assert loaded & {"pydantic", "yaml", "rich"} == set()


def test_a_template_loads_no_settings_of_ours(tmp_path: Path) -> None:
    """pydantic itself is loaded by typer, wherever an option has a value."""
    given = COMMAND.format(arguments=["init", "--template", "sharing"])
    loaded, _ = modules_after(given, tmp_path)
    assert loaded & {"yaml", "rich"} == set()
    done = "try: {}\n    finally: assert 'understudy.settings' not in sys.modules"
    (tmp_path / "sharing.yaml").unlink()
    modules_after(done.format(given), tmp_path)
