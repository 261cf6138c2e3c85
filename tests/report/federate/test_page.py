"""The page, the tables and the live lines of a federation, from a run with invented figures."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.report.pages import HOSTILE, assert_needs_nothing_else, assert_nothing_became_markup
from understudy import report
from understudy.federate.records import ClientResult, Line, Traffic
from understudy.metrics import user_summary
from understudy.report.federate.live import FederateDisplay
from understudy.report.federate.records import overlap
from understudy.report.screen import screen_on
from understudy.run import RunDirectory

Record = dict[str, Any]
TASKS = 3


def written_run(
    path: Path, clients: int = 4, seeds: int = 2, refused: bool = False
) -> RunDirectory:
    luck = random.Random(clients)
    names = {"Fed-LSCL": 0.2, HOSTILE: 0.0}
    settings = {"recipe": "federate", "data": "generated", "clients": clients, "tasks": TASKS}
    settings |= {"foundation": {"name": "vit"}, "small": ["residual", "words"], "rounds": 2}
    settings |= {"seeds": list(range(seeds)), "variants": {name: {} for name in names}}
    run = RunDirectory.create(path, settings)
    variants = {name: _variant(lift, clients, seeds, refused, luck) for name, lift in names.items()}
    scores = [c["accuracy"] for s in variants["Fed-LSCL"]["seeds"] for c in s["clients"]]
    head = {"quality": {"mean": 0.7, "low": 0.6, "high": 0.8}, "cost": {"bytes": 7}}
    run.write(run.summary, head | {"per_user": scores, "best": "Fed-LSCL", "variants": variants})
    step = 0
    for name in names:
        for line in _lines(name, clients, seeds):
            step += 1
            run.append(line | {"step": step}, {"step": step, "step_time": 0.1})
    return run


def _variant(lift: float, clients: int, seeds: int, refused: bool, luck: random.Random) -> Record:
    found = [_seed(n, lift, clients, refused, luck) for n in range(seeds)]
    scores = [client["accuracy"] for seed in found for client in seed["clients"]]
    pair = {"mean": 0.5 + lift, "standard_error": 0.01 if seeds > 1 else None}
    return {
        "method": "fed_lscl",
        "server": "o2d" if lift else "average",
        **dict.fromkeys(("accuracy", "pooled", "forgetting"), pair),
        **dict.fromkeys(("backward_transfer", "forward_transfer"), pair),
        "floats": 1e5,
        "bytes": 4e5,
        "bytes_up": 3e5,
        "bytes_down": 1e5,
        "users": {
            "weighted": user_summary(scores, [10] * len(scores)),
            "unweighted": user_summary(scores, [10] * len(scores), weights="none"),
        },
        "leaves": ["Generators leave a client."],
        "seeds": found,
    }


def _seed(number: int, lift: float, clients: int, refused: bool, luck: random.Random) -> Record:
    rows = []
    for client in range(1, clients + 1):
        matrix = [[min(1.0, luck.random() / 2 + lift) for _ in range(TASKS)] for _ in range(TASKS)]
        rows.append(
            {
                "client": client,
                "accuracy": sum(matrix[-1]) / TASKS,
                **dict.fromkeys(("forgetting", "backward_transfer", "forward_transfer"), 0.1),
                "matrix": matrix,
                "before": [0.1, None, 0.2],
                "classes": [[client, 0], [client + 50, 1], [9, 8]],
                "train": [10 * client] * TASKS,
                "test": [5] * TASKS,
                "small": "residual",
                "parameters": 1000,
                "traffic": {
                    "floats_up": {"generator": 10, "features": 5},
                    "floats_down": {"generator": 10},
                    "bytes_up": {"generator": 40, "features": 20},
                    "bytes_down": {"generator": 40},
                },
                "events": {"generator: not finite": 1} if refused else {},
            }
        )
    return {
        "seed": number,
        "matrix": rows[0]["matrix"],
        "clients": rows,
        "refused": {"replayed round": 3} if refused else {},
        "figures": {"distance after": 0.1},
    }


def _lines(name: str, clients: int, seeds: int) -> list[Record]:
    def line(act: str, task: int, round_: int) -> Record:
        row = [[0.1 * (round_ + 1)] * TASKS] * clients if act != "round" else [[]] * clients
        terms = [{"task": 1.0, "smcf": 0.5}] * clients if act == "round" else [{}] * clients
        return {
            "variant": name,
            "act": act,
            "task": task,
            "round": round_,
            "terms": [terms] * seeds,
            "accuracy": [row] * seeds,
            "refused": [0] * seeds,
            "floats": [100 * round_] * seeds,
            "bytes": [400 * round_] * seeds,
        }

    found = [line("begin", 0, 0)]
    for task in range(TASKS):
        found += [line("round", task, task), line("examine", task, task)]
    return found


@pytest.mark.parametrize(("clients", "seeds", "refused"), [(4, 2, True), (1, 1, False)])
def test_a_page_is_whole(tmp_path: Path, clients: int, seeds: int, refused: bool) -> None:
    run = written_run(tmp_path / "run", clients, seeds, refused)
    page = report.report_of(run).page()
    assert_needs_nothing_else(page)
    assert_nothing_became_markup(page)
    assert ("What was refused" in page) == refused
    assert "Generators leave a client." in page
    assert page == report.report_of(run).page()


def test_tables_and_headline(tmp_path: Path) -> None:
    run = written_run(tmp_path / "run")
    console = Console(file=io.StringIO(), width=200)
    for table in report.tables(run):
        console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "accuracy per MB" in text
    assert "clients of Fed-LSCL" in text
    headline = report.report_of(run).headline()
    assert headline["most accurate"] == "Fed-LSCL"
    assert headline["bytes"] == 7


def test_clients_that_hold_the_same_classes_overlap() -> None:
    def client(classes: list[list[int]]) -> ClientResult:
        traffic = Traffic({}, {}, {}, {})
        return ClientResult(1, 1, 0, 0, 0, [], [], classes, [], [], "", 0, traffic)

    found = overlap([client([[0, 1], [2, 3]]), client([[2, 3], [4, 5]])])
    assert found.tolist() == [[1.0, 1 / 3], [1 / 3, 1.0]]


def test_the_log_says_each_client_s_loss_and_accuracy() -> None:
    file = io.StringIO()
    with FederateDisplay(screen_on(Console(file=file, width=200)), 10) as live:
        for line in _lines("mine", 2, 2)[:3]:
            live.moment("mine", 1, Line(step=1, **line), 60.0)
        live.warning("the server refused it")
    text = file.getvalue()
    assert "mine  before training  accuracy 0.10 0.10  sent 0" in text
    assert "mine  task 1, round 1  loss 1.50 1.50  sent" in text
    assert "accuracy 0.10 0.10" in text
    assert "the server refused it" in text
