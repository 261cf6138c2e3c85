"""Whole runs: what they leave, and that stopping anywhere changes nothing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from bench.share_study import gathered
from understudy.errors import ConfigError, RunError
from understudy.plain import from_plain, to_plain
from understudy.run import RunDirectory
from understudy.settings import check_settings
from understudy.share.records import SeedMean, ShareSummary, VariantResult
from understudy.share.session import Progress, check_same, new_share, resume_share
from understudy.share.settings import ShareConfig
from understudy.share.summary import fits, mean_and_error, speed_of, summarise
from understudy.share.variants import ShareRun, base_among, described, variants_of

SMALL: dict[str, Any] = {
    "data_options": {"per_class": 40},
    "agents": 2,
    "tasks": 6,
    "epochs": 3,
    "train_per_class": 8,
    "validation_per_class": 8,
    "evaluate_every": 3,
    "width": 8,
    "seeds": [0, 1],
    "checkpoint_seconds": 0,
    "variants": {
        "alone": {},
        "modules": {"share_modules": {"mode": "leep", "points": 2}, "keep_above": -1},
        "both": {
            "share_parameters": {"mode": "fedprox", "every": 2},
            "share_data": {"mode": "receiver", "every": 2},
            "graph": {"latency": 1},
        },
    },
}


class Quiet:
    """A display that counts, and breaks off when it is told to."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.rounds, self.stop_at = 0, stop_at
        self.ended: list[str] = []
        self.warnings: list[str] = []

    def round(
        self,
        variant: str,
        number: int,
        words: str,
        accuracies: list[float],
        floats: int,
        seconds_left: float,
    ) -> None:
        self.rounds += 1
        if self.rounds == self.stop_at:
            raise KeyboardInterrupt

    def finished(self, variant: str, accuracy: float) -> None:
        self.ended.append(variant)

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def config_of(**settings: Any) -> ShareRun:
    return check_settings(ShareRun, SMALL | settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return new_share(tmp_path_factory.mktemp("runs") / "whole", config_of(), Quiet())


def content(run: RunDirectory) -> list[bytes]:
    return [path.read_bytes() for path in (run.metrics, run.summary)]


def test_a_run_leaves_its_log_and_its_summary(finished: RunDirectory) -> None:
    lines = finished.metric_lines()
    assert len(lines) == 3 * 6 * 2  # variants, tasks, epochs 0 and 3
    assert [line["step"] for line in lines] == list(range(1, 37))
    last = [line for line in lines if line["variant"] == "both"][-1]
    summary = finished.read(finished.summary)
    both = summary["variants"]["both"]
    assert both["base"] == "alone"
    assert summary["variants"]["alone"]["gain"] is None
    assert summary["variants"]["alone"]["floats"] == 0
    assert last["floats"] == [
        sum(sum(edge["floats"].values()) for edge in seed["edges"]) for seed in both["seeds"]
    ]
    for row, seed in zip(last["accuracy"], both["seeds"], strict=True):
        assert row == [agent["accuracy"] for agent in seed["agents"]]  # examined last at the end
    assert both["cost"] == pytest.approx(both["floats"] / (2 * 2))  # edges, tasks of sharing
    in_common = [line for line in lines if line["variant"] == "both" and line["task"] < 4]
    assert [line["floats"] for line in in_common] == [[0, 0]] * 8  # nothing was sent yet


@pytest.mark.parametrize("stop_at", [1, 14, 24, 35])
def test_a_run_that_stops_anywhere_ends_the_same(
    finished: RunDirectory, tmp_path: Path, stop_at: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        new_share(tmp_path / "run", config_of(), Quiet(stop_at))
    run = RunDirectory.open(tmp_path / "run")
    with pytest.raises(RunError, match="continue it with --resume"):
        run.read(run.summary)
    display = Quiet()
    resume_share(run, config_of(), display)
    assert content(run) == content(finished)
    assert display.rounds <= 36 - stop_at + 2  # no more than the moment it stopped in
    resume_share(run, config_of(), Quiet(1))  # a finished run has nothing left to do
    assert content(run) == content(finished)


def test_other_settings_are_refused_on_resuming(finished: RunDirectory) -> None:
    with pytest.raises(ConfigError, match="epochs=5, but"):
        check_same(finished, config_of(epochs=5))
    assert check_same(finished, config_of(checkpoint_seconds=9)).checkpoint_seconds == 9


def test_a_run_whose_settings_are_not_all_there_is_refused(
    finished: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = finished.settings()
    del kept["jointly"]
    monkeypatch.setattr(RunDirectory, "settings", lambda _: kept)
    with pytest.raises(RunError, match=r"config\.yaml: jointly is missing"):
        check_same(finished, config_of())


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"variants": {"x": {"epoch": 3}}}, "variants.x: epoch: there is no such setting; did you"),
        ({"variants": {"x": {"agents": 0}}}, "variants.x: agents=0: "),
        ({"variants": {"x": {"tasks": 9, "disjoint": True}}}, "need 18 classes"),
        ({"seeds": [3, 3]}, "give different whole numbers"),
        (
            {"variants": {"x": {"share_data": {"mode": "simple", "every": 3}}}},
            "is never reached in",
        ),
        (
            {"variants": {"x": {"share_modules": {"mode": "iou"}, "tasks": 5}}},
            "tasks of at least 6",
        ),
        ({"train_per_class": 999}, "train_per_class=999, but the smallest class has"),
        ({"data": "nowhere.npz", "data_options": {}}, "nowhere.npz"),
    ],
)
def test_bad_settings_are_one_line_and_leave_nothing(
    tmp_path: Path, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint) as refused:
        new_share(tmp_path / "run", config_of(**settings), Quiet())
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_the_base_shares_nothing_and_is_otherwise_alike() -> None:
    variants = variants_of(
        config_of(
            variants={
                "mono": {"learner": "monolithic"},
                "wide": {"width": 9},
                "alone": {"graph": {"topology": "ring"}},
                "shares": {"share_parameters": {"mode": "fedavg"}},
                "other": {"share_parameters": {"mode": "fedavg"}, "epochs": 9},
            }
        )
    )
    assert base_among(variants, "shares") == "alone"
    assert base_among(variants, "other") is None
    assert base_among(variants, "alone") is None


def test_what_begins_in_common_has_a_base_that_does() -> None:
    shares = {"share_parameters": {"mode": "fedavg"}}
    found = {
        name: ShareConfig.model_validate(each)
        for name, each in {
            "alone": {},
            "in common": {"common_start": "always"},
            "usual": shares,
            "both": shares | {"common_start": "always"},
            "from the first": shares | {"common_start": "never"},
        }.items()
    }
    bases = [base_among(found, name) for name in ("usual", "both", "from the first")]
    assert bases == ["alone", "in common", "alone"]


def test_a_run_without_variants_is_named_by_what_it_shares() -> None:
    config = config_of(
        variants={}, share_modules={"mode": "iou"}, share_data={"mode": "simple", "every": 2}
    )
    assert list(variants_of(config)) == ["modular, simple + iou"]
    assert described(config_of(learner="monolithic")) == "monolithic, nothing shared"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"share_parameters": {"mu": 0.5}}, "share_parameters.mu=0.5 has no effect with share_par"),
        ({"share_parameters": {"mode": "fedavg", "mu": 0.5}}, "mu=0.5 has no effect.*fedprox"),
        ({"share_modules": {"mode": "iou", "points": 3}}, "points=3 has no effect.*leep"),
        ({"graph": {"topology": "ring"}}, "topology=ring has no effect with nothing shared"),
        ({"learner": "monolithic", "accommodate": False}, "accommodate=False has no effect"),
    ],
)
def test_settings_that_nothing_reads_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config_of(variants={}, **settings)
    if "has no effect with" in words:  # for some variant they may be of use
        config_of(variants={"one": {}}, **settings)


def test_learning_speed_leaves_out_the_tasks_learnt_jointly() -> None:
    curve = [(task, epoch, [0.0] * 5) for task in range(4) for epoch in (0, 10)]
    curve += [(4, 0, [0.5] * 5), (4, 10, [1.0] * 5)]
    assert speed_of(curve) == pytest.approx(0.75)
    assert speed_of(curve[:2]) == 0.0  # one task only: that one
    assert speed_of([*curve, (5, 0, [0.5] * 6)]) == pytest.approx(0.75)  # went away in its sixth
    assert math.isnan(speed_of([]))
    assert math.isnan(speed_of([(0, 0, [0.5])]))


def test_gains_are_over_the_same_seed(finished: RunDirectory) -> None:
    """Also where runs of other seeds were gathered in another order, or a base has more."""
    path = finished.last_checkpoint() / "progress.json"
    records = from_plain(Progress, finished.read(path), path).records
    variants = variants_of(config_of())
    whole = summarise(variants, records).variants
    turned = summarise(variants, records | {"alone": records["alone"][::-1]}).variants
    assert turned["both"].gain == whole["both"].gain
    one = summarise(variants, records | {"both": records["both"][1:]}).variants["both"].gain
    base, own = (
        fmean(agent.accuracy or 0.0 for agent in whole[name].seeds[1].agents)
        for name in ("alone", "both")
    )
    assert one is not None
    assert one.mean == pytest.approx(100 * (own - base) / base)


def test_runs_of_other_seeds_and_variants_count_as_one(
    finished: RunDirectory, tmp_path: Path
) -> None:
    """As if all had been computed in one run, in whichever of them each was."""
    paths = []
    for seed, names in ((1, ("both", "modules")), (0, ("alone", "both")), (1, ("alone",))):
        told = {name: SMALL["variants"][name] for name in names}
        paths.append(tmp_path / str(len(paths)))
        new_share(paths[-1], config_of(seeds=[seed], variants=told), Quiet())
    whole = finished.read(finished.summary)["variants"]
    found = gathered(paths)["variants"]
    assert found["both"]["gain"]["mean"] == pytest.approx(whole["both"]["gain"]["mean"])
    assert found["both"]["accuracy"]["mean"] == pytest.approx(whole["both"]["accuracy"]["mean"])
    other = {"both": SMALL["variants"]["both"] | {"replay": 3}}
    new_share(tmp_path / "other", config_of(seeds=[2], variants=other), Quiet())
    with pytest.raises(ConfigError, match="'both' is not that of another run"):
        gathered([*paths, tmp_path / "other"])


def test_a_fit_needs_a_base_and_three_costs_well_apart(finished: RunDirectory) -> None:
    summary = from_plain(ShareSummary, finished.read(finished.summary), finished.summary)
    some = next(iter(summary.variants.values()))

    def of(cost: float, gain: float | None, shares: str = "modules") -> VariantResult:
        found = None if gain is None else SeedMean(gain, 1.0)
        return replace(some, learner="modular", shares=[shares], cost=cost, gain=found)

    e = 2.718281828459045
    two = {"a": of(1, 2.0), "b": of(e, 5.0), "c": of(9, None), "d": of(3, 1.0, "data")}
    assert fits(two) == []
    assert fits(two | {"e": of(1.02, 9.0)}) == []
    (fit,) = fits(two | {"e": of(e**2, 8.0)})
    assert fit.variants == ["a", "b", "e"]
    assert fit.slope == pytest.approx(3.0)
    assert fit.slope_error == pytest.approx(0.5**0.5)
    assert fit.intercept == pytest.approx(2.0)
    assert fit.value_of_information == pytest.approx((2 + 5 / e + 8 / e**2) / 3)
    alone = {name: replace(each, gain=SeedMean(1.0, None)) for name, each in two.items()}
    (unsure,) = fits(alone | {"e": of(e**2, 8.0)})
    assert unsure.slope_error is None


def test_the_error_of_a_mean() -> None:
    assert mean_and_error([1.0, 3.0]) == SeedMean(2.0, pytest.approx(1.0))
    assert mean_and_error([1.0]) == SeedMean(1.0, None)


def test_a_summary_begins_with_the_most_accurate_variant(finished: RunDirectory) -> None:
    content = finished.read(finished.summary)
    assert list(content)[:3] == ["quality", "cost", "per_user"]
    best = max(content["variants"].values(), key=lambda each: each["accuracy"]["mean"])
    assert content["quality"]["mean"] == best["accuracy"]["mean"]
    assert content["cost"]["floats"] == best["floats"]
    assert content["per_user"] == [a["accuracy"] for s in best["seeds"] for a in s["agents"]]
    summary = from_plain(ShareSummary, content, finished.summary)
    assert to_plain(summary) == content


def test_the_log_is_plain_json(finished: RunDirectory) -> None:
    for line in finished.metrics.read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} in the log"))
