"""A config for a model, a data set and a cloud: looked at, then written down with its reasons."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.init.asking import Seen, Wish
from understudy.init.cloud import DryCall, Endpoint, dry_call
from understudy.init.lengths import Lengths, lengths_of
from understudy.init.looking import Found
from understudy.init.remarks import Chosen, command_of, entries_of, head_of
from understudy.init.writing import as_settings, yaml_text
from understudy.models.precision import parameters_of
from understudy.offload.config import Config
from understudy.offload.estimate import CloudEstimate, cloud_estimate
from understudy.offload.settled import settled, shown_size
from understudy.plain import to_plain
from understudy.progress import task
from understudy.recipes import DEFAULT, check_config
from understudy.tasks.lengths import usual_length

_PASSES, _FEWEST_STEPS, _MOST_STEPS = 2, 20, 200
_BUDGET = 0.3


@dataclass(frozen=True, slots=True)
class Draft:
    """A config that is not written yet."""

    text: str
    found: Found
    lengths: Lengths
    estimate: CloudEstimate
    settings: dict[str, Any]
    call: DryCall | None
    next: str  # the command that takes it
    findings: list[str] = field(default_factory=list)  # for a person, a line each
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        columns = self.found.columns
        return {
            "rows": self.found.rows,
            "questions": self.found.questions,
            "prompt": columns and columns.prompt,
            "solution": columns and columns.solution,
            "checker": self.found.guess.kind,
            "split": self.found.counts,
            "tokens": to_plain(self.lengths),
            "settings": self.settings,
            "calls": to_plain(self.estimate),
            "dry_call": self.call and self.call.to_json(),
            "warnings": self.warnings,
            "next": self.next,
        }


def drafted(seen: Seen, to: Path, check: bool, say: Callable[[str], None]) -> Draft:
    """to: the file that it is for, from whose folder its paths start. check: whether the cloud is
    tried with a question; say: shows a line while it is looked."""
    wish, found, endpoint = seen.wish, seen.found, seen.endpoint
    with task("counting tokens"):
        lengths = lengths_of(wish.model, found.data)
    complete = _complete(wish, found, endpoint, lengths)
    estimate = cloud_estimate(complete)
    call = None
    if endpoint is not None and check:
        problem = found.data.questions["validation"][0]
        call = dry_call(complete.cloud, found.data, problem, say)
    chosen = Chosen(
        config=complete,
        found=found,
        lengths=lengths,
        endpoint=endpoint,
        parameters=parameters_of(wish.model),
        max_dollars=_cap(estimate),
        model=_beside(wish.model, to) if Path(wish.model).exists() else wish.model,
        path=_beside(str(wish.data), to),
        prices=_prices(endpoint, to),
    )
    entries = entries_of(chosen)
    return Draft(
        text=yaml_text(head_of(chosen, to), entries),
        found=found,
        lengths=lengths,
        estimate=estimate,
        settings=as_settings(entries),
        call=call,
        next=command_of(chosen, to),
        findings=_findings(chosen, estimate, call),
        warnings=_warnings(chosen, call),
    )


def _complete(wish: Wish, found: Found, endpoint: Endpoint | None, lengths: Lengths) -> Config:
    """The settings of a run, all of them, by the house's own rules."""
    given: dict[str, Any] = {
        "recipe": DEFAULT,
        "model": wish.model,
        "data": {found.name: found.config.model_dump(exclude_defaults=True)},
        "stream": [{"families": found.name, "steps": _FEWEST_STEPS}],
        "budget": _BUDGET,
    }
    if endpoint is not None:
        http = {"base_url": endpoint.base_url, "model": endpoint.model, "temperature": 0}
        http |= {"api_key_env": endpoint.key_env, "prices": endpoint.prices}
        http |= {"max_tokens": endpoint.max_tokens(found.guess.kind)}
        given["cloud"] = {"kind": "openai", "http": http}
    kind = found.guess.kind
    if kind not in ("label", "choice"):  # of which the labels themselves say it
        usual = usual_length([found.name], {found.name: found.config})
        given["max_completion_length"] = lengths.room(usual)
    first = settled(check_config(given))
    batch, train = first.batch_size, found.counts["train"]
    steps = min(max(math.ceil(_PASSES * train / batch), _FEWEST_STEPS), _MOST_STEPS)
    stream = [{"families": found.name, "steps": steps}]
    return settled(first.model_copy(update={"stream": stream}))


def _cap(estimate: CloudEstimate) -> float | None:
    """Dollars that no run of these settings passes, to the cent above; None: it costs nothing."""
    if not estimate.dollars_a_call:
        return None
    calls = estimate.training + estimate.examinations
    return math.ceil(calls * estimate.dollars_a_call * 100) / 100


def _beside(path: str, to: Path) -> str:
    """A path as it is written in a file: from the file's folder, where that leads down."""
    whole, folder = os.path.abspath(Path(path).expanduser()), to.absolute().parent
    relative = os.path.relpath(whole, os.path.abspath(folder))
    return whole if relative.startswith(os.path.join("..", "..")) else relative


def _prices(endpoint: Endpoint | None, to: Path) -> Any:
    if endpoint is None:
        return None
    if isinstance(endpoint.prices, str):
        return _beside(endpoint.prices, to)
    return endpoint.prices.model_dump(exclude_none=True)


def _findings(chosen: Chosen, estimate: CloudEstimate, call: DryCall | None) -> list[str]:
    found, lengths = chosen.found, chosen.lengths
    lines = [f"{found.rows} rows, {found.questions} different questions"]
    if found.columns is not None:
        columns = found.columns
        lines.append(
            f"column {columns.prompt} asks, column {columns.solution} answers ({columns.why})"
        )
    lines.append(f"answers are checked as {found.guess.kind}: {found.guess.why}")
    counts = found.counts
    lines.append(
        f"{counts['train']} to train, {counts['validation']} to fit when it asks, "
        f"{counts['test']} to test (a share of them is known to within {chosen.reach:.2f})"
    )
    context = "" if lengths.context is None else f"; the model takes {lengths.context}"
    lines.append(
        f"{shown_size(chosen.parameters)} parameters; tokens: {lengths.question} in the usual "
        f"question, {lengths.longest_question} in the longest, {lengths.answer} in the longest "
        f"answer{context}"
    )
    if call is not None:
        lines.append(call.text())
    lines.append(estimate.text())
    return lines


def _warnings(chosen: Chosen, call: DryCall | None) -> list[str]:
    lengths, doubts = chosen.lengths, [chosen.found.guess.doubt]
    if lengths.unread:
        shown = " ".join(lengths.unread[:12]) + (" ..." if len(lengths.unread) > 12 else "")
        doubts.append(f"the model has no token for {shown}; it does not see them")
    needed = lengths.longest_question + chosen.config.max_completion_length
    if lengths.context is not None and needed > lengths.context:
        doubts.append(
            f"the longest question and its answer take {needed} tokens, more than the model's "
            f"{lengths.context}; questions without room are left out"
        )
    if chosen.endpoint is not None and chosen.endpoint.assumed:
        doubts.append(
            f"{chosen.endpoint.base_url} is taken to cost nothing; --prices says what it charges"
        )
    if call is not None and call.answer is None:
        doubts.append(
            "the cloud's answer has not the form that is wanted; data.NAME.instruction tells it"
        )
    return [doubt for doubt in doubts if doubt]
