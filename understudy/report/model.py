"""What `understudy env MODEL` says: what a model is, what a run chooses, what its steps take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from understudy.models.described import Description, describe
from understudy.models.memory import available
from understudy.offload.config import Config
from understudy.offload.phases import total_steps
from understudy.offload.settled import RULES, shown_value, value_of
from understudy.plain import to_plain
from understudy.settings import open_settings

if TYPE_CHECKING:
    from understudy.offload.method import Method
    from understudy.offload.trial import Estimate

_MANY_CUT_OFF = 0.25
_BUSY = 1.7  # times as long as the processor's time: something else had it


@dataclass(frozen=True, slots=True)
class ModelReport:
    """config: complete; chosen: the keys of it that were left open; estimate: None if not tried."""

    description: Description
    config: Config
    chosen: frozenset[str]
    estimate: Estimate | None
    memory: int | None  # what the machine has to give, in bytes

    @classmethod
    def of(cls, asked: Config, method: Method, seconds: float | None) -> ModelReport:
        """method: that of the complete settings, which it has; seconds: how
        long steps are tried, about; None: not at all, nor is a file unpacked."""
        taken: Config = method.config
        description = describe(taken.model, unpack=seconds is not None)
        memory, estimate = available(taken.device), None
        if seconds is not None:
            from understudy.offload.trial import try_steps

            estimate = try_steps(taken, method, seconds)
        return cls(description, taken, frozenset(open_settings(asked)), estimate, memory)

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting that a run may choose, with its value."""
        return {key: value_of(self.config, key) for key in RULES}

    def to_json(self) -> dict[str, Any]:
        found = {"model": to_plain(self.description), "settings": self.settings}
        found |= {"chosen": sorted(self.chosen), "memory_bytes": self.memory}
        return found | {"step": None if self.estimate is None else to_plain(self.estimate)}

    def lines(self) -> Iterator[str]:
        yield from _of_model(self.description)
        shown = ", ".join(f"{key}={shown_value(value)}" for key, value in self.settings.items())
        given = sorted(RULES.keys() - self.chosen)
        yield f"settings: {shown}" + (f" (given: {', '.join(given)})" if given else "")
        if self.estimate is None:
            yield "a step: not measured"
        else:
            yield from self._of_step(self.estimate)

    def _of_step(self, step: Estimate) -> Iterator[str]:
        config = self.config
        last = max(step.trials, key=lambda trial: (trial.longest, trial.prompts))
        exact = (last.prompts, last.longest) == (config.batch_size, config.max_completion_length)
        size = f"{config.batch_size} prompts x {config.num_generations} responses"
        seconds, between = step.draw_seconds + step.learn_seconds, ""
        if step.seconds_between is not None:
            least, most = (_time(each) for each in step.seconds_between)
            between = f"; by single trials {least} to {most}"
        yield (
            f"a step of {size} x {config.max_completion_length} tokens: {_time(seconds)} "
            f"({_time(step.draw_seconds)} to draw, {_time(step.learn_seconds)} to learn){between}"
        )
        there = "" if self.memory is None else f" of {_gigabytes(self.memory)} that are free"
        yield f"memory at its peak: {_gigabytes(step.peak_bytes)}{there}"
        whole = seconds * total_steps(config)
        exams = step.examined_questions * step.examine_seconds
        yield (
            f"a run of {total_steps(config)} steps: {_time(whole)} to train, {_time(exams)} to "
            f"examine {step.examined_questions} questions"
        )
        found = f"{last.prompts} prompts of {last.prompt_tokens:.0f} tokens x {last.longest} tokens"
        scaled = "the whole step" if exact else "scaled to the step"
        if last.longest < config.max_completion_length and last.cut_off:
            scaled += f", the {last.cut_off:.0%} that are cut off going on to the end"
        yield f"measured: recipe {config.recipe}, {found}; {scaled}"
        busy = step.trial_seconds > _BUSY * step.processor_seconds
        if busy and not config.device.startswith("cuda"):
            yield (
                f"warning: the machine was busy: the trials lasted {_time(step.trial_seconds)} and "
                f"had {_time(step.processor_seconds)} of a processor; a step is faster where "
                "nothing else runs"
            )
        if self.memory is not None and step.peak_bytes > self.memory:
            yield (
                "warning: that is more memory than there is; raise gradient_accumulation_steps, or "
                "lower batch_size, num_generations or max_completion_length"
            )
        if exact and last.cut_off > _MANY_CUT_OFF:
            yield (
                f"warning: {last.cut_off:.0%} of the responses are cut off; "
                "raise max_completion_length"
            )


def _of_model(model: Description) -> Iterator[str]:
    yield f"{model.model}: {model.architecture}, {model.parameters:,} parameters ({model.source})"
    heads = f"{_or_unknown(model.heads)} heads ({_or_unknown(model.kv_heads)} for keys and values)"
    yield f"layers: {_or_unknown(model.layers)} of width {_or_unknown(model.hidden_size)}, {heads}"
    tied = {True: "tied to the embedding", False: "of its own", None: "as its kind has it"}
    yield (
        f"vocabulary: {_or_unknown(model.vocabulary)}, head {tied[model.tied_head]}; context: "
        f"{_or_unknown(model.context)} tokens"
    )
    yield f"weights on disk: {_shares(model.stored)}"
    system = {True: "with a system message", False: "without a system message"}
    written = system.get(bool(model.system_message), "") if model.system_message is not None else ""
    yield f"chat template: {'yes' if model.chat_template else 'no'}{written and f', {written}'}"
    if model.backend is None:
        yield "runs on: known once the file is unpacked, which a run and a measurement do"
    elif model.why_not_builtin:
        yield f"runs on: {model.backend} (not the built-in decoder: {model.why_not_builtin})"
    else:
        yield f"runs on: {model.backend}"


def _shares(stored: Mapping[str, float]) -> str:
    if len(stored) == 1:
        return next(iter(stored))
    return ", ".join(f"{kind} {share:.1%}" for kind, share in stored.items()) or "unknown"


def _or_unknown(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
