"""Names of the hub: read from its local cache, or refused in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from understudy.models.checkpoint import TINY
from understudy.models.hub import is_hub_name

REVISION = "0123456789abcdef0123456789abcdef01234567"
LOAD = (
    "import sys; from understudy.errors import CheckpointError\n"
    "from understudy.models.checkpoint import resolve\n"
    "for model in sys.argv[1:]:\n"
    "    try: print(resolve(model))\n"
    "    except CheckpointError as error: print('refused:', error)\n"
)


def resolved(models: list[str], home: Path, **environment: str) -> list[str]:
    """What a fresh process makes of names, a line each, its cache being `home`."""
    told = os.environ | {"HF_HOME": str(home)} | environment
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *models], env=told, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A cache as the hub's client lays it out, with one model in one revision."""
    repository = tmp_path / "hub" / "models--some--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(REVISION)
    shutil.copytree(TINY, repository / "snapshots" / REVISION)
    return tmp_path


def test_offline_the_cache_is_all_there_is(home: Path) -> None:
    there = ["some/model", f"some/model@{REVISION}", "some/model@main"]
    missing = ["other/model", "some/model@elsewhere"]
    found = resolved([*there, *missing], home, HF_HUB_OFFLINE="1")
    assert len(found) == 5  # refusals are one line each
    for folder in found[:3]:
        assert Path(folder).name == REVISION
        assert (Path(folder) / "model.safetensors").is_file()
    for line in found[3:]:
        assert line.startswith("refused: model=")
        assert "HF_HOME" in line


def test_a_hub_that_does_not_answer_is_told_in_one_line(home: Path) -> None:
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_ETAG_TIMEOUT": "1"}
    (line,) = resolved(["other/model"], home, **nowhere)
    assert line.startswith("refused: model=other/model")
    assert "HF_HOME" in line


def test_names_of_the_hub_are_told_from_paths() -> None:
    for name in ("org/name", "Qwen/Qwen2.5-0.5B-Instruct", "a/b@main", "a/b@v1.0/x"):
        assert is_hub_name(name)
    for path in ("tiny", "/a/b", "./a/b", "../a", "a/b/c", "a\\b", "a/", "", "~/a", "a/b@"):
        assert not is_hub_name(path)


def test_a_gguf_file_of_the_hub_is_found_in_the_cache(home: Path) -> None:
    files = home / "hub" / "models--some--model" / "snapshots" / REVISION / "deeper"
    files.mkdir()
    (files / "model.gguf").write_bytes(b"GGUF, and no more")
    names = ["some/model:deeper/model.gguf", "some/model@main:deeper/model.gguf"]
    cache = {"XDG_CACHE_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    broken = resolved(names, home, **cache)
    assert [line.partition(": is broken")[0] for line in broken] == [
        f"refused: model={name}" for name in names
    ]
    (missing,) = resolved(["some/model:other.gguf"], home, **cache)
    assert missing.startswith("refused: model=some/model:other.gguf: no such file")
    assert "HF_HOME" in missing
