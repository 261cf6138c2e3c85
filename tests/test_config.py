"""Settings: which one wins, what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import understudy
from understudy.errors import ConfigError, UnderstudyError
from understudy.init.templates import TEMPLATES
from understudy.offload.phases import total_steps
from understudy.offload.settled import settled
from understudy.recipes import (
    RECIPES,
    build_method,
    check_config,
    load_method,
    resolve_config,
    saved_config,
)
from understudy.run import RunDirectory
from understudy.settings import described_settings

KINDS = ("router", "retention", "cloud")


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def refused(*overrides: str, file: Path | None = None, recipe: str = "understudy") -> str:
    with pytest.raises(ConfigError) as caught:
        resolve_config(recipe, file, list(overrides))
    message = str(caught.value)
    assert message
    return message


def test_an_override_wins_over_the_file_and_the_file_over_the_recipe(tmp_path: Path) -> None:
    file = written(tmp_path, "price: {maximum: 0.8, initial: 0.6}\nseed: 2\n")
    config: Any = resolve_config("understudy", file, ["price.initial=0.7", "seed=3", "seed=4"])
    price = config.price
    assert (price.guide, price.maximum, price.initial) == (1.0, 0.8, 0.7)
    assert (config.seed, config.budget) == (4, 0.3)
    assert resolve_config("gapg", None, ["reward.format=0.1"]).reward.cloud == 0.3


def test_dots_reach_into_sections() -> None:
    config = resolve_config(None, None, ["cloud.faults.failure_rate=0.25", "cloud.seed=9"])
    assert (config.cloud.faults.failure_rate, config.cloud.seed) == (0.25, 9)
    assert config.cloud.faults.truncation_rate == 0.0


@pytest.mark.parametrize("text", ["2e-4", "0.0002", "2E-4", ".0002", '"2e-4"'])
def test_a_number_is_a_number_however_it_is_written(text: str, tmp_path: Path) -> None:
    file = written(tmp_path, f"learning_rate: {text}\n")
    for config in (
        resolve_config(None, None, [f"learning_rate={text}"]),
        resolve_config(None, file, []),
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
    assert getattr(resolve_config(None, None, [override]), key) == value


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
    assert resolve_config(None, None, given).num_iterations == 2


@pytest.mark.parametrize("content", [b"a: [1\nb: {", b"- 1\n", b"", b"\xff\xfe\x80", b"1: 2\n"])
def test_a_file_that_is_no_configuration_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    assert "\n" not in refused(file=path)


@pytest.mark.parametrize("name", ["nowhere.yaml", "."])
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    assert str(tmp_path / name) in refused(file=tmp_path / name)


@pytest.mark.parametrize("name", list(RECIPES))
def test_settings_written_out_read_back_the_same(name: str, tmp_path: Path) -> None:
    config = settled(resolve_config(name, None, ["steps=7", "cloud.accuracy={sums: 1}"]))
    file = written(tmp_path, yaml.safe_dump(config.model_dump(mode="json")))
    assert settled(resolve_config(None, file, [])) == config
    assert total_steps(config) == 7 * len(config.stream)


def test_every_shipped_yaml_is_a_stream_that_runs_take() -> None:
    templates = [f"{name}.yaml" for name in TEMPLATES]  # tests/cli/test_init.py
    found = sorted(Path(understudy.__file__).parent.rglob("*.yaml"))
    shipped = [path for path in found if path.name not in templates]
    assert (len(shipped), len(found)) == (4, 4 + len(templates))
    data = {name: {"path": name} for name in ("gsm8k", "mbpp", "banking77")}  # not read for this
    for path in shipped:
        given = ({"stream": stream, "data": data} for stream in (str(path), path.stem))
        by_path, by_name = map(check_config, given)
        assert settled(by_path) == settled(by_name)
        assert total_steps(by_name) > 0


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_setting_is_described_and_no_section_is_left_out(name: str) -> None:
    rows = described_settings(load_method(name).Settings)
    assert all(row.key.strip() and row.type.strip() and row.meaning.strip() for row in rows)
    config = resolve_config(name, None, [])
    chosen = {"", *(f"{field} {getattr(config, field).kind}" for field in KINDS)}
    keys = [row.key for row in rows if row.owner in chosen and row.key not in KINDS]
    assert len(set(keys)) == len(keys)

    def leaves(values: dict[str, Any], prefix: str = "") -> set[str]:
        nested = [  # an empty mapping is a setting, not a section
            leaves(value, f"{prefix}{key}.")
            if value and isinstance(value, dict)
            else {prefix + key}
            for key, value in values.items()
        ]
        return set().union(*nested)

    assert set(keys) == leaves(config.model_dump()) - {f"{field}.kind" for field in KINDS}


@pytest.mark.parametrize(
    ("recipe", "override", "words"),
    [
        ("grpo", "price.guide=5", ["price.guide", "is a setting of recipe understudy"]),
        ("dagrpo", "scale_rewards=group", ["scale_rewards", "recipe grpo, recipe shaped"]),
        ("dagrpo", "price.gain=1", ["price.gain", "recipe understudy"]),
        ("shaped", "price.rate=1", ["price.rate", "recipe understudy, recipe dagrpo"]),
        ("gapg", "price.initial=1", ["price.initial", "has no effect here"]),
        ("understudy", "price.filter_ratio=1", ["recipe gapg"]),
        ("understudy", "price.gain=3", ["gain=3.0", "rule=proportional-integral"]),
        ("understudy", "router.spair=false", ["router.spair", "did you mean router.spare?"]),
        ("dagrpo", "router.spare=false", ["router.spare", "router calibrated"]),
        ("dagrpo", "router=mine", ["router=mine", "calibrated", "file.py:Name"]),
        ("dagrpo", "router=7", ["router=7", "name of a kind"]),
        ("grpo", "distill=0.5", ["distill=0.5", "asks nothing in training"]),
        ("grpo", "reward.cloud=0.5", ["reward.cloud=0.5", "asks nothing in training"]),
        ("dagrpo", "lora={rank: 0, alpha: 64}", ["lora", "alpha=64.0", "rank"]),
        ("dagrpo", "lora={rank: 0, targets: [q_proj]}", ["targets=('q_proj',)", "rank"]),
        ("dagrpo", "retention=kl", ["retention=kl", "beta"]),
        ("my.py:Method", "seed=1", ["my.py:Method", "FileNotFoundError"]),
    ],
)
def test_a_setting_without_effect_is_refused_with_its_owner(
    recipe: str, override: str, words: list[str]
) -> None:
    message = refused(override, recipe=recipe)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_another_kind_starts_from_its_own_settings(tmp_path: Path) -> None:
    file = written(tmp_path, "router: {kind: calibrated, spare: false}\n")
    kept = resolve_config("dagrpo", file, []).router
    assert (kept.kind, kept.model_dump()["spare"]) == ("calibrated", False)
    other = resolve_config("dagrpo", file, ["router.kind=random"]).router
    assert other.model_dump() == {"kind": "random"}
    file.write_text("router: calibrated\n")
    more = resolve_config("dagrpo", file, ["router.spare=false"]).router
    assert more.model_dump() == kept.model_dump()


OWN_METHOD = """
from pydantic import Field

from understudy.offload.config import Config
from understudy.offload.method import Method


class Mine(Method):
    class Settings(Config):
        pace: int = Field(3, ge=1, description="how fast")

    def advantage(self, scores, dual):
        return scores.reward * self.config.pace
"""


def test_a_stranger_s_method_has_its_own_settings(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(OWN_METHOD)
    name = f"{path}:Mine"
    file = written(tmp_path, f"recipe: {name}\npace: 4\n")
    for config in (resolve_config(name, None, ["pace=4"]), resolve_config(None, file, [])):
        assert (config.recipe, type(build_method(config)).__name__) == (name, "Mine")
        assert config.model_dump()["pace"] == 4
    assert "pace=0" in refused("pace=0", recipe=name)
    assert "did you mean pace?" in refused("paec=1", recipe=name)


@pytest.mark.parametrize("seam", ["recipe", *KINDS])
@pytest.mark.parametrize("name", ["function", "Nothing", "Wrong"])
def test_what_is_no_kind_of_the_seam_is_refused_in_one_line(
    seam: str, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    nothing = "def function(): ...\n\nclass Nothing: ...\n\n"
    path.write_text(f"{nothing}class Wrong:\n    Settings = int\n")
    message = refused(f"{seam}={path}:{name}", recipe="dagrpo")
    assert f"{seam}={path}:{name}: is no" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("cloud.http.model=1e5", "1e5"),
        ("cloud.http.max_tokens=12", 12),
        ("cloud.http.max_tokens=null", None),
        ("cloud.http.stream=true", True),
        ("cloud.http.timeout_seconds=2e1", 20.0),
        ("cloud.accuracy=[9e-1, 0.8, 0.7, 0.6, 1]", [0.9, 0.8, 0.7, 0.6, 1.0]),
        ("cloud.accuracy={sums: 5e-1}", {"sums": 0.5}),
        ("cloud.accuracy=1e-1", 0.1),
        ("lora.targets=[1e5, q_proj]", ("1e5", "q_proj")),
        ("steps=null", None),
    ],
)
def test_text_becomes_a_number_where_one_is_wanted(override: str, wanted: Any) -> None:
    needed = {"cloud.http": ["cloud.kind=openai"], "lora.targe": ["lora.rank=2"]}
    given = [*needed.get(override[:10], []), override]
    found: Any = resolve_config("understudy", None, given)
    for part in override.partition("=")[0].split("."):
        found = getattr(found, part)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize("override", ["batch_size=1e3", "batch_size=x", "bf16=3"])
def test_text_that_is_no_number_is_refused(override: str) -> None:
    assert override.split("=")[0] in refused(override)


def test_a_run_s_settings_must_be_whole(tmp_path: Path) -> None:
    config = settled(resolve_config("dagrpo", None, ["steps=1"]))
    run = RunDirectory.create(tmp_path / "run", config.model_dump(mode="json"))
    assert saved_config(run) == config
    whole = run.config.read_text()
    last = whole.rstrip().rindex("\n")  # of a number on the last line any beginning is one too
    for end in range(0, last, 7):
        run.config.write_text(whole[:end])
        with pytest.raises(UnderstudyError, match=r"\S") as caught:
            saved_config(run)
        assert "\n" not in str(caught.value)


def test_a_checked_configuration_cannot_be_changed() -> None:
    config = check_config({})
    with pytest.raises(ValueError, match="frozen"):
        config.budget = 0.5
