"""A log held against a local model, from its rows to the findings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from understudy.errors import ConfigError
from understudy.files import write_text
from understudy.gateway.opening import engine_of, place_of
from understudy.gateway.shadow.asking import Asking, kept_answers
from understudy.gateway.shadow.choice import Goal
from understudy.gateway.shadow.findings import Findings, findings
from understudy.gateway.shadow.kinds import kinds_of
from understudy.gateway.shadow.logs import Log
from understudy.gateway.shadow.money import Paid, load_table, paid
from understudy.gateway.shadow.records import LeftOut, LocalAnswer, LoggedCall, Row, Signal
from understudy.gateway.shadow.settings import ShadowSettings
from understudy.gateway.shadow.verdicts import ByAgreement, Verdicts, checker_named
from understudy.gateway.shadow.words import Source
from understudy.progress import task
from understudy.waiting import wait_for

_FEWEST = 10  # rows of which something can be said
ANSWERS, FINDINGS, PAGE = "answers.jsonl", "findings.json", "report.html"


@dataclass(frozen=True, slots=True)
class Study:
    found: Findings
    source: Source

    def to_json(self) -> dict[str, Any]:
        names = ("logs", "rows", "left_out", "kinds", "right", "money", "version", "cautions")
        source = {name: getattr(self.source, name) for name in names}
        return {**asdict(self.found), "saved": self.found.saved, "source": source}


def answer_log(log: Log, settings: ShadowSettings, out: Path | None) -> dict[str, LocalAnswer]:
    """What the local model says to the log's questions, by their digests.

    Answers that `out` keeps of an earlier report by the same model are not asked again.
    """
    answers = _kept(out, settings)
    different = len({call.digest for call in log.calls})
    total = min(different, settings.questions or different)
    if len(answers.keys() & {call.digest for call in log.calls}) < total:
        try:
            with task("answering locally", total) as advance:
                wait_for(_ask(log.calls, settings, answers, advance))
        finally:  # of an interrupted one, too: the next goes on from there
            if out is not None and answers:
                keep_answers(out, settings, answers)
    return answers


async def _ask(
    calls: Sequence[LoggedCall],
    settings: ShadowSettings,
    answers: dict[str, LocalAnswer],
    told: Callable[[int], None],
) -> None:
    engine = await engine_of(settings.local)
    try:
        asking = Asking(engine, settings.local, settings.minutes * 60, told, answers)
        await asking.ask(calls, settings.questions)
    finally:
        await engine.close()


def study(
    log: Log,
    answers: Mapping[str, LocalAnswer],
    settings: ShadowSettings,
    logs: Sequence[str],
    verdicts: Verdicts,
    cautions: Sequence[str] = (),
) -> Study:
    """cautions: about how the log came about. Raises ConfigError where nothing can be said."""
    cost = paid(log.calls, load_table(settings.prices) if settings.prices else None)
    kinds = kinds_of(log.calls, settings.by)
    left_out = LeftOut()
    left_out.reasons.update(log.left_out.reasons)
    left_out.first.update(log.left_out.first)
    rows = _rows(log.calls, answers, cost, kinds.names, verdicts, left_out)
    able = [row for row in rows if not row.local.unable]
    if len(able) < _FEWEST:
        reasons = Counter(row.local.unable for row in rows if row.local.unable)
        why = "; ".join(f"{n} because {reason}" for reason, n in reasons.most_common(3))
        raise ConfigError(
            f"only {len(able)} calls could be compared, which is too few to say anything"
            + (f": {why}" if why else "")
            + ("; " + "; ".join(left_out.lines()) if left_out.total else "")
        )
    whole: dict[str, tuple[int, float]] = {}
    for kind, own in zip(kinds.names, cost.dollars, strict=True):
        calls, before = whole.get(kind, (0, 0.0))
        whole[kind] = calls + 1, before + own
    found = findings(
        rows,
        _signals(able),
        Goal(settings.max_wrong, settings.dial),
        whole,
        verdicts.error,
        verdicts.checks_cloud,
    )
    source = Source(
        settings=settings,
        logs=tuple(logs),
        rows=log.rows,
        left_out=tuple(left_out.lines()),
        kinds=kinds.words,
        right=verdicts.words,
        version=next(row.local.version for row in able),
        money=_money(cost, settings),
        cautions=(*cautions, *_cautions(found, verdicts, cost)),
    )
    return Study(found, source)


def _rows(
    calls: Sequence[LoggedCall],
    answers: Mapping[str, LocalAnswer],
    cost: Paid,
    kinds: Sequence[str],
    verdicts: Verdicts,
    left_out: LeftOut,
) -> list[Row]:
    """Each question with each answer of the cloud is judged once."""
    compared: dict[tuple[str, str], LoggedCall] = {}
    for call in calls:
        answer = answers.get(call.digest)
        if answer is not None and not answer.unable:
            compared.setdefault((call.digest, call.answer), call)
    texts = [answers[digest].text for digest, _ in compared]
    judged = verdicts.of(list(compared.values()), texts)
    known = dict(zip(compared, judged, strict=True))
    rows = []
    for call, kind, dollars in zip(calls, kinds, cost.dollars, strict=True):
        local = answers.get(call.digest)
        if local is None:
            continue
        if local.unable or call.not_text:
            unable = local.unable or f"the cloud's answer {call.not_text}"
            rows.append(Row(call, kind, dollars, LocalAnswer(unable=unable)))
            continue
        verdict = known[call.digest, call.answer]
        if verdict is None:
            left_out.add("could not be checked", call.place)
            continue
        rows.append(Row(call, kind, dollars, local, verdict.local_wrong, verdict.cloud_wrong))
    return rows


def verdicts_of(calls: Sequence[LoggedCall], settings: ShadowSettings) -> Verdicts:
    """Who says what is right. A judge's error is measured here."""
    if settings.checker:
        return checker_named(settings.checker)
    if settings.judge.base_url:
        from understudy.gateway.shadow.judge import ByJudge, JudgeEndpoint, read_labelled

        labelled = read_labelled(Path(settings.judge.labelled))
        judge = settings.judge
        return ByJudge(JudgeEndpoint.of(judge.base_url, judge.model, judge.api_key_env), labelled)
    return ByAgreement(settings.agree, [call for call in calls if not call.not_text])


def _signals(able: Sequence[Row]) -> list[Signal]:
    """Those that the engine gives, and that differ."""
    found: list[Signal] = []
    names: tuple[Signal, ...] = ("margin", "mean_entropy", "mean_logprob")
    for name in names:
        values = {getattr(row.local, name) for row in able}
        if None not in values and len(values) > 1:
            found.append(name)
    if not found:
        raise ConfigError(
            "this local engine gives no log-probabilities, so nothing tells when it needs help; "
            "use one that does (vLLM, llama.cpp), or a model in this process"
        )
    return found


def _money(cost: Paid, settings: ShadowSettings) -> str:
    if not settings.prices:
        return "what the cloud was paid is as the log says"
    reckoned = ""
    if cost.reckoned:
        reckoned = f"; of {cost.reckoned} calls without usage, with 4 characters to a token"
    return f"by your price table and the log's tokens{reckoned}"


def _cautions(found: Findings, verdicts: Verdicts, cost: Paid) -> list[str]:
    said = [verdicts.caution] if verdicts.caution else []
    if cost.reckoned > 0.1 * len(cost.dollars):
        said.append(
            f"{cost.reckoned} of {len(cost.dollars)} calls were logged without their tokens "
            "(streams without include_usage, perhaps); what they cost is an estimate."
        )
    if found.answered < 200:
        said.append(f"Only {found.answered} calls were compared; the intervals are wide.")
    return said


def write_report(done: Study, out: Path) -> Path:
    from understudy.gateway.shadow.page import page

    out.mkdir(parents=True, exist_ok=True)
    write_text(out / FINDINGS, json.dumps(done.to_json(), indent=2, ensure_ascii=False))
    write_text(out / PAGE, page(done.found, done.source))
    return out / PAGE


def _asked_by(settings: ShadowSettings) -> str:
    """Answers of another model, or asked in another way, are not those that are wanted."""
    own = settings.local.model_dump_json(exclude={"api_key_env", "max_running", "threads"})
    place = Path(place_of(settings.local))
    files = [place, *place.glob("*")] if place.exists() else []
    return f"{own} {max((each.stat().st_mtime_ns for each in files), default=0)}"


def _kept(out: Path | None, settings: ShadowSettings) -> dict[str, LocalAnswer]:
    path = None if out is None else out / ANSWERS
    if path is None or not path.is_file():
        return {}
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return {}
    if not rows or rows[0].get("asked_by") != _asked_by(settings):
        return {}
    return kept_answers(rows[1:])


def keep_answers(out: Path, settings: ShadowSettings, answers: Mapping[str, LocalAnswer]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"asked_by": _asked_by(settings)})]
    lines += [
        json.dumps({"digest": digest, "local": asdict(answer)}, ensure_ascii=False)
        for digest, answer in answers.items()
    ]
    write_text(out / ANSWERS, "\n".join(lines) + "\n")
