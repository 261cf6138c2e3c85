"""What a run chooses for a model and its tasks, and what stays as it is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.models.gguf_files import write_both
from tests.models.small import TEMPLATE, write_checkpoint, write_tokenizer
from tests.offload.runs import SMALL, Silent, StoppedError, results_of, run_new, run_on, settings_of
from understudy.errors import ConfigError
from understudy.models.defaults import Defaults, defaults_for
from understudy.models.lora import Lora
from understudy.models.policy import Policy
from understudy.offload import settled as module
from understudy.offload.config import Config
from understudy.offload.settled import RULES, choices_text, settled, shown_size, value_of
from understudy.recipes import RECIPES, resolve_config, resumed_config
from understudy.run import RunDirectory
from understudy.settings import open_settings

DOCS = Path(__file__).parents[2] / "docs"
PHASE = {"families": "sums", "steps": 1}


def hollow(folder: Path, parameters: float) -> str:
    """A checkpoint that has so many parameters by its header, and no weights."""
    folder.mkdir(parents=True)
    header = {"weight": {"dtype": "BF16", "shape": [int(parameters)], "data_offsets": [0, 0]}}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    (folder / "config.json").write_text("{}")
    return str(folder)


def taken(*given: str, recipe: str = "understudy") -> Config:
    return settled(resolve_config(recipe, None, [f"stream={json.dumps([PHASE])}", *given]))


@pytest.fixture(autouse=True)
def _with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor that has it, if the model is large enough."""
    monkeypatch.setattr(module, "chosen_bf16", lambda count, _: count >= 5e6)


def test_the_tiny_model_has_what_it_always_had() -> None:
    config = taken()
    assert (config.batch_size, config.num_generations, config.max_completion_length) == (32, 8, 24)
    assert (config.learning_rate, config.lora, config.dtype) == (2e-4, Lora(rank=0), "float32")
    assert (config.eval_queries, config.calibration_queries) == (512, 1024)
    assert (config.gradient_accumulation_steps, config.threads, config.bf16) == (1, 1, False)


@pytest.mark.parametrize(
    ("parameters", "rank", "rate", "batch", "dtype", "questions"),
    [
        (4_999_999, 0, 2e-4, (32, 8), "float32", 512),
        (5_000_000, 16, 2e-4, (16, 4), "float32", 256),
        (135e6, 16, 2e-4, (16, 4), "float32", 256),
        (494e6, 16, 1e-4, (16, 4), "float32", 128),
        (1.54e9, 16, 5e-5, (8, 4), "bfloat16", 96),
        (8e9, 16, 3e-5, (8, 4), "bfloat16", 64),
    ],
)
@pytest.mark.parametrize("recipe", list(RECIPES))
def test_settings_go_by_the_size_of_the_model_in_every_recipe(
    parameters: float,
    rank: int,
    rate: float,
    batch: tuple[int, int],
    dtype: str,
    questions: int,
    recipe: str,
    tmp_path: Path,
) -> None:
    config = taken(f"model={hollow(tmp_path / 'm', parameters)}", recipe=recipe)
    assert (config.lora.rank, config.learning_rate, config.dtype) == (rank, rate, dtype)
    assert (config.batch_size, config.num_generations) == batch
    assert config.eval_queries == questions
    assert list(open_settings(config)) == []
    assert settled(config) == config


def test_every_setting_that_may_be_left_open_has_a_rule() -> None:
    assert set(open_settings(resolve_config("understudy", None, []))) == set(RULES)
    for recipe in RECIPES:
        assert set(open_settings(resolve_config(recipe, None, []))) <= set(RULES)


@pytest.mark.parametrize("key", sorted(RULES))
def test_each_can_be_given_alone(key: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {key: 3, "bf16": False, "dtype": "bfloat16", "learning_rate": 0.25}
    model = hollow(tmp_path / "m", 135e6)
    usual = settled(resolve_config("understudy", None, [f"model={model}"]))
    asked = resolve_config(
        "understudy", None, [f"model={model}", f"{key}={json.dumps(given[key])}"]
    )
    found = settled(asked)
    assert value_of(found, key) == given[key] != value_of(usual, key)
    others = [other for other in RULES if other != key]
    assert [other for other in others if value_of(found, other) != value_of(usual, other)] == []
    text = choices_text(asked, found)
    assert text is not None
    assert f"{key}=" not in text
    assert all(f"{other}=" in text for other in others)


def test_portions_go_by_the_table_alone_however_long_the_responses(tmp_path: Path) -> None:
    """Not by what a machine has room for; longer portions are cut as they are learnt."""
    folder = Path(hollow(tmp_path / "m", 135e6))
    (folder / "config.json").write_text('{"num_hidden_layers": 30, "hidden_size": 576}')
    config = taken(f"model={folder}", "max_completion_length=65536")
    assert config.gradient_accumulation_steps == 1


def test_training_all_weights_takes_a_tenth_of_the_rate_in_float32(tmp_path: Path) -> None:
    model = hollow(tmp_path / "m", 1.5e9)
    whole = taken(f"model={model}", "lora.rank=0")
    assert (whole.learning_rate, whole.dtype) == (pytest.approx(5e-6), "float32")
    assert taken(f"model={model}", "bf16=false").dtype == "float32"


def test_an_adapter_is_trained_on_as_it_is(tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", "llama")
    Policy.load(str(base), lora=Lora(rank=2, alpha=4.0)).save_adapter(tmp_path / "adapter")
    config = taken(f"model={tmp_path / 'adapter'}")
    assert (config.lora.rank, config.learning_rate) == (0, 2e-4)


def test_of_an_adapter_the_tokenizer_and_the_template_are_its_bases(tmp_path: Path) -> None:
    """peft writes its configuration and its weights alone."""
    base = Path(hollow(tmp_path / "base", 1.5e9))
    write_tokenizer(base, chat=True)
    peft = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(
        json.dumps(peft | {"base_model_name_or_path": str(base)})
    )
    rows = [{"text": f"text {i}", "label": ["fox", "lazy dog"][i % 2]} for i in range(60)]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = {"mine": {"path": str(tmp_path / "mine.jsonl"), "form": "label"}}
    given = ["stream=[{families: mine}]", f"data={json.dumps(data)}"]
    of_base, config = (taken(f"model={tmp_path / name}", *given) for name in ("base", "adapter"))
    assert (config.warm_start.steps, config.dtype, config.lora.rank) == (24, "bfloat16", 0)
    assert config.max_completion_length == of_base.max_completion_length
    assert taken(f"model={tmp_path / 'adapter'}", "bf16=false").dtype == "float32"


@pytest.mark.parametrize("chat", [True, False])
def test_a_gguf_file_is_a_chat_model_where_its_header_has_a_template(
    chat: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "model.gguf"
    write_both(tmp_path / "folder", file, template=TEMPLATE if chat else None)
    assert taken(f"model={file}").warm_start.steps == (24 if chat else 0)
    assert not (tmp_path / "cache").exists()
    Policy.load(str(file))
    assert taken(f"model={file}").warm_start.steps == (24 if chat else 0)


def test_what_clashes_with_a_choice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"alpha=64\.0 has an effect with rank above 0"):
        taken("lora.alpha=64")
    assert taken(f"model={hollow(tmp_path / 'm', 1e8)}", "lora.alpha=64").lora.rank == 16
    with pytest.raises(ConfigError, match="batch_size=1048576 times num_generations=8"):
        taken("batch_size=1048576")


def test_the_longest_answer_goes_by_the_tasks(tmp_path: Path) -> None:
    model = f"model={hollow(tmp_path / 'm', 1e8)}"

    def length(*names: str, given: str = "{}") -> int:
        stream = json.dumps([{"families": name} for name in names])
        return taken(model, f"data={given}", f"stream={stream}").max_completion_length

    data = "{banking77: {path: a}, gsm8k: {path: b}, mine: {path: c, form: math}}"
    assert length("sums") == 64
    assert length("banking77", "gsm8k", given=data) == 256
    assert length("mine", "gsm8k", given=data) == 384
    columns = "{mine: {path: c, checker: choice, prompt: p, solution: s}}"
    assert length("mine", "sums", given=columns) == 64  # test_answer_length.py has it alone
    with pytest.raises(ConfigError, match=r"data\.mine: its name says nothing"):
        length("mine", given="{mine: {path: c}}")


def test_a_run_says_and_keeps_what_it_chose_and_repeats_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resumed, or started again from its config.yaml, whatever would be chosen by now."""
    model = write_checkpoint(tmp_path / "model", "qwen2-tied", chat=True)
    small = SMALL | {"model": str(model), "max_completion_length": 4}
    small = {key: value for key, value in small.items() if key not in LEFT_OPEN}

    def of_size(*figures: Any) -> None:
        row = Defaults(1e9, *figures)
        monkeypatch.setattr(module, "defaults_for", lambda _: row)

    of_size(2, 0.01, 0.001, 4, 2, 2, "float32", 3, 5)
    asked, display = resolve_config("dagrpo", None, settings_of(small)), Silent()
    whole = run_new(tmp_path / "whole", asked, display)
    assert display.notes == [
        "chosen for 0.026M parameters: dtype=float32, lora.rank=2, batch_size=4, "
        "num_generations=2, learning_rate=0.01, gradient_accumulation_steps=2, eval_queries=3, "
        "calibration_queries=5"
    ]
    with pytest.raises(StoppedError):
        run_new(tmp_path / "stopped", asked, Silent(stop_at=3))
    of_size(4, 0.5, 0.5, 8, 8, 1, "float32", 7, 7)
    run = RunDirectory.open(tmp_path / "stopped")
    kept = resumed_config(run, None, [])
    assert (kept.lora.rank, kept.learning_rate, kept.eval_queries) == (2, 0.01, 3)
    assert results_of(run_on(run, kept)) == results_of(whole)
    again = resolve_config(None, whole.config, [])
    assert results_of(run_new(tmp_path / "again", again)) == results_of(whole)


LEFT_OPEN = ("batch_size", "num_generations", "learning_rate", "eval_queries")
LEFT_OPEN += ("calibration_queries", "gradient_accumulation_steps", "lora.rank", "dtype")


@pytest.mark.parametrize(
    ("parameters", "text"),
    [(350_000, "0.35M"), (134.5e6, "134M"), (999.6e6, "1B"), (1.54e9, "1.5B"), (13e9, "13B")],
)
def test_sizes_are_said_as_people_say_them(parameters: float, text: str) -> None:
    assert shown_size(int(parameters)) == text


def test_the_documented_table_is_the_one_in_use() -> None:
    page = (DOCS / "models.md").read_text()
    table = page.partition("| parameters below |")[2].partition("\n\n")[0]
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table.split("\n")
        if "x" in line
    ]
    shown = {row[0]: row[1:] for row in rows[1:]}
    for name, size in {"5M": 1, "300M": 5e6, "1B": 3e8, "4B": 1e9, "larger": 4e9}.items():
        row = defaults_for(int(size))
        batch = f"{row.batch_size} x {row.num_generations}"
        figures = (row.rank, row.learning_rate, row.full_rate, batch, row.portions, row.dtype)
        wanted = (*figures, row.eval_queries, row.calibration_queries)
        assert shown[name] == [str(each) for each in wanted], name
        if name != "larger":
            unit = {"M": 1e6, "B": 1e9}[name[-1]]
            assert row.below == float(name[:-1]) * unit
