"""What of a run's data sets it takes to ask: kept beside the model, so that no data are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from understudy.plain import from_plain, to_plain
from understudy.tasks.catalogue import FAMILIES
from understudy.tasks.checker import Checker
from understudy.tasks.data import DataSet
from understudy.tasks.judge import Judge
from understudy.tasks.key import KeyOfDrawn
from understudy.tasks.work import Tasks
from understudy.types import Turn


@dataclass(frozen=True, slots=True)
class AskedDataSet:
    """How a data set's questions are put, and how an answer is read off a reply."""

    name: str
    checker: Checker
    instruction: str
    stop: tuple[str, ...]
    examples: tuple[Turn, ...]


def asked_record(tasks: Tasks) -> list[dict[str, object]]:
    """As JSON."""
    sets = (each for each in tasks.families.values() if isinstance(each, DataSet))
    kept = (
        AskedDataSet(each.name, each.checker, each.instruction, each.stop, each.examples)
        for each in sets
    )
    return [to_plain(each) for each in kept]


def asked_tasks(record: object, file: object, allow_unsafe_code: bool, key: KeyOfDrawn) -> Tasks:
    """Tasks that ask and read answers; their data sets hold no questions."""
    kept = from_plain(list[AskedDataSet], record, file)
    sets: Mapping[str, DataSet] = {
        each.name: DataSet(
            each.name,
            each.checker,
            {"train": (), "validation": (), "test": ()},
            each.instruction,
            each.stop,
            each.examples,
        )
        for each in kept
    }
    return Tasks({**FAMILIES, **sets}, Judge(allow_unsafe_code=allow_unsafe_code), key)
