"""What an installation without the local model does: it starts, and says what a verb needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# As if they were not installed.
WITHOUT = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
sys.argv = ["understudy", *{arguments!r}]
from understudy.__main__ import main
main()
"""
LOCAL = ("torch", "safetensors", "tokenizers", "matplotlib", "transformers", "llguidance")


def run(*arguments: str, missing: tuple[str, ...] = LOCAL) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(missing=missing, arguments=arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=ROOT,
    )
    return done.returncode, done.stdout, done.stderr


def test_help_needs_no_torch() -> None:
    code, printed, _ = run("--help")
    assert code == 0
    assert "Usage" in printed


@pytest.mark.parametrize(
    "arguments",
    [("train", "understudy", "--out", "{folder}/run", "--set", "stream=demo")],
    ids=["train"],
)
def test_a_verb_that_needs_torch_says_in_one_line_what_to_install(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    code, _, errors = run(*(each.format(folder=tmp_path) for each in arguments))
    assert code == 2
    assert errors.count("\n") == 1
    assert "pip install 'understudy[local]'" in errors
