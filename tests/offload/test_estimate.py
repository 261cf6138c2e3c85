"""What a run may ask and spend, said before it starts, and what a cap does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.offload.runs import Silent, config_of, run_new, run_on
from understudy.errors import CloudError, ConfigError
from understudy.offload.estimate import CloudEstimate, cloud_estimate
from understudy.recipes import check_config, resumed_config
from understudy.run import RunDirectory


def test_a_question_crosses_once_a_step_and_once_for_all_examinations(model: Path) -> None:
    """Two tasks of 6 test and 8 validation questions; 4 steps of 4 prompts."""
    found = cloud_estimate(config_of("dagrpo", model))
    assert (found.training, found.examinations) == (16, 28)
    assert found.dollars_a_call
    assert "16 in training, 28 in examinations" in found.text()
    assert CloudEstimate(100, 25, 0.01).text().endswith("$1.25 if every answer is longest")


def test_no_run_makes_more_calls_than_were_estimated(model: Path, tmp_path: Path) -> None:
    config = config_of("dagrpo", model)
    found, run = cloud_estimate(config), run_new(tmp_path / "run", config)
    summary = run.read(run.summary)
    assert summary["spend"]["calls"] <= found.training
    assert summary["evaluation_spend"]["calls"] <= found.examinations


def test_a_run_stops_at_its_cap_if_that_is_set_and_goes_on_with_a_higher_one(
    model: Path, tmp_path: Path
) -> None:
    config = config_of("dagrpo", model, cloud__max_calls=3, cloud__at_cap="stop")
    with pytest.raises(CloudError, match=r"cloud\.max_calls is reached .* cloud\.at_cap=stop"):
        run_new(tmp_path / "run", config)
    directory = RunDirectory.open(tmp_path / "run")
    with pytest.raises(ConfigError, match="learning_rate"):
        resumed_config(directory, None, ["learning_rate=0.5", "cloud.max_calls=999"])
    higher = resumed_config(directory, None, ["cloud.max_calls=999"])
    run = run_on(directory, higher, display := Silent())
    assert run.summary.is_file()
    assert run.settings()["cloud"]["max_calls"] == 999
    assert not display.warnings or "max_calls" not in " ".join(display.warnings)


def test_what_to_do_at_a_cap_needs_a_cap() -> None:
    with pytest.raises(ConfigError, match="at_cap=stop has an effect with max_calls or"):
        check_config({"cloud": {"at_cap": "stop"}})
