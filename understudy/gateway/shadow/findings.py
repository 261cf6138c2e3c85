"""What a log comes to: the money, what is wrong, by kind, and the threshold to choose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from understudy.gateway.shadow.choice import (
    Chosen,
    Correct,
    Goal,
    Point,
    asks,
    choose,
    cross_fitted,
    curve,
    thinned,
)
from understudy.gateway.shadow.correction import (
    Estimate,
    JudgeError,
    effective_size,
    judged,
    observed,
    ratio_reach,
)
from understudy.gateway.shadow.records import Row, Signal

_EXAMPLES, _PER_KIND = 12, 3
FEW = 30  # questions of a kind that say little


@dataclass(frozen=True, slots=True)
class KindFinding:
    """One kind of question under the threshold."""

    name: str
    calls: int  # in the log
    answered: int  # of these, those that are held against the local model
    paid: float
    would_pay: float
    asked: float  # share
    wrong: Estimate
    alone_wrong: Estimate  # if the local model answered all that it can
    example: str  # a question of it


@dataclass(frozen=True, slots=True)
class Example:
    """A question that the local model gets wrong."""

    kind: str
    question: str
    cloud: str
    local: str
    asked: bool  # under the threshold the cloud would have answered
    score: float
    place: str  # in the log


@dataclass(frozen=True, slots=True)
class Findings:
    calls: int  # in the log, usable
    answered: int  # of these, those whose answers are compared, and those that no local model may
    different: int  # questions among them
    unable: Mapping[str, int]  # why a question is the cloud's in any case
    paid: float
    would_pay: float
    would_pay_reach: float  # half of its interval
    asked: float  # share of all questions
    wrong: Estimate
    cloud_wrong: Estimate | None  # None: its answers are taken for right
    alone_wrong: Estimate
    judge: JudgeError | None  # who said what is wrong, if it was one
    signal: Signal
    threshold: float
    dial: float
    meets: bool  # the threshold keeps to the goal, on the questions that it was chosen on
    kinds: Sequence[KindFinding]
    curve: Sequence[Point]  # dollars are those of the whole log
    examples: Sequence[Example]

    @property
    def saved(self) -> float:
        """Share of what was paid."""
        return 1 - self.would_pay / self.paid if self.paid else 0.0


def findings(
    rows: Sequence[Row],
    signals: Sequence[Signal],
    goal: Goal,
    all_paid: Mapping[str, tuple[int, float]],
    error: JudgeError | None = None,
    checks_cloud: bool = False,
) -> Findings:
    """all_paid: calls and dollars of the whole log by kind, also of those that were not answered
    locally for want of time. error: of the judge whose verdicts the rows have."""
    correct: Correct | None = None if error is None else error.corrected
    asked = cross_fitted(rows, signals, goal, correct)
    chosen = choose(rows, signals, goal, correct)
    total = sum(dollars for _, dollars in all_paid.values())
    ratio, reach = _part_paid(rows, asked)
    scale = total / max(sum(row.dollars for row in rows), 1e-300)
    return Findings(
        calls=sum(calls for calls, _ in all_paid.values()),
        answered=len(rows),
        different=len({row.call.digest for row in rows}),
        unable=dict(Counter(row.local.unable for row in rows if row.local.unable)),
        paid=total,
        would_pay=ratio * total,
        would_pay_reach=reach * total,
        asked=sum(asked) / len(rows),
        wrong=wrong_share(rows, asked, error),
        cloud_wrong=wrong_share(rows, [True] * len(rows), None) if checks_cloud else None,
        alone_wrong=wrong_share(rows, [bool(row.local.unable) for row in rows], error),
        judge=error,
        signal=chosen.signal,
        threshold=chosen.point.threshold,
        dial=chosen.point.dial,
        meets=chosen.meets,
        kinds=_kinds(rows, asked, all_paid, error),
        curve=[_scaled(each, scale) for each in thinned(curve(rows, chosen.signal, correct))],
        examples=_examples(rows, chosen),
    )


def wrong_share(rows: Sequence[Row], asked: Sequence[bool], error: JudgeError | None) -> Estimate:
    """Questions that come again count as often as they come, and tell only once."""
    if error is None:
        size = effective_size(list(Counter(row.call.digest for row in rows).values()))
        wrong = sum(
            row.cloud_wrong if away else row.local_wrong
            for row, away in zip(rows, asked, strict=True)
        )
        return observed(wrong / len(rows) * size, size) if rows else observed(0, 0)
    kept = [row for row, away in zip(rows, asked, strict=True) if not away]
    if not kept:
        return Estimate(0.0, 0.0, 0.0)
    size = effective_size(list(Counter(row.call.digest for row in kept).values()))
    share = sum(row.local_wrong for row in kept) / len(kept)
    return judged(share * size, size, error).times(len(kept) / len(rows))


def _part_paid(rows: Sequence[Row], asked: Sequence[bool]) -> tuple[float, float]:
    """The part of the dollars that would still be paid, and half of its interval."""
    parts: dict[str, float] = {}
    wholes: dict[str, float] = {}
    for row, away in zip(rows, asked, strict=True):
        digest = row.call.digest
        wholes[digest] = wholes.get(digest, 0.0) + row.dollars
        parts[digest] = parts.get(digest, 0.0) + row.dollars * away
    whole = sum(wholes.values())
    if not whole:
        return 0.0, 0.0
    found = [parts[digest] for digest in wholes]
    return sum(found) / whole, ratio_reach(found, list(wholes.values()))


def _kinds(
    rows: Sequence[Row],
    asked: Sequence[bool],
    all_paid: Mapping[str, tuple[int, float]],
    error: JudgeError | None,
) -> list[KindFinding]:
    """The dearest first."""
    found = []
    for name, (calls, dollars) in sorted(all_paid.items(), key=lambda item: -item[1][1]):
        pairs = [pair for pair in zip(rows, asked, strict=True) if pair[0].kind == name]
        own, away = [row for row, _ in pairs], [its for _, its in pairs]
        ratio, _ = _part_paid(own, away)
        found.append(
            KindFinding(
                name=name,
                calls=calls,
                answered=len(own),
                paid=dollars,
                would_pay=ratio * dollars if own else dollars,
                asked=sum(away) / len(away) if away else 1.0,
                wrong=wrong_share(own, away, error),
                alone_wrong=wrong_share(own, [bool(row.local.unable) for row in own], error),
                example=_short(own[0].call.question) if own else "",
            )
        )
    return found


def _examples(rows: Sequence[Row], chosen: Chosen) -> list[Example]:
    """First those that nobody would have noticed: kept, and the surest."""
    wrong = {
        row.call.digest: row
        for row in reversed(rows)
        if row.local_wrong and not row.cloud_wrong and not row.local.unable
    }
    order = sorted(
        wrong.values(), key=lambda row: (asks(row, chosen), row.local.score(chosen.signal))
    )
    of_kind: Counter[tuple[str, bool]] = Counter()
    found: list[Example] = []
    for row in order:
        away = asks(row, chosen)
        of_kind[row.kind, away] += 1
        if of_kind[row.kind, away] <= _PER_KIND and len(found) < _EXAMPLES:
            score = row.local.score(chosen.signal)
            texts = (row.call.question, row.call.answer, row.local.text)
            found.append(Example(row.kind, *texts, away, score, row.call.place))
    return found


def _short(text: str, most: int = 48) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _scaled(point: Point, scale: float) -> Point:
    return Point(point.threshold, point.dial, point.asked, point.dollars * scale, point.wrong)
