"""The server's secret: in the environment, else in a file beside the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.errors import ConfigError
from understudy.store.database import open_database
from understudy.store.secret import server_secret

VARIABLE = "UNDERSTUDY_TEST_SECRET"


def test_it_is_kept_beside_the_store_for_its_owner_only(tmp_path: Path) -> None:
    one, other = open_database(tmp_path / "g.db"), open_database(tmp_path / "h.db")
    found = server_secret(one, VARIABLE)
    assert found is not None
    assert len(found) > 40
    assert server_secret(one, VARIABLE) == found
    assert server_secret(other, VARIABLE) != found
    file = tmp_path / "g-secret"
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(tmp_path.glob("*secret*")) == [file, tmp_path / "h-secret"]
    assert found not in (tmp_path / "g.db").read_bytes()
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read it"):
        server_secret(one, VARIABLE)


def test_the_environment_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = open_database(tmp_path / "g.db")
    monkeypatch.setenv(VARIABLE, "of all replicas alike")
    assert server_secret(database, VARIABLE) == b"of all replicas alike"
    assert not (tmp_path / "g-secret").exists()
    monkeypatch.setenv(VARIABLE, "short")
    with pytest.raises(ConfigError, match="has 5 characters"):
        server_secret(database, VARIABLE)


def test_in_memory_there_is_none() -> None:
    assert server_secret(open_database("sqlite://"), VARIABLE) is None
