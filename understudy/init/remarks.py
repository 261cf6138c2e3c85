"""Every setting of a drafted config, and why it has its value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.init.cloud import Endpoint
from understudy.init.lengths import Lengths
from understudy.init.looking import Found
from understudy.init.writing import Entry
from understudy.metrics import wilson_interval
from understudy.offload.config import Config
from understudy.offload.phases import total_steps
from understudy.offload.settled import shown_size

_NEAR_CALLS, _FAR_CALLS = 2, 8
_NEAR_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was found, and what a run would take. model, path, prices: as the file names them."""

    config: Config
    found: Found
    lengths: Lengths
    endpoint: Endpoint | None
    parameters: int
    max_dollars: float | None
    model: str
    path: str
    prices: Any

    @property
    def reach(self) -> float:
        """Within which a share of the test questions is known (95 %), if it is about one half."""
        tested = min(self.config.eval_queries, self.found.counts["test"])
        low, high = wilson_interval(tested / 2, tested)
        return (high - low) / 2


def command_of(chosen: Chosen, to: Path) -> str:
    return f"understudy train {chosen.config.recipe} --config {to} --out runs/{chosen.found.name}"


def head_of(chosen: Chosen, to: Path) -> list[str]:
    found = chosen.found
    return [
        f"{found.rows} rows of {Path(chosen.path).name}, {found.questions} different questions.",
        "",
        f"  {command_of(chosen, Path(to.name))}",
        "",
        "With --dry-run the command says what it will do and cost, and stops.",
        "Whatever is left out is chosen by the model's size, and printed (docs/models.md).",
    ]


def entries_of(chosen: Chosen) -> list[Entry]:
    return [
        Entry(
            "model",
            chosen.model,
            f"learns; its {shown_size(chosen.parameters)} parameters choose what is marked (size)",
        ),
        _stream(chosen),
        Entry("data", [_data(chosen)], "questions with known answers, by name"),
        _cloud(chosen),
        Entry(
            "budget",
            chosen.config.budget,
            "share of questions that may be asked, also when it serves",
        ),
        *_sizes(chosen),
        *_examinations(chosen),
        Entry("report_to", "none", "or tensorboard, wandb, trackio, mlflow (docs/trackers.md)"),
    ]


def _stream(chosen: Chosen) -> Entry:
    steps, batch = total_steps(chosen.config), chosen.config.batch_size
    train = chosen.found.counts["train"]
    return Entry(
        "stream",
        [{"families": chosen.found.name, "steps": steps}],
        f"each of the {train} training questions comes about {steps * batch / train:.1f} times; "
        "add a phase for each further kind of question",
    )


def _data(chosen: Chosen) -> Entry:
    found, config = chosen.found, chosen.found.config
    counts = found.counts
    split = ", ".join(f"{count} {split}" for split, count in counts.items())
    lines = [Entry("path", chosen.path, f"from here; {split}")]
    if found.columns is None:
        lines.append(Entry("form", config.form, found.guess.why))
    else:
        lines += [
            Entry("form", config.form, "the columns that are named here"),
            Entry("prompt", found.columns.prompt, f"asks (found {found.columns.why})"),
            Entry("solution", found.columns.solution, f"answers (found {found.columns.why})"),
            Entry("checker", config.checker, f"how an answer is checked: {found.guess.why}"),
        ]
    doubt = f"; {found.guess.doubt}" if found.guess.doubt else ""
    return Entry(found.name, lines, f"{found.questions} different questions{doubt}")


def _cloud(chosen: Chosen) -> Entry:
    if chosen.endpoint is None:
        return Entry(
            "cloud",
            [Entry("kind", "simulated", "right on most; yours is kind openai (docs/clouds.md)")],
            "stands in for a larger model; reads your answers",
        )
    return Entry("cloud", list(_endpoint(chosen, chosen.endpoint)), "the larger model that helps")


def _endpoint(chosen: Chosen, endpoint: Endpoint) -> Iterator[Entry]:
    yield Entry("kind", "openai", "speaks OpenAI's chat completions")
    if chosen.max_dollars is not None:
        yield Entry(
            "max_dollars",
            chosen.max_dollars,
            "a hard cap of the run: what all its calls cost if every answer is longest",
        )
    http = [
        Entry("base_url", endpoint.base_url, "its address, up to /v1"),
        Entry("model", endpoint.model, "its name there"),
    ]
    if endpoint.key_env is not None:
        http.append(Entry("api_key_env", endpoint.key_env, "the variable that holds the key"))
    free = "taken for your own machine, which sends no bill; else write what you pay"
    http += [
        Entry(
            "prices",
            chosen.prices,
            free if endpoint.assumed else "dollars per million tokens, as you gave them",
        ),
        Entry(
            "max_tokens",
            endpoint.max_tokens(chosen.found.guess.kind),
            f"longest answer, enough for a {chosen.found.guess.kind}; you pay for no more",
        ),
        Entry("temperature", 0, "the same question gets the same answer"),
        Entry(
            "max_concurrency",
            _NEAR_CALLS if endpoint.is_near else _FAR_CALLS,
            "calls at once; as many as the server has slots",
        ),
    ]
    if endpoint.is_near:
        http.append(Entry("timeout_seconds", _NEAR_SECONDS, "a machine of your own may be slow"))
    yield Entry("http", http, "where it is")


def _sizes(chosen: Chosen) -> Iterator[Entry]:
    config, lengths = chosen.config, chosen.lengths
    yield Entry(
        "max_completion_length",
        config.max_completion_length,
        f"tokens: the longest answer has {lengths.answer}, asking for help {lengths.request}",
    )
    yield Entry("batch_size", config.batch_size, "questions in a step (size)")
    yield Entry(
        "num_generations", config.num_generations, "answers drawn to each, to compare them (size)"
    )
    yield Entry(
        "gradient_accumulation_steps",
        config.gradient_accumulation_steps,
        "portions of a step; more take less memory (size)",
    )
    yield Entry("learning_rate", config.learning_rate, "larger models take smaller steps (size)")
    adapters = "adapters of this rank learn, the weights stay (size)"
    yield Entry(
        "lora",
        [Entry("rank", config.lora.rank, adapters if config.lora.rank else "0: all weights learn")],
        "what is trained",
    )
    steps = config.warm_start.steps
    shown = "most steps in which it is shown the form of an answer; it stops where it has it"
    why = shown if steps else "0: a model without a chat template needs none"
    yield Entry("warm_start", [Entry("steps", steps, why)], "before the first phase")


def _examinations(chosen: Chosen) -> Iterator[Entry]:
    config, counts = chosen.config, chosen.found.counts
    tested = min(config.eval_queries, counts["test"])
    fitted = min(config.calibration_queries, counts["validation"])
    yield Entry(
        "eval_queries",
        tested,
        f"of {counts['test']} test questions; a share is known to within {chosen.reach:.2f}",
    )
    yield Entry("calibration_queries", fitted, f"of {counts['validation']} that fit when it asks")
