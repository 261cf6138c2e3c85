"""What was found, in sentences: for the terminal and the page."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from understudy.gateway.settings import DEMO
from understudy.gateway.shadow.correction import Estimate
from understudy.gateway.shadow.findings import FEW, Findings, KindFinding
from understudy.gateway.shadow.money import dollars
from understudy.gateway.shadow.settings import ShadowSettings
from understudy.report.parts.numbers import count
from understudy.report.parts.tables import Cell, Table
from understudy.routing.router import FARTHEST

_SIGNALS = {
    "margin": "its request for help",
    "mean_entropy": "its answer's mean entropy",
    "mean_logprob": "its answer's mean log-probability",
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where findings come from: what a report says beside them."""

    settings: ShadowSettings
    logs: tuple[str, ...]
    rows: int  # of the log
    left_out: tuple[str, ...]  # sentences
    kinds: str  # how they were found
    right: str  # what counts as right
    version: str  # of the local model
    money: str  # how what was paid is known
    cautions: tuple[str, ...] = field(default=())


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def interval(found: Estimate) -> str:
    return f"{100 * found.low:.1f} to {percent(found.high)}"


def headline(found: Findings) -> str:
    paid, reach = dollars(found.would_pay), dollars(found.would_pay_reach)
    return (
        f"You would have paid {paid} ± {reach} instead of {dollars(found.paid)} "
        f"({percent(found.saved, 0)} less), and been wrong on {percent(found.wrong.share)} "
        f"± {percent(found.wrong.reach)} of the questions ({interval(found.wrong)})."
    )


def rule(found: Findings) -> str:
    """Which questions the cloud would have answered."""
    share = f"{percent(found.asked, 0)} of all questions"
    unable = sum(found.unable.values())
    if found.threshold >= FARTHEST or found.dial <= 0:
        what = "The local model never asks" + (
            ", but for what no local model answers" if unable else ""
        )
    elif found.threshold <= -FARTHEST or found.dial >= 1:
        what = "The local model always asks"
    else:
        value = -found.threshold if found.signal == "mean_logprob" else found.threshold
        side = "below" if found.signal == "mean_logprob" else "above"
        what = (
            f"The local model asks where {_SIGNALS[found.signal]} is {side} {value:.3g} "
            f"(dial {found.dial:.2f})"
        )
    said = f"{what}: {share} go to the cloud."
    if found.cloud_wrong is not None:
        said += f" The cloud alone is wrong on {percent(found.cloud_wrong.share)}."
    return said


def goal(found: Findings, settings: ShadowSettings) -> str:
    if settings.dial is not None:
        return f"The dial was set to {settings.dial:g}."
    beyond = " beyond what the cloud gets wrong itself" if found.cloud_wrong is not None else ""
    most = percent(settings.max_wrong)
    if not found.meets:
        return (
            f"No threshold keeps to {most} wrong{beyond}: this is the least wrong one. This local "
            "model is not ready for these questions; train it on them, or keep the cloud."
        )
    base = 0.0 if found.cloud_wrong is None else found.cloud_wrong.share
    if found.wrong.high - base > settings.max_wrong:
        return (
            f"It is the cheapest threshold with at most {most} wrong{beyond}; that a new question "
            "is answered as well is not certain yet: the interval reaches beyond it. More rows "
            "narrow it, and a smaller --max-wrong leaves room."
        )
    return f"It is the cheapest threshold with at most {most} wrong{beyond}."


def assumptions(found: Findings, source: Source) -> list[str]:
    """What must hold for the figures to do so."""
    said = [
        f"Right and wrong: {source.right}.",
        f"Money: {source.money}. What the local machine itself costs is not counted.",
        "The threshold for each half of the questions was chosen on the other half, so these "
        "figures are not those of the questions that it was chosen on; the one that is recommended "
        "was chosen on all. Intervals are of 95 %.",
    ]
    if found.answered < found.calls:
        said.append(
            f"{count(found.answered)} of {count(found.calls)} calls, drawn by chance, were "
            "compared; the money is that of the whole log, by their proportion."
        )
    if found.different < found.answered:
        said.append(
            f"{count(found.different)} questions are different; repeats count in the money, and do "
            "not narrow an interval."
        )
    if found.unable:
        reasons = "; ".join(f"{n} because {why}" for why, n in found.unable.items())
        said.append(
            f"{count(sum(found.unable.values()))} calls stay with the cloud at every threshold: "
            f"{reasons}. Let such requests name model=cloud."
        )
    return said


def kind_table(found: Findings) -> Table:
    heads = (
        "kind of question",
        "calls",
        "paid",
        "would pay",
        "asked",
        "wrong",
        "local alone",
    )
    rows = [_kind_row(each) for each in found.kinds]
    total: list[str | Cell] = []
    if len(rows) > 1:
        total = [
            "all",
            count(found.calls),
            dollars(found.paid),
            dollars(found.would_pay),
            percent(found.asked, 0),
            Cell(percent(found.wrong.share), f"({interval(found.wrong)})"),
            percent(found.alone_wrong.share),
        ]
    return Table(heads, rows, total)


def _kind_row(kind: KindFinding) -> list[str | Cell]:
    few = kind.answered < FEW
    wrong = Cell(percent(kind.wrong.share), f"({interval(kind.wrong)})")
    note = f"as “{kind.example}”" if kind.example else ""
    if few:
        note = f"only {kind.answered} compared, too few to say much; {note}".removesuffix("; ")
    none = not kind.answered
    return [
        Cell(kind.name, note),
        count(kind.calls),
        dollars(kind.paid),
        "–" if none else dollars(kind.would_pay),
        "–" if none else percent(kind.asked, 0),
        "–" if none else wrong,
        "–" if none else percent(kind.alone_wrong.share),
    ]


def next_commands(found: Findings, source: Source) -> Iterator[tuple[str, str]]:
    """(what for, command)."""
    settings, local = source.settings, source.settings.local
    shown = "" if local.path == DEMO else f" --local {shlex.quote(local.path)}"
    if local.model:
        shown += f" --set local.model={shlex.quote(local.model)}"
    cloud = " --cloud URL --cloud-model MODEL --prices P/C"
    if found.meets and 0 < found.dial < 1:
        limit = -found.threshold if found.signal == "mean_logprob" else found.threshold
        chosen = shlex.quote(f"policy.cascade={{{found.signal}: {limit:.6g}}}")
        yield "with this threshold", f"understudy serve{shown}{cloud} --set {chosen}"
        yield (
            "or by the share that it asks, which follows the traffic",
            f"understudy serve{shown}{cloud} --set {chosen} --dial {found.dial:.2f}",
        )
    elif found.meets and found.dial <= 0:
        yield "everything that it can answer is local", f"understudy serve{shown}{cloud} --dial 0"
    yield (
        "another threshold, from the answers that are kept",
        repeated(source, max_wrong=settings.max_wrong / 2, dial=None),
    )
    if found.cloud_wrong is None and found.judge is None:
        yield (
            "answers to label, so that a judge can be measured",
            f"{repeated(source)} --sheet labels.jsonl",
        )


def repeated(source: Source, **changed: float | None) -> str:
    """The command that makes this report, or one with other settings."""
    usual = _flat(ShadowSettings().model_dump(mode="json"))
    given = _flat(source.settings.model_copy(update=changed).model_dump(mode="json"))
    words = ["understudy", "shadow", *source.logs]
    for name, value in given.items():
        if value != usual[name] and value is not None:
            option = _OPTIONS.get(name)
            words += [option, str(value)] if option else ["--set", f"{name}={value}"]
    return shlex.join(words)


_OPTIONS = {
    "local.path": "--local",
    "local.model": "--local-model",
    "prices": "--cloud-prices",
    "agree": "--agree",
    "checker": "--checker",
    "judge.base_url": "--judge",
    "judge.model": "--judge-model",
    "judge.api_key_env": "--judge-key-env",
    "judge.labelled": "--labelled",
    "max_wrong": "--max-wrong",
    "dial": "--dial",
    "by": "--by",
    "minutes": "--minutes",
    "questions": "--questions",
}


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found
