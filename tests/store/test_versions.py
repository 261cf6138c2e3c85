"""Which adapter serves, and which did."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.errors import ConfigError
from understudy.store.database import open_database
from understudy.store.versions import Versions


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    found = Versions(open_database(tmp_path / "v.db"))
    for step in (1, 2, 3):
        found.add("ours", step, tmp_path / str(step), digest=f"d{step}", notes={"accuracy": 0.5})
    return found


def test_a_version_is_found_by_its_name_and_step(versions: Versions, tmp_path: Path) -> None:
    found = versions.find("ours@2")
    assert (str(found), found.folder, found.digest) == ("ours@2", tmp_path / "2", "d2")
    assert found.notes == {"accuracy": 0.5}
    assert [str(each) for each in versions.all()] == ["ours@1", "ours@2", "ours@3"]
    assert versions.all("theirs") == []


def test_rolling_back_goes_to_what_served_before(versions: Versions) -> None:
    assert versions.serving("ours") is None
    for version in ("ours@1", "ours@2", "ours@2", "ours@3"):
        versions.promote(version, "better")
    assert [str(versions.roll_back("ours", "worse")) for _ in range(2)] == ["ours@2", "ours@1"]
    versions.promote("ours@3", "mended")
    assert [str(versions.roll_back("ours", "worse")) for _ in range(2)] == ["ours@1", "ours"]
    with pytest.raises(ConfigError, match="no version served before"):
        versions.roll_back("ours", "worse")
    assert len(versions.history("ours")) == 9


@pytest.mark.parametrize("version", ["ours@9", "ours@x", "@1", "theirs@1"])
def test_what_is_not_there_cannot_serve(versions: Versions, version: str) -> None:
    with pytest.raises(ConfigError):
        versions.promote(version, "why not")


def test_a_version_never_changes(versions: Versions, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is there already"):
        versions.add("ours", 1, tmp_path)
