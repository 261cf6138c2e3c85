"""Settings: which one wins, what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import understudy
from understudy.errors import ConfigError
from understudy.offload.config import Config, check_config, resolve_config
from understudy.offload.phases import settled, total_steps
from understudy.recipes import NAMES, defaults
from understudy.settings import described_settings


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def refused(*overrides: str, file: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve_config({}, file, list(overrides))
    message = str(caught.value)
    assert message
    return message


def test_an_override_wins_over_the_file_and_the_file_over_the_recipe(tmp_path: Path) -> None:
    low = {"price": {"rate": 0.1, "gain": 0.2, "initial": 0.3}, "seed": 1, "budget": 0.6}
    file = written(tmp_path, "price: {gain: 0.5, initial: 0.5}\nseed: 2\n")
    config = resolve_config(low, file, ["price.initial=0.7", "seed=3", "seed=4"])
    assert (config.price.rate, config.price.gain, config.price.initial) == (0.1, 0.5, 0.7)
    assert (config.seed, config.budget) == (4, 0.6)
    assert config.batch_size == Config().batch_size
    assert low["price"] == {"rate": 0.1, "gain": 0.2, "initial": 0.3}  # nobody's input changes


def test_dots_reach_into_sections() -> None:
    config = resolve_config({}, None, ["cloud.faults.failure_rate=0.25", "cloud.seed=9"])
    assert (config.cloud.faults.failure_rate, config.cloud.seed) == (0.25, 9)
    assert config.cloud.faults.truncation_rate == 0.0


@pytest.mark.parametrize("text", ["2e-4", "0.0002", "2E-4", ".0002", '"2e-4"'])
def test_a_number_is_a_number_however_it_is_written(text: str, tmp_path: Path) -> None:
    file = written(tmp_path, f"learning_rate: {text}\n")
    for config in (
        resolve_config({}, None, [f"learning_rate={text}"]),
        resolve_config({}, file, []),
    ):
        assert config.learning_rate == pytest.approx(2e-4)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("epsilon=null", "epsilon", None),
        ("bf16=true", "bf16", True),
        ("model=runs/a b", "model", "runs/a b"),
        ("stream=[{families: sums}]", "stream", [{"families": "sums"}]),
        ("stream=mine=odd.yaml", "stream", "mine=odd.yaml"),
    ],
)
def test_values_are_yaml(override: str, key: str, value: Any) -> None:
    assert getattr(resolve_config({}, None, [override]), key) == value


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("budgte=0.3", ["budgte", "no such setting", "did you mean budget?"]),
        ("price.rat=0.3", ["price.rat", "did you mean price.rate?"]),
        ("cloud.faults.failure=1", ["cloud.faults.failure_rate"]),
        ("zzzz=1", ["zzzz", "no such setting", "--help"]),
        ("budget=1.5", ["budget=1.5", "1"]),
        ("budget=-0.1", ["budget=-0.1", "0"]),
        ("budget=nan", ["budget"]),
        ("budget=much", ["budget=much", "number"]),
        ("budget=", ["budget=None"]),
        ("batch_size=2.5", ["batch_size=2.5", "integer"]),
        ("num_generations=1", ["num_generations=1", "2", "at least two responses"]),
        ("learning_rate=0", ["learning_rate=0"]),
        ("learning_rate=inf", ["learning_rate=inf"]),
        ("reward.local=nan", ["reward.local=nan"]),
        ("price.initial=inf", ["price.initial=inf"]),
        ("temperature=.inf", ["temperature=inf"]),
        ("cloud.latency_seconds=inf", ["cloud.latency_seconds=inf"]),
        ("loss_type=ppo", ["loss_type=ppo", "dr_grpo"]),
        ("price=3", ["price=3"]),
        ("price.rate.x=1", ["price.rate"]),
        ("seed=-1", ["seed=-1"]),
        ("budget", ["--set budget", "key=value"]),
        ("stream=[1", ["--set stream=[1", "YAML"]),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(override: str, words: list[str]) -> None:
    message = refused(override)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (["epsilon_high=0.3"], ["epsilon_high=0.3", "epsilon"]),
        (["num_iterations=2"], ["num_iterations=2", "epsilon"]),
        (
            ["cloud.faults={failure_rate: 0.8, truncation_rate: 0.4}"],
            ["failure_rate=0.8", "truncation_rate=0.4"],
        ),
    ],
)
def test_settings_that_clash_are_both_named(overrides: list[str], names: list[str]) -> None:
    message = refused(*overrides)
    for name in names:
        assert name in message


def test_what_would_clash_alone_may_come_together() -> None:
    given = ["epsilon=0.2", "epsilon_high=0.3", "num_iterations=2"]
    assert resolve_config({}, None, given).num_iterations == 2


@pytest.mark.parametrize("content", [b"a: [1\nb: {", b"- 1\n", b"", b"\xff\xfe\x80", b"1: 2\n"])
def test_a_file_that_is_no_configuration_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    assert "\n" not in refused(file=path)


@pytest.mark.parametrize("name", ["nowhere.yaml", "."])
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    assert str(tmp_path / name) in refused(file=tmp_path / name)


@pytest.mark.parametrize("name", NAMES)
def test_settings_written_out_read_back_the_same(name: str, tmp_path: Path) -> None:
    config = settled(resolve_config(defaults(name), None, ["steps=7", "cloud.accuracy={sums: 1}"]))
    file = written(tmp_path, yaml.safe_dump(config.model_dump(mode="json")))
    assert settled(resolve_config({}, file, [])) == config
    assert total_steps(config) == 7 * len(config.stream)


def test_every_shipped_yaml_is_a_stream_that_runs_take() -> None:
    shipped = sorted(Path(understudy.__file__).parent.rglob("*.yaml"))
    assert len(shipped) == 4
    data = {name: {"path": name} for name in ("gsm8k", "mbpp", "banking77")}  # not read for this
    for path in shipped:
        given = ({"stream": stream, "data": data} for stream in (str(path), path.stem))
        by_path, by_name = map(check_config, given)
        assert settled(by_path) == settled(by_name)
        assert total_steps(by_name) > 0


def test_every_setting_is_described_and_no_section_is_left_out() -> None:
    rows = described_settings(Config)
    assert all(all(cell.strip() for cell in row) for row in rows)
    keys = {row[0] for row in rows}
    assert len(keys) == len(rows)

    def leaves(values: dict[str, Any], prefix: str = "") -> set[str]:
        nested = [  # an empty mapping is a setting, not a section
            leaves(value, f"{prefix}{key}.")
            if value and isinstance(value, dict)
            else {prefix + key}
            for key, value in values.items()
        ]
        return set().union(*nested)

    assert keys == leaves(Config().model_dump())


def test_a_checked_configuration_cannot_be_changed() -> None:
    config = check_config({})
    with pytest.raises(ValueError, match="frozen"):
        config.budget = 0.5
