"""The budget's promise on real processes, at the smallest size; its arithmetic by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import gateway_budget
from bench.gateway_books import false_refusals, total_of
from bench.tables import TABLES
from tests import postgres
from understudy.store.caps import Amounts


def test_a_refusal_is_false_if_the_upstream_had_served_too_little_for_it() -> None:
    book = {"a": (Amounts(1, 10, 40), 1.0), "b": (Amounts(1, 10, 40), 3.0)}
    # Of 100, one more takes 30. At 2 there were 40 served, and it fits; at 4 there were 80.
    assert false_refusals([2.0, 4.0], book, cap=100, least=30) == 1
    assert false_refusals([4.0], book, cap=110, least=30) == 1
    assert false_refusals([], book, cap=100, least=30) == 0
    assert total_of(book) == Amounts(2, 20, 80)


def promised(result: dict[str, Any]) -> None:
    """Nothing over the cap, nothing wrong, nothing left."""
    for name, found in result.items():
        assert found["overshoot_dollars"] == 0, name
        assert found["difference"] == {"calls": 0, "tokens": 0, "dollars": 0}, name
        assert found["wrong_by_id"] == {}, name
        assert found["holds"] == 0, name
        assert found["held_dollars"] == 0, name
        assert found["served"] > 0, name
        assert found.get("false_refusals", 0) == 0, name


def tried(tmp_path: Path, words: str) -> dict[str, Any]:
    out = tmp_path / "budget.json"
    record = gateway_budget.main([*words.split(), "--out", str(out)])
    assert record["command"].startswith("python bench/gateway_budget.py --databases")
    assert TABLES["gateway budget"][1](record).count("\n") == 1 + sum(
        len(parts) for parts in record["result"].values()
    )
    found: dict[str, Any] = record["result"]
    return found


def test_a_gateway_over_sqlite_keeps_its_promise(tmp_path: Path) -> None:
    sizes = "--requests 100 --at-once 16 --kills 1 --crash-at-once 4 --longest-life 0.2"
    result = tried(tmp_path, f"--databases sqlite --parts concurrent crashes {sizes}")["sqlite"]
    promised(result)
    assert result["concurrent"]["outcomes"]["refused"] > 50


@pytest.mark.skipif(not postgres.is_installed(), reason="PostgreSQL is not installed")
def test_two_gateways_over_one_postgres_keep_it_together(tmp_path: Path) -> None:
    sizes = "--requests 200 --at-once 32 --fsync off"
    result = tried(tmp_path, f"--databases postgres --parts concurrent {sizes}")["postgres"]
    promised(result)
    assert result["concurrent"]["replicas"] == 2
    assert result["concurrent"]["outcomes"]["refused"] > 100


@pytest.mark.slow
@pytest.mark.skipif(not postgres.is_installed(), reason="PostgreSQL is not installed")
def test_they_keep_it_while_they_are_killed_and_clients_hang_up(tmp_path: Path) -> None:
    sizes = "--requests 1000 --at-once 64 --hang-ups 100 --kills 10"
    for result in tried(tmp_path, f"--databases sqlite postgres {sizes}").values():
        promised(result)
