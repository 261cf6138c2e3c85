"""Kinds of questions: as the log names them, else by system message, else by their words."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from understudy.errors import ConfigError
from understudy.gateway.shadow.records import LoggedCall, text_in

ALL = "all questions"
OTHERS = "others"

_NAMES = ("task", "kind", "feature", "route", "use_case", "intent", "category", "tag", "app")
_MOST = 12  # kinds; the smallest are put together
_MOST_CLUSTERS, _FEWEST_OF_CLUSTER = 8, 25
_MOST_CLUSTERED = 5_000  # questions by which clusters are found
_LONGEST = 2_000  # characters of a question that are looked at
_COLUMNS = 512  # into which words are hashed
_WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Kinds:
    names: list[str]  # of each call
    words: str  # how they were found


def kinds_of(calls: Sequence[LoggedCall], by: str = "") -> Kinds:
    """by: metadata.NAME, model, route, system, words or none; '': the first that tells apart."""
    if by:
        return _kinds_by(calls, by)
    for name in _NAMES:
        values = [call.metadata.get(name, "") for call in calls]
        if _tells(values):
            return Kinds(_largest(values), f"by metadata.{name} of the log")
    routes = [call.route for call in calls]
    if _tells(routes):
        return Kinds(_largest(routes), "by the log's task or model group")
    systems = [_system(call) for call in calls]
    if _tells(systems) and len(set(systems)) <= _MOST:
        return Kinds(_largest([_short(text) for text in systems]), "by system message")
    return _kinds_by(calls, "words")


def _kinds_by(calls: Sequence[LoggedCall], by: str) -> Kinds:
    if by == "none":
        return Kinds([ALL] * len(calls), "all together")
    if by == "words":
        return Kinds(_clusters([call.question for call in calls]), "found by their words")
    if by == "system":
        return Kinds(_largest([_short(_system(call)) for call in calls]), "by system message")
    if by in ("model", "route"):
        return Kinds(_largest([getattr(call, by) for call in calls]), f"by {by}")
    name = by.removeprefix("metadata.")
    values = [call.metadata.get(name, "") for call in calls]
    if not any(values):
        known = sorted({each for call in calls for each in call.metadata})
        raise ConfigError(
            f"--by {by}: no call has it; use model, route, system, words, none, or metadata.NAME"
            + (f" (there are {', '.join(known[:20])})" if known else "")
        )
    return Kinds(_largest(values), f"by metadata.{name} of the log")


def _tells(values: Sequence[str]) -> bool:
    """Most calls have a value, and it is one of several that come back."""
    known = [value for value in values if value]
    different = len(set(known))
    return len(known) >= 0.8 * len(values) and 2 <= different <= max(2, len(values) // 5)


def _largest(values: Sequence[str]) -> list[str]:
    counted = Counter(value or "(none)" for value in values)
    kept = {name for name, _ in counted.most_common(_MOST - (len(counted) > _MOST))}
    return [value if value in kept else OTHERS for value in (each or "(none)" for each in values)]


def _system(call: LoggedCall) -> str:
    first = call.messages[0]
    return text_in(first.get("content")) if first["role"] in ("system", "developer") else ""


def _short(text: str, most: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _words(text: str) -> list[str]:
    """Numbers are all alike."""
    found = _WORD.findall(text[:_LONGEST].lower())
    return ["#" if word.isdigit() else word for word in found]


def _clusters(texts: Sequence[str]) -> list[str]:
    """k-means on the directions of hashed TF-IDF vectors; named by what sets each apart."""
    import numpy as np

    distinct = list(dict.fromkeys(texts))
    number = min(_MOST_CLUSTERS, len(distinct) // _FEWEST_OF_CLUSTER)
    if number < 2:
        return [ALL] * len(texts)
    counts = [Counter(_words(text)) for text in distinct]
    spread = Counter(word for each in counts for word in each)
    rarity = {word: math.log((1 + len(distinct)) / (1 + n)) + 1 for word, n in spread.items()}
    column = {word: place % _COLUMNS for place, (word, _) in enumerate(spread.most_common())}
    vectors = np.zeros((len(distinct), _COLUMNS), dtype=np.float32)
    for row, each in enumerate(counts):
        for word, times in each.items():
            vectors[row, column[word]] += (1 + math.log(times)) * rarity[word]
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    drawn = np.random.default_rng(0)
    sample = vectors[drawn.permutation(len(vectors))[:_MOST_CLUSTERED]]
    centres = sample[:1]
    while len(centres) < number:  # next the one that is far from all others, by chance
        far = np.maximum(1 - (sample @ centres.T).max(axis=1), 0) ** 2
        if far.sum() <= 1e-6:
            break
        centres = np.vstack([centres, sample[drawn.choice(len(sample), p=far / far.sum())]])
    for _ in range(25):
        nearest = (sample @ centres.T).argmax(axis=1)
        sums = np.stack([sample[nearest == own].sum(axis=0) for own in range(len(centres))])
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-9), centres)
    belongs = (vectors @ centres.T).argmax(axis=1).tolist()
    names = _names_of(counts, belongs)
    place = {text: names[own] for text, own in zip(distinct, belongs, strict=True)}
    return _largest([place[text] for text in texts])


def _names_of(counts: Sequence[Counter[str]], belongs: Sequence[int]) -> dict[int, str]:
    """By the words that are commonest in a cluster, against all others."""
    within: dict[int, Counter[str]] = {}
    sizes = Counter(belongs)
    for each, own in zip(counts, belongs, strict=True):
        within.setdefault(own, Counter()).update(each.keys())
    everywhere = sum(within.values(), Counter())
    names: dict[int, str] = {}
    for own, words in within.items():
        outside = max(len(counts) - sizes[own], 1)

        def lead(word: str, own: int = own, outside: int = outside) -> float:
            inside = within[own][word] / sizes[own]
            return inside - (everywhere[word] - within[own][word]) / outside

        leading = sorted(words, key=lambda word: (-lead(word), word))
        telling = [word for word in leading if lead(word) > 0.1]
        best = [word for word in telling if len(word) > 2][:3] or telling[:3] or leading[:1]
        name = " ".join(best)
        names[own] = name if name not in names.values() else f"{name} ({own + 1})"
    return names
