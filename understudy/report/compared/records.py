"""Several finished runs, read for their page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.metrics.measured import FloatArray
from understudy.report.parts.colours import colour_of
from understudy.report.parts.numbers import measured
from understudy.run import RunDirectory


@dataclass(frozen=True)
class ComparedRun:
    """record: a column of `understudy compare`; name: of it on the page."""

    name: str
    record: Mapping[str, Any]
    per_user: FloatArray
    settings: Mapping[str, Any]
    colour: str

    @property
    def quality(self) -> tuple[float, float, float]:
        """The mean, and the ends of its interval; NaN where it is not known."""
        keys = ("quality", "quality, low", "quality, high")
        mean, low, high = measured([self.record[key] for key in keys])
        return float(mean), float(low), float(high)


def read_runs(
    runs: Sequence[RunDirectory], records: Sequence[Mapping[str, Any]]
) -> list[ComparedRun]:
    """records: of each, as `report.comparison` has them."""
    names = _names(runs)
    return [
        ComparedRun(
            names[place],
            record,
            measured(run.read(run.summary)["per_user"]),
            run.settings(),
            colour_of(place),
        )
        for place, (run, record) in enumerate(zip(runs, records, strict=True))
    ]


def _names(runs: Sequence[RunDirectory]) -> list[str]:
    """Of their folders, where that tells them apart."""
    count = Counter(run.path.name for run in runs)
    return [run.path.name if count[run.path.name] == 1 else str(run.path) for run in runs]


def differing_settings(runs: Sequence[ComparedRun]) -> list[tuple[str, list[str]]]:
    """(key, a value per run) of settings that several runs have and not all of them alike."""
    flat = [dict(_flat(run.settings)) for run in runs]
    found = []
    for key in dict.fromkeys(key for each in flat for key in each):
        values = [each[key] for each in flat if key in each]
        if len(values) > 1 and len(set(values)) > 1:
            found.append((key, [each.get(key, "–") for each in flat]))
    return found


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value and key != "variants":
            yield from _flat(value, f"{prefix}{key}.")
        else:
            shown = ", ".join(value) if key == "variants" else str(value)
            yield f"{prefix}{key}", shown
