"""Every recipe: found by its name, run for two steps, and moved the way its prices point."""

from __future__ import annotations

import math
import shutil
import statistics
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.offload.runs import EVERYTHING, Lines, config_of, run_new, trajectory
from understudy import recipes
from understudy.errors import ConfigError, DivergedError
from understudy.offload.loop import source_of, train
from understudy.offload.start import start
from understudy.offload.steps import StepMetrics, StepTimings
from understudy.recipes import RECIPES, build_method, load_method, resolve_config
from understudy.run import RunDirectory
from understudy.tasks.stream import load_stream

FACTS = {"families": "facts", "levels": [1, 1]}
FAULTY = {key.replace(".", "__"): value for key, value in EVERYTHING.items()}


def mean(lines: list[dict[str, Any]], key: str) -> float:
    return statistics.mean(line[key] for line in lines)


def test_every_file_of_a_method_is_registered() -> None:
    folder = Path(recipes.__file__).parent
    found = {path.stem for path in folder.glob("*.py") if "(Method):" in path.read_text()}
    assert found == set(RECIPES)


def test_a_method_without_an_advantage_is_refused_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / "lazy.py"
    path.write_text("from understudy.offload.method import Method\nclass Lazy(Method): ...\n")
    with pytest.raises(ConfigError, match="Lazy has no advantage; write advantage"):
        load_method(f"{path}:Lazy")


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_recipe_starts_from_its_own_settings(name: str) -> None:
    config = resolve_config(name, None, [])
    assert config.recipe == name
    method = build_method(config)
    assert isinstance(config, method.Settings)
    assert math.isfinite(method.start().price)


def test_an_unknown_recipe_is_named_with_those_that_exist() -> None:
    for unknown in ("nonsense", "dagpro"):
        with pytest.raises(ConfigError, match=rf"recipe={unknown}: unknown; use .*dagrpo"):
            resolve_config(unknown, None, [])


@pytest.mark.parametrize("extra", [{}, FAULTY | {"epsilon": 0.2, "num_iterations": 2, "beta": 0.1}])
@pytest.mark.parametrize("name", list(RECIPES))
def test_two_steps(name: str, extra: dict[str, Any], model: Path) -> None:
    if name == "grpo":  # it asks nothing that it could learn from
        extra = {key: value for key, value in extra.items() if key != "distill"}
    lines, state = trajectory(config_of(name, model, steps=1, **extra))
    assert [(line["step"], line["phase"]) for line in lines.steps] == [(1, 1), (2, 2)]
    assert state.step == 2
    assert len(lines.rows) == 3
    assert any(line["grad_norm"] > 0 for line in lines.steps)
    for line in lines.steps:
        for key, value in line.items():
            assert value is None or isinstance(value, str | int | float)
            assert value is None or isinstance(value, str) or not math.isnan(value), key


def test_grpo_never_asks_and_is_served_at_random(model: Path) -> None:
    lines, _ = trajectory(config_of("grpo", model, budget=0.4))
    assert lines.spend().calls == 0
    assert mean(lines.steps, "cloud/ask_rate") == 0.0
    for cell in lines.rows[-1].tasks:
        assert cell.ask_rate == pytest.approx(0.4)
        assert cell.system == pytest.approx(0.6 * cell.local + 0.4 * (cell.cloud or 0))


@pytest.mark.parametrize(("price", "rises"), [(0.0, True), (5.0, False)])
def test_a_price_turns_asking_the_way_it_points(price: float, rises: bool, model: Path) -> None:
    lines, _ = trajectory(
        config_of(
            "dagrpo",
            model,
            stream=[FACTS | {"steps": 30}],
            batch_size=8,
            cloud__accuracy=1.0,
            price__initial=price,
            price__rate=0.0,
            learning_rate=0.002,
        )
    )
    first, last = (
        mean(part, "cloud/expected_ask_rate") for part in (lines.steps[:3], lines.steps[-3:])
    )
    if rises:
        assert last > max(0.9, first + 0.2)
        assert mean(lines.steps[-3:], "system_accuracy") > 0.9
    else:
        assert last < min(0.1, first - 0.2)


@pytest.mark.parametrize("name", ["grpo", "shaped"])
def test_a_reward_for_form_alone_is_learnt(name: str, fresh_model: Path) -> None:
    lines, _ = trajectory(
        config_of(
            name,
            fresh_model,
            stream=[FACTS | {"steps": 30}],
            batch_size=8,
            num_generations=8,
            cloud__accuracy=0.0,
            reward__format=1.0,
            learning_rate=0.01,
        )
    )
    assert mean(lines.steps[-3:], "reward") > 2 * mean(lines.steps[:3], "reward")
    assert mean(lines.steps[-3:], "reward") > 0.5


def test_the_price_of_dagrpo_follows_its_usage(model: Path) -> None:
    config = config_of("dagrpo", model, price__initial=0.1, price__rate=0.5, budget=0.3)
    lines, _ = trajectory(config)
    price = 0.1
    for line in lines.steps:
        assert line["cloud/price"] == pytest.approx(price)
        price = max(0.0, price + 0.5 * (line["cloud/ask_rate"] - 0.3))


@pytest.mark.parametrize("which", ["model", "fresh_model"])
@pytest.mark.parametrize("budget", [0.1, 0.5])
def test_understudy_holds_its_rate(
    budget: float, which: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(which)
    config = config_of(
        "understudy",
        folder,
        stream=[FACTS | {"steps": 25}],
        budget=budget,
        batch_size=16,
        num_generations=4,
        learning_rate=2e-4,
    )
    lines, _ = trajectory(config)
    # The rule itself may ask for less than the budget only where the model needs less.
    settled = mean(lines.steps[-15:], "cloud/expected_ask_rate")
    assert settled == pytest.approx(budget, abs=0.05)
    assert mean(lines.steps[-15:], "cloud/ask_rate") == pytest.approx(budget, abs=0.08)


def test_a_budget_of_nothing_silences_understudy(model: Path) -> None:
    config = config_of("understudy", model, budget=0.0, stream=[FACTS | {"steps": 12}])
    lines, _ = trajectory(config)
    assert mean(lines.steps, "cloud/ask_rate") == 0.0  # from the first step on
    for row in lines.rows:
        assert all(cell.ask_rate == 0.0 for cell in row.tasks)


@pytest.mark.parametrize("name", ["understudy", "dagrpo", "gapg", "shaped"])
def test_a_phase_without_a_budget_forbids_asking_and_leaves_the_rest_as_it_was(
    name: str, model: Path
) -> None:
    stream = [FACTS | {"steps": 4, "budget": 0.0}, FACTS | {"steps": 4, "budget": 0.5}]
    lines, _ = trajectory(config_of(name, model, stream=stream, batch_size=8))
    silent, asking = lines.steps[:4], lines.steps[4:]
    assert all(line["cloud/ask_rate"] == 0.0 and line["cloud/shift"] is None for line in silent)
    assert asking[0]["cloud/shift"] == 0.0  # nothing wound up meanwhile
    assert mean(asking, "cloud/ask_rate") > 0.0
    assert all(row.tasks[0].ask_rate == 0.0 for row in lines.rows)


def test_a_whole_budget_may_be_used(model: Path) -> None:
    stream = [FACTS | {"steps": 6}]
    settings: dict[str, Any] = {"stream": stream, "budget": 1.0, "price__spare": False}
    lines, _ = trajectory(config_of("understudy", model, **settings))
    assert mean(lines.steps[-3:], "cloud/ask_rate") > 0.8
    assert lines.rows[-1].tasks[0].ask_rate == 1.0


@pytest.mark.parametrize("name", ["understudy", "dagrpo", "gapg"])
def test_served_under_a_budget_no_more_is_asked_than_it_allows(name: str, model: Path) -> None:
    settings: dict[str, Any] = {"eval_queries": 64, "calibration_queries": 64, "steps": 1}
    lines, _ = trajectory(config_of(name, model, budget=0.25, **settings))
    for cell in (cell for row in lines.rows for cell in row.tasks):
        assert 0.0 <= cell.ask_rate <= 1.0
        if name != "dagrpo":  # which serves as it likes
            assert cell.ask_rate <= 0.25 + 0.2  # a threshold fitted to 64 others
        if name == "gapg":
            assert cell.ask_rate <= 0.25


def test_training_that_diverges_keeps_its_last_checkpoint(model: Path, tmp_path: Path) -> None:
    # Differences of rewards so large overflow in the norm of the gradient.
    config = config_of("dagrpo", model, reward__cloud=3e38, checkpoint_every=50)
    with pytest.raises(DivergedError, match="learning_rate") as caught:
        run_new(tmp_path / "run", config)
    assert "\n" not in str(caught.value)
    assert "--resume" not in str(caught.value)  # which would diverge again
    run = RunDirectory.open(tmp_path / "run")
    assert run.last_checkpoint().name == "step-000000"
    kept = run.last_checkpoint() / "model.safetensors"
    assert kept.read_bytes() == (model / "model.safetensors").read_bytes()


def test_weights_that_overflow_are_neither_examined_nor_saved(model: Path) -> None:
    config = config_of("dagrpo", model, checkpoint_every=50)
    saved: list[int] = []
    state, helpers = start(config, build_method(config))

    class Overflow(Lines):
        def on_step(self, metrics: StepMetrics, timings: StepTimings) -> None:
            super().on_step(metrics, timings)
            if len(self.steps) == 2:  # the phase's last
                state.policy.network.norm.weight.data.fill_(math.inf)

    lines = Overflow()
    with pytest.raises(DivergedError, match="step 2: weights overflowed"):
        train(
            state,
            helpers,
            load_stream(config.stream),
            config,
            lines,
            lambda state: saved.append(state.step),
        )
    assert saved == [0]
    assert [row.after_phase for row in lines.rows] == [0]


def test_a_model_that_gives_nan_is_refused_by_name(model: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(model, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][:] = math.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    config = config_of("dagrpo", broken)
    with pytest.raises(DivergedError, match="the model gives NaN on 8 of 8 questions"):
        trajectory(config)
    state, helpers = start(config, build_method(config))
    source = source_of(state, helpers, config, budget=0.3)
    problems = helpers.tasks.batch(load_stream([FACTS])[0], 2, "train", "nan")
    with closing(helpers), pytest.raises(DivergedError, match="step 1: the model gives NaN"):
        source.draw(problems)
