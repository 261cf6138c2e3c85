"""Whether a local answer says the same as the cloud's, which is taken for right."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from statistics import median
from typing import Any, Literal, get_args

from understudy.errors import ConfigError
from understudy.tasks.answer import answer_of
from understudy.tasks.checker import Checker
from understudy.tasks.extract import number_in, plain
from understudy.tasks.numbers import exact_number
from understudy.types import Problem

Form = Literal["exact", "text", "label", "number", "choice", "mathematics", "marked", "json"]
FORMS: tuple[str, ...] = get_args(Form)

_WORDS = {
    "exact": "is the cloud's to the letter",
    "text": "is the cloud's text, but for case, spaces and a full stop",
    "label": "names the cloud's label",
    "number": "gives the cloud's number",
    "choice": "chooses the cloud's option",
    "mathematics": "gives the cloud's expression",
    "marked": "gives the cloud's answer after '#'",
    "json": "is the cloud's JSON value",
}
_FENCE = re.compile(r"^\s*```\w*\n(.*?)\n?```\s*$", re.S)
_MOST_LABELS, _LONGEST_LABEL = 60, 60
_ALMOST_ALL = 0.95
_LONG = 200  # characters of a usual answer that hardly agrees to the letter


class Agreement:
    """form: what of an answer is compared."""

    def __init__(self, form: str, cloud: Sequence[str]) -> None:
        if form not in FORMS:
            raise ConfigError(f"--agree {form}: use {', '.join(FORMS)}")
        self.form = form
        self.labels = (
            tuple(dict.fromkeys(text.strip() for text in cloud)) if form == "label" else ()
        )
        self.words = f"a local answer counts as right where it {_WORDS[form]}"
        usual = median(map(len, cloud)) if cloud else 0
        self.caution = ""
        if form in ("text", "exact") and usual > _LONG:
            self.caution = (
                f"the cloud's answers have {usual:.0f} characters at the median: two good ones "
                "hardly ever agree word by word, so this overstates what is wrong; use --checker "
                "or --judge"
            )

    def verdict(self, local: str, cloud: str) -> bool | None:
        """None: the cloud's answer has none of this form, so that nothing can be said."""
        if self.form == "exact":
            return local == cloud
        if self.form == "text":
            return _bare(local) == _bare(cloud)
        if self.form == "json":
            wanted = _value(cloud)
            return None if wanted is None else _value(local) == wanted
        if self.form == "marked":
            right = answer_of(cloud)
            return None if right is None else answer_of(local) == right
        checker = Checker(self.form, lenient=True, labels=self.labels)  # type: ignore[arg-type]
        right = checker.answer(_problem(""), cloud)
        if right is None:
            return None
        given = checker.answer(_problem(right), local)
        if given is None:
            return False
        verdict = checker.verdict(_problem(right), given)
        return _bare(given) == _bare(right) if verdict is None else verdict >= 1


def usual_form(cloud: Sequence[str]) -> Form:
    """What the cloud's answers are like: labels, numbers, JSON, or any text."""
    many = len(cloud)
    if _share(cloud, lambda text: isinstance(_value(text), dict | list)) >= _ALMOST_ALL:
        return "json"
    if _share(cloud, lambda text: bool(answer_of(text)) and "####" not in text) >= _ALMOST_ALL:
        return "marked"
    if _share(cloud, lambda text: exact_number(text, units=True) is not None) >= _ALMOST_ALL:
        return "number"
    if _share(cloud, lambda text: number_in(text, lenient=False) is not None) >= _ALMOST_ALL:
        return "number"
    labels = {plain(text) for text in cloud}
    short = _share(cloud, lambda text: len(text) <= _LONGEST_LABEL) >= _ALMOST_ALL
    if many >= 20 and short and len(labels) <= min(_MOST_LABELS, many // 5):
        return "label"
    return "text"


def _share(texts: Sequence[str], holds: Any) -> float:
    return sum(map(bool, map(holds, texts))) / len(texts) if texts else 0.0


def _bare(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split()).strip("\"'` ").rstrip(".!").strip()


def _value(text: str) -> Any:
    """A JSON value; None: it is none."""
    fenced = _FENCE.match(text)
    try:
        return json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return None


def _problem(solution: str) -> Problem:
    return Problem("", solution, "log", 1, "")
