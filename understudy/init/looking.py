"""What a data set is: its columns, its answers, how many questions it has for what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import ConfigError
from understudy.init.columns import Ask, Columns, columns_of
from understudy.init.kinds import Guess, kind_of_answers
from understudy.tasks import FAMILIES
from understudy.tasks.data import SPLITS, DataConfig, DataSet, FormName, load_data
from understudy.tasks.family import LEVELS, Split
from understudy.tasks.forms import FORMS, FormError
from understudy.tasks.rows import Row, rows_of_path

# Published forms that no other table has by chance.
_PUBLISHED: Sequence[FormName] = ("gsm8k", "math", "mbpp", "humaneval", "taco", "choice")
_LOOKED_AT = 64  # rows, to know a form


@dataclass(frozen=True, slots=True)
class Found:
    """A data set, looked at. columns: None where its form says which they are."""

    name: str
    config: DataConfig
    data: DataSet
    rows: int
    columns: Columns | None
    guess: Guess

    @property
    def questions(self) -> int:
        """Different ones."""
        return sum(len(part) for part in self.data.questions.values())

    @property
    def counts(self) -> dict[Split, int]:
        return {split: len(self.data.questions[split]) for split in SPLITS}


def look_at(path: Path, prompt: str | None, solution: str | None, ask: Ask | None) -> Found:
    """Read a data set whole. ask: a person, for what cannot be found out; None: nobody is there."""
    rows = [row for part in rows_of_path(path.expanduser()).values() for row in part]
    if not rows:
        raise ConfigError(f"{path}: no rows; a data set needs questions with their answers")
    name, columns = name_of(path), None
    form = None if prompt or solution else published_form(rows)
    if form is not None:
        guess = Guess(FORMS[form].kind, f"its rows are those of {form}: {FORMS[form].summary}")
        config = DataConfig(path=str(path), form=form)
    else:
        try:
            columns = columns_of(rows, prompt, solution, ask)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
        guess = _guess(path, rows, columns)
        config = DataConfig(
            path=str(path),
            form="columns",
            checker=guess.kind,
            prompt=columns.prompt,
            solution=columns.solution,
        )
    data = load_data(name, config)
    for split in SPLITS:
        data.pool(split, (LEVELS[0], LEVELS[-1]))  # refuses one without questions
    return Found(name, config, data, len(rows), columns, guess)


def _guess(path: Path, rows: Sequence[Row], columns: Columns) -> Guess:
    values = [row[columns.solution] for row in rows if row.get(columns.solution) is not None]
    if not values:
        raise ConfigError(f"{path}: column {columns.solution} is empty; --solution names another")
    return kind_of_answers(values)


def published_form(rows: Sequence[Row]) -> FormName | None:
    """The form that the first rows are of, if it is a published one."""
    return next((form for form in _PUBLISHED if _is_of(form, rows[:_LOOKED_AT])), None)


def _is_of(form: FormName, rows: Sequence[Row]) -> bool:
    try:
        return all(FORMS[form].read(row).prompt for row in rows)
    except (FormError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return False


def name_of(path: Path) -> str:
    """What a data set is called in a stream.

    >>> name_of(Path("data/My questions-2.csv.gz")), name_of(Path("sums.csv"))
    ('my_questions_2', 'my_sums')
    """
    name = re.sub(r"\W+", "_", path.name.partition(".")[0].lower()).strip("_")
    return f"my_{name}" if name in FAMILIES or not name else name
