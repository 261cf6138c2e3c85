"""What holds earlier tasks in local training: worked by hand on a head, and through whole runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from tests.federate.test_rivals import lesson, method_of
from tests.federate.test_session import Quiet, content, run_of
from tests.federate.tiny import config_of
from understudy.errors import ConfigError
from understudy.federate.lesson import Lesson
from understudy.federate.losses import masked
from understudy.federate.methods.method import Batch
from understudy.federate.session import new_federation, resume_federation

TWO: dict[str, Any] = {"tasks": 2, "clients": 2, "rounds": 1, "server": "average"}


def held(kind: str, of: str = "head", **settings: Any) -> Any:
    """A head, or another method, after its first task."""
    retention = {"kind": kind, **settings}
    method = method_of(of, **{**TWO, "method": {"kind": of, "retention": retention}})
    learnt(method, 0)
    method.end(method.own.tasks[0])
    return method


def learnt(method: Any, task: int, epochs: int = 5) -> None:
    method.start(method.own.tasks[task])
    local = lesson(method, epochs).local
    method.train(Lesson(task, task, method.own.seed, local))


def batch_of(method: Any, task: int) -> Batch:
    here = method.own.tasks[task]
    allowed = method.allowed("task", here)
    places, random = next(iter(lesson(method).batches(len(here.train))))
    return Batch(here.train.rows(places), allowed, random)


def test_ewc_pulls_weights_by_the_squares_of_their_gradients() -> None:
    method = held("ewc", samples=3)
    assert float(method.retained.term(batch_of(method, 1)).detach()) == 0
    before = {name: w.detach().clone() for name, w in method.modules.named_parameters()}
    task, head = method.own.tasks[0], method.modules["head"]
    wanted = torch.zeros_like(head.weight)
    for place in method.retained._some(task):
        one = task.train.rows(place[None])
        logits = masked(head(one.inputs["features"]), method.allowed("task", task))
        gradient = logits.softmax(dim=1) - F.one_hot(one.label, 10)
        wanted += (gradient.T @ one.inputs["features"]).detach().square() / 3
    torch.testing.assert_close(method.kept["precision"]["head.weight"], wanted)
    with torch.no_grad():
        head.weight += 0.5
    found = float(method.retained.term(batch_of(method, 1)).detach())
    assert found == pytest.approx(float(wanted.sum()) * 0.25 / 2, rel=1e-4)
    method.end(method.own.tasks[1])
    first, second = method.kept["precision"]["head.weight"], method.kept["centre"]["head.weight"]
    later = first - wanted
    centre = (wanted * before["head.weight"] + later * head.weight.detach()) / first.clamp(1e-38)
    torch.testing.assert_close(second, torch.where(first > 0, centre, 0.0), atol=1e-4, rtol=1e-3)


def test_lwf_asks_for_the_old_answers_on_new_samples() -> None:
    method = held("lwf")
    batch, head = batch_of(method, 1), method.modules["head"]
    assert float(method.retained.term(batch).detach()) == pytest.approx(0, abs=1e-6)
    old = list(method.own.tasks[0].classes)
    before = head(batch.examples.inputs["features"])[:, old].detach().softmax(dim=1)
    with torch.no_grad():
        head.weight[old[0]] += 0.3
    now = head(batch.examples.inputs["features"])[:, old].softmax(dim=1)
    wanted = F.kl_div(now.log(), before, reduction="batchmean")
    torch.testing.assert_close(method.retained.term(batch), wanted, atol=1e-6, rtol=1e-4)


def test_rehearsal_learns_old_samples_among_their_own_classes() -> None:
    method = held("rehearsal", samples=5, batch=5)
    task = method.own.tasks[0]
    some = task.train.rows(method.kept[0])
    logits = masked(method.logits(some), method.allowed("task", task))
    wanted = F.cross_entropy(logits, some.label)
    torch.testing.assert_close(method.retained.term(batch_of(method, 1)), wanted)


@pytest.mark.parametrize("kind", ["ewc", "lwf", "rehearsal"])
def test_what_is_held_ends_lower_the_more_it_counts(kind: str) -> None:
    def left(weight: float) -> float:
        method = held(kind, "small_alone", weight=weight)
        learnt(method, 1, epochs=20)
        return float(method.retained.term(batch_of(method, 1)).detach())

    assert left(100.0) < 0.5 * left(1e-6)


def test_a_run_that_stops_ends_the_same(tmp_path: Path) -> None:
    variants = {
        kind: {"method": {"kind": "head", "retention": {"kind": kind}}, "server": "average"}
        for kind in ("ewc", "lwf", "rehearsal")
    }
    config = run_of(variants=variants, seeds=[0])
    whole = new_federation(tmp_path / "whole", config, Quiet())
    assert any("retained" in row for row in whole.metric_lines()[5]["terms"][0])
    with pytest.raises(KeyboardInterrupt):
        new_federation(tmp_path / "parts", config, Quiet(5))
    begun = whole.open(tmp_path / "parts")
    resume_federation(begun, config, Quiet())
    assert content(begun) == content(whole)


def test_a_setting_without_effect_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch=8 has no effect with kind=ewc"):
        config_of(
            method={"kind": "head", "retention": {"kind": "ewc", "batch": 8}}, server="average"
        )
