"""API keys in a real SQLite file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from understudy.errors import ConfigError
from understudy.store import keys as keys_module
from understudy.store.caps import Cap, Refusal
from understudy.store.database import open_database
from understudy.store.keys import Keys
from understudy.store.ledger import Ledger
from understudy.store.settings import cap_of
from understudy.types import Cost

pytestmark = pytest.mark.anyio


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "k.db"


async def test_a_key_is_found_by_its_secret_and_only_its_hash_is_kept(file: Path) -> None:
    keys = Keys(open_database(file))
    key, secret = keys.create("app", team="blue", scopes=["inference"], dial=0.5)
    assert await keys.find(secret) == key
    assert await keys.find(secret + "x") is None
    assert await keys.find("") is None
    assert key.spends_on == ("total", "team:blue", f"key:{key.id}")
    written = b"".join(each.read_bytes() for each in file.parent.iterdir())
    assert secret.encode() not in written
    assert secret[5:].encode() not in written
    assert secret not in repr(key)


async def test_a_key_that_another_process_makes_works_at_once_and_stops_when_revoked(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "_STALE_SECONDS", 0.0)  # revoked: without waiting for seconds
    ours, theirs = Keys(open_database(file)), Keys(open_database(file))
    assert await ours.find("us-nobody") is None
    key, secret = theirs.create("app")
    assert await ours.find(secret) == key
    assert theirs.revoke("app").id == key.id
    assert await ours.find(secret) is None
    with pytest.raises(ConfigError, match="no such live key"):
        theirs.revoke("app")


async def test_a_key_expires(file: Path) -> None:
    now = 1000.0
    keys = Keys(open_database(file), clock=lambda: now)
    key, secret = keys.create("app", expires=1060.0)
    assert await keys.find(secret) == key
    now = 1060.0
    assert await keys.find(secret) is None


async def test_known_keys_go_on_while_the_database_is_gone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(file)
    keys = Keys(database)
    key, secret = keys.create("app")
    assert await keys.find(secret) == key
    monkeypatch.setattr(keys_module, "_STALE_SECONDS", 0.0)
    with database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE keys RENAME TO gone")
    assert await keys.find(secret) == key


async def test_a_key_may_have_caps_of_its_own(file: Path) -> None:
    database = open_database(file)
    keys = Keys(database)
    key, secret = keys.create("app", caps=[cap_of("calls", "1/day")])
    await keys.find(secret)
    ledger = Ledger(database, [Cap.of("total", "calls", 10)], caps_of=keys.caps_of)
    assert not isinstance(ledger.reserve(key.spends_on, Cost(1)), Refusal)
    refusal = ledger.reserve(key.spends_on, Cost(1))
    assert isinstance(refusal, Refusal)
    assert (refusal.scope, refusal.what) == (f"key:{key.id}", "calls/day")


@pytest.mark.parametrize(
    "given", [{"name": " "}, {"scopes": ["root"]}, {"dial": 2.0}, {"team": " blue"}]
)
async def test_what_is_no_key_is_refused(file: Path, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Keys(open_database(file)).create(**{"name": "app", **given})


@pytest.mark.parametrize("text", ["", "five", "-1/day", "5/fortnight", "5/0d"])
async def test_what_is_no_cap_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--max-dollars"):
        cap_of("dollars", text, option="--max-dollars")
