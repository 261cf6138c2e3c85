"""A store that an earlier program made is brought up to date as it is opened."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, inspect, text

from tests import postgres
from understudy.errors import ConfigError, LedgerUnavailable
from understudy.store.database import Database, open_database
from understudy.store.keys import Keys
from understudy.store.tables import LEDGER_VERSION, keys

WAIT = 60.0  # seconds, on a busy machine


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "l.db")
    cluster: postgres.Cluster = request.getfixturevalue("cluster")
    with open_database(cluster.url).writing() as connection:
        connection.execute(keys.delete())
    return cluster.url


def row(name: str, number: int, **more: Any) -> dict[str, Any]:
    about = {"team": "", "scopes": "[]", "caps": "[]", "created": float(number)}
    return {"id": f"key_{number}", "hash": f"{name} {number}", "name": name, **about, **more}


def as_version_1(database: Database, *rows: dict[str, Any]) -> None:
    """As the first program left it: nothing kept two keys from having one name."""
    with database.writing() as connection:
        connection.execute(text("DROP INDEX keys_name"))
        connection.execute(text("UPDATE schema SET version = 1"))
        for each in rows:
            connection.execute(insert(keys), each)
    database.close()


def test_keys_of_one_name_get_names_of_their_own(url: str) -> None:
    past = time.time() - 5
    made = [row("app", 1), row("app", 2), row("b", 3, expires=past), row("b", 4, revoked=9.0)]
    as_version_1(open_database(url), *made, row("b", 5))
    for _ in range(2):
        database = open_database(url)
        with database.reading() as connection:
            assert connection.execute(text("SELECT version FROM schema")).all() == [(2,)]
            indexes = inspect(connection).get_indexes("keys")
        assert [each["name"] for each in indexes if each["unique"]].count("keys_name") == 1
        found = {key.id: (key.name, key.revoked) for key in Keys(database).all()}
        database.close()
    assert LEDGER_VERSION == 2
    assert found.pop("key_3") == ("b", pytest.approx(past))
    assert found == {
        "key_1": ("app", None),
        "key_2": ("app key_2", None),
        "key_4": ("b", 9.0),
        "key_5": ("b", None),
    }


def test_the_database_lets_no_two_live_keys_have_one_name(url: str) -> None:
    database = open_database(url)
    with (
        pytest.raises(LedgerUnavailable, match=r"(?i)unique") as caught,
        database.writing() as connection,
    ):
        connection.execute(insert(keys), [row("app", 1), row("app", 2)])
    assert "app" not in str(caught.value)  # what was to be written is not told
    with database.writing() as connection:
        connection.execute(insert(keys), [row("app", 1, revoked=2.0), row("app", 2, revoked=None)])
    database.close()


def test_an_expired_key_leaves_its_name(url: str) -> None:
    database = open_database(url)
    first, _ = Keys(database, clock=lambda: 100.0).create("app", expires=200.0)
    later = Keys(database, clock=lambda: 200.0)
    second, _ = later.create("app")
    assert [(key.id, key.revoked) for key in later.all()] == [(first.id, 200.0), (second.id, None)]
    with pytest.raises(ConfigError, match=f"there is one of that name, {second.id}"):
        later.create("app")
    assert later.revoke("app").id == second.id
    database.close()


def test_of_two_replicas_that_make_a_name_at_once_one_is_told(cluster: postgres.Cluster) -> None:
    ours, theirs = open_database(cluster.url), open_database(cluster.url)
    refused: list[ConfigError] = []

    def make() -> None:
        try:
            Keys(theirs).create("app")
        except ConfigError as error:
            refused.append(error)

    making = threading.Thread(target=make)
    with ours.writing() as connection:
        connection.execute(keys.delete())
        connection.execute(insert(keys), row("app", 1))
        making.start()
        until(lambda: waits_for_a_lock(theirs))  # it has looked, and has not seen ours
    making.join(WAIT)
    assert [str(each) for each in refused] == [
        "key app: there is one of that name by now; see understudy keys list, or use another name"
    ]
    assert [key.id for key in Keys(ours).all()] == ["key_1"]
    ours.close()
    theirs.close()


def waits_for_a_lock(database: Database) -> bool:
    with database.reading() as connection:
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(connection.execute(waiting).scalar())


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)
