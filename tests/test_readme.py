"""Every block of README.md runs as it stands, one after the other, in one folder that is empty
but for the examples.

A comment before a block says what is different here, and why:

    test: in the background                  a server, until the last block has run
    test: shortened by OPTIONS, since ..     given to its commands in the fast tests alone
    test: with OPTIONS, since ..             given to its commands in every test
    test: not run, since ..

Ports are free ones.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.gateway_servers import free_port, started
from bench.tables import quality_over_cost

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SERVED = "localhost:8000"

_BLOCK = re.compile(
    r"(?:^<!-- test: ([^>]*) -->\n\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE
)
_OPTIONS = re.compile(r"(?:shortened by|with) (.*), since .+")
_TAKES_OPTIONS = re.compile(r"^understudy (?:train \S+|share \S+|serve)(?= |$)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    language: str
    body: str
    note: str = ""

    @property
    def runs(self) -> bool:
        missing = self.body.startswith("curl") and shutil.which("curl") is None
        return self.language != "text" and not self.note.startswith("not run") and not missing

    def command(self, port: int, full: bool) -> list[str]:
        body = self.body.replace(SERVED, f"localhost:{port}")
        if self.language == "python":
            return [sys.executable, "-c", body]
        options = _OPTIONS.fullmatch(self.note)
        if options and not (full and self.note.startswith("shortened")):
            body = _TAKES_OPTIONS.sub(lambda match: f"{match[0]} {options[1]}", body)
        return ["bash", "-euo", "pipefail", "-c", body]


def blocks() -> list[Block]:
    return [Block(language, body, note) for note, language, body in _BLOCK.findall(README)]


def run_all(folder: Path, full: bool) -> dict[str, str]:
    """What every block prints, by its first line."""
    port, printed = free_port(), {}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # What is kept there is in a folder of its own, which Python would take for the package here.
    data = folder / ".local" / "share"
    own = {"PATH": path, "HOME": str(folder), "XDG_DATA_HOME": str(data), "OMP_NUM_THREADS": "1"}
    (folder / "examples").symlink_to(ROOT / "examples")
    with ExitStack() as servers:
        for block in blocks():
            first = block.body.splitlines()[0]
            if block.note == "in the background":
                command = [*shlex.split(block.body, comments=True), "--port", str(port)]
                server = started("serve", command, port, folder, environment=own)
                servers.enter_context(server)
            elif block.runs:
                printed[first] = output(block.command(port, full), folder, own)
    return printed


def output(command: list[str], folder: Path, own: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | own, capture_output=True, text=True, timeout=3000
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def check(printed: dict[str, str]) -> None:
    (curl,) = [text for line, text in printed.items() if line.startswith("curl")] or [None]
    assert curl is None or '"object":"chat.completion"' in curl
    assert "is above the threshold" in printed["from openai import OpenAI"]


def test_every_block_runs(tmp_path: Path) -> None:
    check(run_all(tmp_path, full=False))


@pytest.mark.slow
def test_every_block_runs_in_full(tmp_path: Path) -> None:
    check(run_all(tmp_path, full=True))


def test_every_note_is_understood() -> None:
    """A comment that no block follows, or that says nothing known, would leave a block out."""
    notes = [block.note for block in blocks() if block.note]
    assert len(notes) == README.count("<!-- test:")
    known = re.compile(r"in the background|not run, since .+|" + _OPTIONS.pattern)
    assert [note for note in notes if not known.fullmatch(note)] == []
    assert all(block.language in ("", "python", "text") for block in blocks())


def test_the_demo_is_what_make_runs() -> None:
    (line,) = re.findall(r"^understudy train understudy .*$", README, re.MULTILINE)
    assert f"$(BIN)/{line}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_picture_is_what_the_results_say() -> None:
    drawn = quality_over_cost.PICTURE.read_text(encoding="utf-8")
    assert drawn == quality_over_cost.picture(quality_over_cost.runs_by_name())


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 190
