"""Whole runs: what they leave, what crosses, and that stopping anywhere changes nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from tests.actors.same import same
from tests.federate.tiny import SMALL, config_of
from understudy.actors.crew import together
from understudy.actors.loop import run
from understudy.errors import ConfigError, RunError
from understudy.federate.client import Client
from understudy.federate.clock import moments_of
from understudy.federate.crossing import ABOUT
from understudy.federate.population import Federation, carriers_of
from understudy.federate.records import ClientResult, Line
from understudy.federate.session import check_same, new_federation, resume_federation
from understudy.federate.summary import pooled
from understudy.federate.variants import FederateRun
from understudy.link.carrier import Message
from understudy.run import RunDirectory
from understudy.settings import check_settings

VARIANTS: dict[str, Any] = {
    "Fed-LSCL": {},
    "plain": {"method": {"smcf": {"weight": 0}}, "server": "average", "participation": 0.5},
}


class Quiet:
    """A display that counts, and breaks off when it is told to."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.lines, self.stop_at = 0, stop_at
        self.warnings: list[str] = []
        self.ended: list[str] = []

    def moment(self, variant: str, done: int, line: Line, seconds_left: float) -> None:
        self.lines += 1
        if self.lines == self.stop_at:
            raise KeyboardInterrupt

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def finished(self, variant: str, clients: Sequence[Sequence[ClientResult]]) -> None:
        self.ended.append(variant)


def run_of(**settings: Any) -> FederateRun:
    small = SMALL | {"seeds": [0, 1], "clients": 2, "variants": VARIANTS, "checkpoint_seconds": 0}
    return check_settings(FederateRun, small | settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    display = Quiet()
    found = new_federation(tmp_path_factory.mktemp("runs") / "whole", run_of(), display)
    assert display.ended == list(VARIANTS)
    assert display.warnings == []
    return found


def content(run: RunDirectory) -> list[bytes]:
    return [path.read_bytes() for path in (run.metrics, run.summary)]


def test_a_run_leaves_its_log_and_its_summary(finished: RunDirectory) -> None:
    lines = finished.metric_lines()
    assert len(lines) == 2 * (1 + 2 * (2 + 1))  # variants, before and per task two rounds, one exam
    assert [line["step"] for line in lines] == list(range(1, 15))
    summary = finished.read(finished.summary)
    found = summary["variants"]["Fed-LSCL"]
    assert found["forgetting"]["mean"] is not None
    assert len(summary["per_user"]) == 2 * 2
    assert found["leaves"][0].startswith("After each round")
    for seed in found["seeds"]:
        for client in seed["clients"]:
            assert client["accuracy"] == pytest.approx(sum(client["matrix"][-1]) / 2)
            lost = client["matrix"][0][0] - client["matrix"][1][0]
            assert client["forgetting"] == pytest.approx(lost)
            gained = client["matrix"][0][1] - client["before"][1]
            assert client["forward_transfer"] == pytest.approx(gained)
    assert lines[6]["bytes"] == [
        sum(sum(c["traffic"][way].values()) for c in seed["clients"] for way in WAYS)
        for seed in found["seeds"]
    ]
    assert summary["cost"]["bytes"] > 0
    terms = lines[4]["terms"][0][0]
    assert set(terms) == {"task", "smcf"}  # of the second task; of the first there is no drift
    assert set(lines[1]["terms"][0][0]) == {"task"}


WAYS = ("bytes_up", "bytes_down")


@pytest.mark.parametrize("stop_at", [1, 6, 9])
def test_a_run_that_stops_anywhere_ends_the_same(
    finished: RunDirectory, tmp_path: Path, stop_at: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        new_federation(tmp_path / "run", run_of(), Quiet(stop_at))
    begun = RunDirectory.open(tmp_path / "run")
    with pytest.raises(RunError, match="continue it with --resume"):
        begun.read(begun.summary)
    resume_federation(begun, run_of(), Quiet())
    assert content(begun) == content(finished)
    resume_federation(begun, run_of(), Quiet(1))  # a finished run has nothing left to do
    assert content(begun) == content(finished)


def test_other_settings_are_refused_on_resuming(finished: RunDirectory) -> None:
    assert check_same(finished, run_of(workers=2)).workers == 2
    with pytest.raises(ConfigError, match=r"rounds=3, but .* has 2"):
        check_same(finished, run_of(rounds=3))


def ran(**settings: Any) -> tuple[Any, list[Message]]:
    """A federation in one process, and every message that crossed its meter."""
    config = config_of(**settings)
    crew, carriers = together(Federation(config)), carriers_of(config)
    crossed: list[Message] = []
    for carrier in carriers:
        carry = carrier.carry

        def recorded(now: int, messages: Any, carry: Any = carry) -> None:
            crossed.extend(messages := list(messages))
            carry(now, messages)

        carrier.carry = recorded  # type: ignore[method-assign]
    run(crew, carriers, moments_of(config))
    assert sum(carriers[0].totals().bytes.values()) == sum(each.bytes for each in crossed)
    return crew, crossed


def test_no_sample_and_no_weight_of_a_small_network_leaves_a_client() -> None:
    crew, crossed = ran()
    assert {each.kind for each in crossed} == {"generator", "features"}
    arrays = [
        array for each in crossed for name, array in each.parcels[0].arrays.items() if name != ABOUT
    ]
    clients = crew.populations[0][1:]
    assert all(isinstance(client, Client) for client in clients)
    generator = set(clients[0].method.modules["generator"].state_dict())
    for each in crossed:
        names = set(each.parcels[0].arrays) - {ABOUT}
        assert names == (generator if each.kind == "generator" else {"features"})
        assert (each.kind, each.sender == 0) != ("features", True)  # features do not come back
    secrets: list[Tensor] = []
    for client in clients:
        for task in client.method.own.tasks:
            for part in (task.train, task.test):
                secrets += [*part.inputs.values(), *part.small.values()]
        own = client.method.modules
        secrets += [*own["small"].state_dict().values(), *own["head"].state_dict().values()]
        secrets += [*own["projection"].state_dict().values()]
    known = {tuple(row.tolist()) for each in secrets for row in rows(each) if row.std() > 0}
    for array in arrays:
        assert not known & {tuple(row.tolist()) for row in rows(array)}


def rows(array: Tensor) -> Tensor:
    """Each entry of the first dimension, as numbers."""
    if array.dim() == 0:
        return array.float().reshape(1, 1)
    return array.float().reshape(len(array), -1) if array.dim() > 1 else array.float()[None]


@pytest.mark.slow  # each process imports torch and transformers anew
def test_workers_give_the_same() -> None:
    from understudy.actors.workers import Workers

    config = config_of()
    one, _ = ran()
    factory = Federation(config)
    crew = Workers(factory, 2, pinned=factory.servers)
    try:
        run(crew, carriers_of(config), moments_of(config))
        assert same(crew.states(), one.states())
        assert same(crew.logs(), one.logs())
        assert crew.reports() == one.reports()
    finally:
        crew.close()


def test_small_networks_of_different_kinds_share_one_feature_width() -> None:
    crew, crossed = ran(small=["residual", "depthwise", "transformer"], small_options={})
    assert [client.small for client in crew.populations[0][1:]] == [
        *("residual", "depthwise", "transformer")
    ]
    widths = {
        each.parcels[0].arrays["features"].shape[1] for each in crossed if each.kind == "features"
    }
    assert widths == {8}


def test_the_weight_of_sm_cf_holds_features_and_matrices_of_old_samples() -> None:
    def drift(weight: float) -> float:
        """Of all clients in the last round, server and data being the same."""
        method = {**SMALL["method"], "smcf": {"weight": weight}}
        local = {"batch": 8, "epochs": 5, "learning_rate": 0.01}
        crew, _ = ran(method=method, local=local, server="none")
        logs: Any = crew.logs()[0][1:]
        last = [[entry for entry in log if entry.act == "train"][-1] for log in logs]
        return sum(entry.terms["smcf"] for entry in last) / weight

    assert drift(1.0) < 0.5 * drift(1e-6)


def test_noise_and_a_bound_change_what_leaves() -> None:
    features = {"clip": 0.5, "noise": 0.0}
    _, crossed = ran(method={**SMALL["method"], "features": features})
    for each in crossed:
        if each.kind == "features":
            norms = each.parcels[0].arrays["features"].norm(dim=1)
            assert float(norms.max()) <= 0.5 + 1e-5
    features["noise"] = 2.0
    _, noisy = ran(method={**SMALL["method"], "features": features})
    first = [next(m for m in found if m.kind == "features") for found in (crossed, noisy)]
    one, other = (each.parcels[0].arrays["features"] for each in first)
    assert float((one - other).std()) > 0.5


@pytest.mark.parametrize("link", [{"latency": 2}, {"loss": 0.4}])
def test_messages_that_are_late_or_lost_do_not_stop_a_round(link: dict[str, Any]) -> None:
    crew, _ = ran(link=link, tasks=3, partition={**SMALL["partition"], "shared": 4})
    served: Any = crew.logs()[0][0]
    refused = {each.reason for entry in served for each in entry.refused}
    assert refused == ({"incomplete"} if "loss" in link else set())
    assert any(entry.accepted for entry in served)
    assert len(served) == 3 * 2


def test_a_client_whose_loss_is_no_number_is_refused_and_named(tmp_path: Path) -> None:
    display = Quiet()
    config = run_of(variants={}, seeds=[0], local={"batch": 8, "learning_rate": 1e30})
    found = new_federation(tmp_path / "run", config, display)
    assert any("is no number" in text for text in display.warnings)
    assert any("not finite" in text or "absurd" in text for text in display.warnings)
    seeds = found.read(found.summary)["variants"]["fed_lscl, o2d"]["seeds"]
    assert sum(seeds[0]["refused"].values()) > 0


def test_results_of_all_clients_are_pooled_by_their_test_samples() -> None:
    one, other = [[0.5, 0.0], [1.0, 1.0]], [[1.0, math.nan], [0.0, 1.0]]
    found = pooled([one, other], [[30, 10], [10, 10]])
    assert found.tolist() == [[0.625, 0.0], [0.75, 1.0]]
