"""The settings of a federation: what clashes is refused by name, and nothing heavy is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.federate.tiny import config_of
from understudy.errors import ConfigError
from understudy.federate.plan import plan_text
from understudy.federate.variants import FederateRun, variants_of
from understudy.settings import check_settings, resolve_settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"server": "o2"}, "server=o2: unknown; use none, average, asynchronous, o2d"),
        ({"method": {"rnk": 3}}, "did you mean method.rank"),
        ({"method": {"features": {"noise": 1.0}}}, "is a multiple of clip; set clip"),
        ({"method": {"blocks": [1, 1]}}, "give different numbers"),
        ({"server": {"kind": "average", "trim": 0.2}}, "no effect with rule=mean"),
        ({"seeds": [1, 1]}, "give different whole numbers"),
        ({"small": ["residual"] * 4}, "more networks than there are clients=3"),
    ],
)
def test_what_clashes_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config_of(**settings)


def test_ablations_are_settings() -> None:
    config = config_of(method={"smcf": {"weight": 0}}, server="average")
    assert config.method.smcf.weight == 0  # type: ignore[attr-defined]
    assert config.serving.kind == "average"
    assert FederateRun().serving.kind == "o2d"


def test_variants_are_settings_over_the_others() -> None:
    variants = {"o2d": {}, "mean": {"server": "average", "method": {"rank": 8}}}
    run = check_settings(FederateRun, {"variants": variants, "method": {"rank": 2}})
    found = variants_of(run)
    assert [each.method.rank for each in found.values()] == [2, 8]  # type: ignore[attr-defined]
    text = plan_text(run)
    assert "mean: 5 clients x 1 seeds, 5 tasks of 8 classes in 2 rounds each" in text
    assert "server average" in text
    bad = check_settings(FederateRun, {"variants": {"x": {"rounds": 0}}})
    with pytest.raises(ConfigError, match=r"variants\.x: rounds=0"):
        variants_of(bad)


def test_every_example_is_a_plan() -> None:
    folder = Path(__file__).parents[2] / "examples" / "federate"
    paths = sorted(folder.rglob("*.yaml"))
    assert len(paths) == 4
    for path in paths:
        run = resolve_settings(FederateRun, {}, path, [])
        assert len(plan_text(run).splitlines()) > len(variants_of(run)) > 2
        held = run.partition.private + run.partition.shared
        assert run.tasks * run.classes_per_task <= held


def test_settings_and_the_plan_load_nothing_heavy() -> None:
    script = (
        "import sys; from understudy.federate.plan import plan_text; "
        "from understudy.federate.variants import FederateRun; "
        "from understudy.settings import described_settings; described_settings(FederateRun); "
        "plan_text(FederateRun()); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"torch", "numpy", "transformers"} & set(done.stdout.split()) == set()
