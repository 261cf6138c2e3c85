"""Data sets as families: which rows are asked, in which split, and how answers are checked."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from understudy.errors import ConfigError
from understudy.settings import PATH, Section
from understudy.tasks.checker import Checker, Kind
from understudy.tasks.examples import chosen_examples, turns_of
from understudy.tasks.extract import plain
from understudy.tasks.family import Split
from understudy.tasks.forms import (
    FORMS,
    FormError,
    NoColumnError,
    NoTestsError,
    ParsedRow,
    check_row,
    read_columns,
)
from understudy.tasks.rows import WHOLE, Row, rows_of_function, rows_of_hub, rows_of_path
from understudy.types import Problem, Turn

FormName = Literal["gsm8k", "math", "mbpp", "humaneval", "taco", "choice", "label", "columns"]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")

# Sixteenths of the training rows, where a data set has no validation split of its own.
_VALIDATION_OF_TRAIN = 2
# Sixteenths of rows that are not divided at all: as the generated families are.
_TEST_OF_ALL, _VALIDATION_OF_ALL = 3, 3

# What a data set's name says of its form. The longest name that it holds counts.
_KNOWN: Mapping[str, FormName] = {
    "gsm8k": "gsm8k",
    "math": "math",
    "mbpp": "mbpp",
    "humaneval": "humaneval",
    "taco": "taco",
    "apps": "taco",
    "arc": "choice",
    "mmlu": "choice",
    "banking77": "label",
    "sms": "label",
}

# What to write for the data sets that shipped streams name.
EXAMPLES: Mapping[str, str] = {
    "gsm8k": "{hub: openai/gsm8k, subset: main}",
    "mbpp": "{hub: google-research-datasets/mbpp, subset: full}",
    "banking77": "{hub: PolyAI/banking77}",
}
_LINE = ("\n",)  # a label or a letter is one line
_SMS_COLUMNS = ("label", "sms")  # its one file names no columns


class DataConfig(Section):
    """One data set: where it is, and how its rows are read."""

    path: Annotated[str | None, PATH] = Field(
        None, description="a file or folder (jsonl, json, csv, tsv, parquet), or file.py:function"
    )
    hub: str | None = Field(None, description="or its name for datasets.load_dataset")
    subset: str | None = Field(None, description="the hub's configuration, such as main")
    revision: str | None = Field(None, description="the hub's commit or tag")
    form: FormName | None = Field(None, description="the form of its rows; guessed from the name")
    checker: Kind | None = Field(None, description="form columns: how an answer is checked")
    prompt: str | None = Field(None, description="form columns: the column that is asked")
    solution: str | None = Field(None, description="form columns: the column that answers")
    level: str | None = Field(None, description="form columns: the column of levels 1 to 5")
    header: list[str] = Field([], description="columns of a csv or tsv file that names none")
    train: str | None = Field(None, description="the split to train on; null: train")
    validation: str | None = Field(None, description="null: validation, or 1/8 of train")
    test: str | None = Field(None, description="the split to examine with; null: test")
    instruction: str | None = Field(None, description="the instruction to chat models; null: ours")
    examples: int | None = Field(
        None,
        ge=0,
        le=64,
        description="worked examples that the local model is shown before each question; null: "
        "none without a chat template, else one of each label where they are 12 at most, 4 where "
        "they are more, 2 for other answers; none for code, nor where numbers or mathematics come "
        "without their working",
    )
    stop: list[str] | None = Field(
        None, description="strings that end a local answer; null: a line break for label and choice"
    )
    lenient: bool = Field(False, description="numbers: the last counts where none is marked")
    partial: bool = Field(False, description="code: the share of tests passed is the score")

    @model_validator(mode="after")
    def _compatible(self) -> DataConfig:
        if (self.path is None) == (self.hub is None):
            given = "neither" if self.path is None else "both"
            raise ValueError(f"give path or hub; here {given} is given")
        of_hub = [name for name in ("subset", "revision") if getattr(self, name)]
        if of_hub and self.hub is None:
            raise ValueError(f"{of_hub[0]} is of a data set of the hub; leave it out with path")
        named = [name for name in ("checker", "prompt", "solution") if getattr(self, name)]
        if self.form == "columns" and len(named) < 3:
            raise ValueError("form columns needs checker, prompt and solution")
        if self.form not in ("columns", None) and named:
            raise ValueError(f"{named[0]} is for form columns; form {self.form} has its own")
        if self.stop and "" in self.stop:
            raise ValueError("stop: '' would end every answer; leave it out")
        return self


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set as a family: its questions by split."""

    name: str
    checker: Checker
    questions: Mapping[Split, tuple[Problem, ...]]
    instruction: str = ""
    stop: tuple[str, ...] = ()  # strings that end a local answer
    examples: tuple[Turn, ...] = ()  # that the local model is shown before each question

    def question(self, prompt: str) -> Problem:
        """A question from outside the data, asked as the data's own; its solution is not known."""
        asked = Problem(prompt, "", self.name, 1, "", self.instruction)
        return replace(asked, stop=self.stop, examples=self.examples)

    def with_examples(self, count: int) -> DataSet:
        """The same with some training questions shown as examples, which are not asked any more."""
        shown = chosen_examples(self.questions["train"], count)
        turns, prompts = turns_of(shown), {each.prompt for each in shown}
        questions: dict[Split, tuple[Problem, ...]] = {
            split: tuple(
                replace(each, examples=turns) for each in part if each.prompt not in prompts
            )
            for split, part in self.questions.items()
        }
        return replace(self, questions=questions, examples=turns)

    def pool(self, split: Split, levels: tuple[int, int]) -> list[Problem]:
        """The questions of a split within levels, or one line that says why there is none."""
        low, high = levels
        found = [problem for problem in self.questions[split] if low <= problem.level <= high]
        if not found:
            has = ", ".join(f"{len(self.questions[each])} {each}" for each in SPLITS)
            if not self.questions[split]:
                raise ConfigError(
                    f"data.{self.name}: no question is left for split {split} (it has {has}); "
                    f"give it more rows, or name a split of its own by {split}"
                )
            raise ConfigError(
                f"{self.name}: no question of split {split} has a level from {low} to {high}; "
                f"it has {has}"
            )
        return found


def load_data(name: str, config: DataConfig) -> DataSet:
    """Read a data set whole. Equal prompts are one question, which stands in one split only."""
    form = config.form or guess_form(name, config)
    if config.hub is not None:
        rows = rows_of_hub(config.hub, config.subset, config.revision)
    elif ":" in (path := config.path or "") and not Path(path).expanduser().exists():
        rows = rows_of_function(f"data.{name}.path", path)
    else:
        rows = rows_of_path(Path(path).expanduser(), header_of(name, config))
    parsed = _divided(name, config, _read(name, form, config, rows))
    kind = config.checker if form == "columns" else FORMS[form].kind
    assert kind is not None
    checker = Checker(kind, config.lenient, config.partial)
    solutions = {p.solution for part in parsed.values() for p in part}
    if kind == "label":
        _check_labels(name, solutions)
        checker = checker.with_labels(tuple(sorted(solutions)))
    instruction = checker.instruction if config.instruction is None else config.instruction
    stop = _LINE if config.stop is None and kind in ("label", "choice") else config.stop or ()
    return DataSet(
        name,
        checker,
        {
            split: tuple(_problem(name, instruction, tuple(stop), p) for p in part)
            for split, part in parsed.items()
        },
        instruction,
        tuple(stop),
    )


def guess_form(name: str, config: DataConfig) -> FormName:
    if config.checker is not None and config.prompt and config.solution:
        return "columns"
    for text in (name, config.hub or "", Path(config.path or "").name):
        plain = text.lower().replace("-", "").replace("_", "")
        for known in sorted(_KNOWN, key=len, reverse=True):
            if known in plain:
                return _KNOWN[known]
    raise ConfigError(
        f"data.{name}: its name says nothing of its form; set form to one of "
        f"{', '.join(FORMS)}, or to columns with checker, prompt and solution"
    )


def header_of(name: str, config: DataConfig) -> tuple[str, ...]:
    if config.header:
        return tuple(config.header)
    folder = Path(config.path or "")
    bare = folder.name == "SMSSpamCollection" or (folder / "SMSSpamCollection").is_file()
    return _SMS_COLUMNS if bare else ()


def _read(
    name: str, form: FormName, config: DataConfig, rows: Mapping[str, list[Row]]
) -> dict[str, list[ParsedRow]]:
    if form == "columns":
        assert config.checker is not None
        assert config.prompt is not None
        assert config.solution is not None
        kind, read = (
            config.checker,
            read_columns(config.checker, config.prompt, config.solution, config.level),
        )
    else:
        kind, read = FORMS[form].kind, FORMS[form].read
    parsed: dict[str, list[ParsedRow]] = {}
    untested = 0
    for split, part in rows.items():
        parsed[split] = []
        for number, row in enumerate(part, start=1):
            try:
                parsed[split].append(read(row))
                check_row(parsed[split][-1], kind)
            except NoTestsError:
                untested += 1
            except (FormError, ValueError, KeyError, TypeError, IndexError) as error:
                of = "" if split == WHOLE else f" of {split}"
                hint = _header_hint(config, row) if isinstance(error, NoColumnError) else ""
                raise ConfigError(
                    f"data.{name}: row {number}{of} is not of form {form}: {error}{hint}"
                ) from None
    if untested:
        if not any(parsed.values()):
            raise ConfigError(f"data.{name}: none of its {untested} rows holds a test")
        warnings.warn(f"data.{name}: {untested} rows hold no test and are left out", stacklevel=2)
    return parsed


def _header_hint(config: DataConfig, row: Row) -> str:
    """Of a table that names none of the columns: its first row may be one of data."""
    is_table = (config.path or "").removesuffix(".gz").endswith((".csv", ".tsv"))
    if (
        not is_table
        or config.header
        or not config.prompt
        or {config.prompt, config.solution} & {*row}
    ):
        return ""
    return "; if its first row is one of data, name the columns by header: [question, answer]"


def _check_labels(name: str, labels: Iterable[str]) -> None:
    """Answers are compared by letters and digits alone: that must tell the labels apart."""
    known: dict[str, str] = {}
    for label in sorted(labels):
        if not plain(label):
            raise ConfigError(f"data.{name}: label {label!r} has no letter or digit; rename it")
        if plain(label) in known:
            raise ConfigError(
                f"data.{name}: labels {known[plain(label)]!r} and {label!r} differ in signs only; "
                "rename one"
            )
        known[plain(label)] = label


def _divided(
    name: str, config: DataConfig, found: Mapping[str, list[ParsedRow]]
) -> dict[Split, list[ParsedRow]]:
    """Train, validation and test, disjoint by prompt whatever the seed.

    A split that the data has stays as it is, less the prompts that an examination holds too.
    Without one, validation is cut from train by a hash of the prompt; without either, test is too.
    """
    named: dict[Split, str] = {split: getattr(config, split) or split for split in SPLITS}
    for split in SPLITS:
        if getattr(config, split) and named[split] not in found:
            parts = ", ".join(each for each in found if each != WHOLE)
            has = f"its splits are {parts}" if parts else "its rows are not divided into splits"
            raise ConfigError(f"data.{name}: {split}={named[split]}, but {has}")
    divided: dict[Split, list[ParsedRow]] = {
        split: list(found.get(named[split], ())) for split in SPLITS
    }
    if named["validation"] == named["test"]:
        divided["validation"] = []
    train = divided["train"] or ([] if divided["test"] else found.get(WHOLE, []))
    if not divided["validation"]:
        held = _VALIDATION_OF_TRAIN if divided["test"] else _VALIDATION_OF_ALL
        first = 0 if divided["test"] else _TEST_OF_ALL
        divided["train"] = [p for p in train if sixteenth(p.prompt) >= first + held]
        divided["validation"] = [p for p in train if first <= sixteenth(p.prompt) < first + held]
        divided["test"] += [p for p in train if sixteenth(p.prompt) < first]
    if not any(divided.values()):
        parts = ", ".join(split for split in found if split != WHOLE)
        raise ConfigError(f"data.{name}: it has no rows" + (f" in {parts}" if parts else ""))
    return _once(_as_numbered(divided))


def _as_numbered(divided: dict[Split, list[ParsedRow]]) -> dict[Split, list[ParsedRow]]:
    result: dict[Split, list[ParsedRow]] = {split: [] for split in SPLITS}
    for split, parsed in divided.items():
        for row in parsed:
            result[row.split or split].append(row)
    return result


def _once(divided: dict[Split, list[ParsedRow]]) -> dict[Split, list[ParsedRow]]:
    """Each prompt once: the test split keeps it, then validation, then training."""
    seen: set[str] = set()
    result: dict[Split, list[ParsedRow]] = {split: [] for split in SPLITS}
    for split in reversed(SPLITS):
        for row in divided[split]:
            if row.prompt not in seen:
                seen.add(row.prompt)
                result[split].append(row)
    return result


def sixteenth(prompt: str) -> int:
    return hashlib.blake2b(prompt.encode(), digest_size=2).digest()[0] % 16


def _problem(name: str, instruction: str, stop: tuple[str, ...], row: ParsedRow) -> Problem:
    columns: dict[str, Any] = dict(row.columns)
    return Problem(
        row.prompt,
        row.solution,
        name,
        row.level,
        row.worked,
        instruction,
        columns,
        stop=stop,
    )
