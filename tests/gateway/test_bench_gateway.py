"""What the gateway adds, measured at the smallest size; the arithmetic of it by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import gateway, gateway_client
from bench.gateway_tables import TABLES
from bench.tables import TABLES as ALL


def test_a_quantile_lies_between_its_neighbours() -> None:
    assert gateway.quantile([4.0, 1.0, 2.0, 3.0], 0.5) == 2.5
    assert gateway.quantile([1.0, 2.0, 3.0], 1.0) == 3.0
    assert gateway.quantile([7.0], 0.99) == 7.0


def test_what_a_side_adds_is_its_quantile_minus_that_of_direct_calls() -> None:
    found = gateway.added({"direct": [0.001] * 3, "relay": [0.003] * 3, "understudy": [0.004] * 3})
    assert found["direct"] == {"median_ms": 1.0, "p99_ms": 1.0}
    assert found["relay"]["added_median_ms"] == pytest.approx(2.0)
    assert "beyond_relay_median_ms" not in found["relay"]
    assert found["understudy"]["added_p99_ms"] == pytest.approx(3.0)
    assert found["understudy"]["beyond_relay_p99_ms"] == pytest.approx(1.0)


def test_the_dashboards_times_are_in_the_unit_of_their_heading() -> None:
    page = {"median": 84.6, "most": 262.7}
    found = {"hour": {"page": page, "events": page}, "decisions": {"median": 0.67, "most": 1.0}}
    heads, rows = TABLES["dashboard"][1]({"settings": {"events": 5}, "result": found})
    assert heads == ["5 events", "ms", "at most", "from events, ms"]
    assert rows == [["hour", "84.6", "263", "85"], ["decisions", "0.67", "1", ""]]


def test_a_slope_is_that_of_a_straight_line() -> None:
    assert gateway.slope([(0.0, 5.0), (10.0, 7.0), (20.0, 9.0)]) == pytest.approx(0.2)
    assert gateway.slope([(3.0, 5.0)]) == 0.0


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n", False),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", True),
    ],
)
def test_the_client_knows_when_an_answer_is_whole(answer: bytes, whole: bool) -> None:
    assert gateway_client.is_whole(answer) == whole


@pytest.mark.parametrize("size", [256, 1024])
def test_a_question_has_the_size_that_was_asked_for(size: int) -> None:
    body = gateway_client.body_of(size, stream=True, max_tokens=8)
    assert len(body) == size
    assert json.loads(body)["stream"] is True


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    out = tmp_path_factory.mktemp("results") / "gateway.json"
    sizes = "--rounds 4 --streams 2 --warm 1 --load 8 --laps 1 --at-once 2 --memory-requests 20"
    sides = "--sides relay understudy --no-pin"
    gateway.main([*sizes.split(), *sides.split(), "--out", str(out)])
    found: dict[str, object] = json.loads(out.read_text())
    return found


def test_all_sides_answer_and_are_measured(record: dict[str, object]) -> None:
    result = record["result"]
    assert isinstance(result, dict)
    assert list(result["calls"]) == ["direct", "relay", "understudy"]
    assert all(row["median_ms"] > 0 for row in result["first_token"].values())
    assert [row["failures"] for row in result["load"].values()] == [0, 0, 0]
    assert result["memory"]["failures"] == 0
    assert result["memory"]["requests"] == 20
    command = str(record["command"])
    assert command.startswith("python bench/gateway.py --sides relay understudy --rounds 4")
    assert "synchronous=NORMAL" in str(record["fsync"])


def test_its_tables_are_filled_from_it(record: dict[str, object]) -> None:
    assert TABLES.keys() <= ALL.keys()
    for name, (file, _) in TABLES.items():
        if file == "gateway":
            table = ALL[name][1](record)
            assert len({line.count("|") for line in table.splitlines()}) == 1
            assert "| understudy |" in table or name == "gateway memory"


def test_the_command_of_a_record_names_no_folder(tmp_path: Path) -> None:
    args = gateway.parsed(["--litellm-python", str(tmp_path), "--out", str(tmp_path), "--no-pin"])
    assert gateway.command_of(args) == "python bench/gateway.py --no-pin"
