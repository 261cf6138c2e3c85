"""The settings of a run with everything chosen that they leave open: enough to repeat it anywhere.

A setting is left open by null (`settings.Chosen`). The rule that chooses it stands in RULES; it may
read any other setting, chosen or not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from understudy.models import hub
from understudy.models.chat import has_template
from understudy.models.defaults import Defaults, defaults_for
from understudy.models.gguf import header_of, is_unpacked, names_gguf
from understudy.models.precision import (
    SMALL,
    base_folder,
    chosen_bf16,
    chosen_threads,
    parameters_of,
)
from understudy.offload.config import Config
from understudy.offload.device import check_device
from understudy.offload.phases import phases_of
from understudy.settings import differences, open_settings, with_values
from understudy.tasks import open_tasks
from understudy.tasks.data import DataConfig
from understudy.tasks.lengths import kind_of, usual_length

_WARM_START = 24  # steps; most models need fewer, and stop where they have the form


def settled(config: Config) -> Config:
    """The settings with the stream written out, and with what they leave open chosen."""
    stream = [phase.model_dump(mode="json", exclude_none=True) for phase in phases_of(config)]
    return with_choices(config.model_copy(update={"stream": stream}))


def with_choices(config: Config) -> Config:
    """The settings with what they leave open chosen."""
    left_open = list(open_settings(config))
    if not left_open:
        return config
    check_device(config.device)
    choices = Choices(config)
    return with_values(config, {key: choices[key] for key in left_open})


def choices_text(asked: Config, taken: Config) -> str | None:
    """A line with what was chosen for a run; None where nothing was left open."""
    left_open = set(open_settings(asked))
    chosen = [(key, value) for key, _, value in differences(asked, taken) if key in left_open]
    if not chosen:
        return None
    size = shown_size(parameters_of(taken.model))
    return f"chosen for {size} parameters: " + ", ".join(f"{k}={shown_value(v)}" for k, v in chosen)


def shown_size(parameters: int) -> str:
    """How many parameters, as people say it: 0.35M, 135M, 1.5B."""
    unit, size = ("B", parameters / 1e9) if parameters >= 999.5e6 else ("M", parameters / 1e6)
    return f"{size:.0f}{unit}" if size >= 10 else f"{size:.2g}{unit}"


def shown_value(value: Any) -> str:
    """As a line of settings writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def value_of(config: Config, key: str) -> Any:
    """A setting by its key, whose parts stand between dots."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


class Choices:
    """Every setting of a run: as it is given, or as it is chosen where it is left open."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._chosen: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        value = value_of(self.config, key)
        if value is None:
            if key not in self._chosen:
                self._chosen[key] = RULES[key](self)
            value = self._chosen[key]
        return value

    @cached_property
    def parameters(self) -> int:
        return parameters_of(self.config.model)

    @property
    def defaults(self) -> Defaults:
        return defaults_for(self.parameters)

    @cached_property
    def is_adapter(self) -> bool:
        """Whether the model is an adapter's folder: that adapter is trained on, at its own rank."""
        model = self.config.model
        return not names_gguf(model) and (hub.resolve(model) / hub.ADAPTER).is_file()

    @property
    def has_adapter(self) -> bool:
        """Whether an adapter is trained: one of the model's folder, or a new one."""
        return self["lora.rank"] > 0 or self.is_adapter

    @cached_property
    def folder(self) -> Path:
        """With the tokenizer and the chat template; an adapter's are its base's."""
        return base_folder(self.config.model)

    @cached_property
    def chats(self) -> bool:
        """Whether the model has a chat template; a GGUF file is not unpacked to know."""
        model = self.config.model
        if names_gguf(model) and not is_unpacked(model):
            return header_of(model).template is not None
        return has_template(self.folder)


def _threads(run: Choices) -> int:
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes of one run on this machine
    return chosen_threads(run.parameters, here)


def _rank(run: Choices) -> int:
    return 0 if run.is_adapter else run.defaults.rank


def _learning_rate(run: Choices) -> float:
    return run.defaults.learning_rate if run.has_adapter else run.defaults.full_rate


def _dtype(run: Choices) -> str:
    """Weights that are trained are always kept in float32."""
    return run.defaults.dtype if run.has_adapter and run["bf16"] else "float32"


def _longest(run: Choices) -> int:
    if run.parameters < SMALL:
        return 24  # the tiny model's own format
    config = run.config
    names = {name for phase in phases_of(config) for name in phase.families}
    data = {name: config.data[name] for name in names if name in config.data}
    kinds = {kind_of(name, each) for name, each in data.items()}
    listed = len(data) == len(names) and kinds <= {"label", "choice"}
    if listed and not names_gguf(config.model):  # to unpack one takes long
        return _longest_listed(run, data)
    return usual_length(names, config.data)


def _longest_listed(run: Choices, data: Mapping[str, DataConfig]) -> int:
    """By the labels themselves, as the model's own tokenizer writes them."""
    from understudy.models.tokens import Tokens
    from understudy.offload.answer_length import needed_length

    tokens = Tokens(run.folder, run.config.request)
    with open_tasks(data) as tasks:
        needed = needed_length(tokens, tasks, phases_of(run.config))
    assert needed is not None
    return needed


def _warm_start(run: Choices) -> int:
    """A model that was taught to chat answers in sentences; the tiny one knows its form."""
    return _WARM_START if run.chats else 0


RULES: Mapping[str, Callable[[Choices], Any]] = {
    "threads": _threads,
    "bf16": lambda run: chosen_bf16(run.parameters, run.config.device),
    "dtype": _dtype,
    "lora.rank": _rank,
    "learning_rate": _learning_rate,
    "batch_size": lambda run: run.defaults.batch_size,
    "num_generations": lambda run: run.defaults.num_generations,
    "gradient_accumulation_steps": lambda run: run.defaults.portions,
    "max_completion_length": _longest,
    "warm_start.steps": _warm_start,
    "eval_queries": lambda run: run.defaults.eval_queries,
    "calibration_queries": lambda run: run.defaults.calibration_queries,
}
