"""All the work of a run: its families, generated and read, and the processes that check them."""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType

from understudy.errors import ConfigError
from understudy.progress import task
from understudy.sandbox import Limits
from understudy.tasks.answer import FORM, answer_of
from understudy.tasks.catalogue import FAMILIES
from understudy.tasks.checker import Checker
from understudy.tasks.data import SPLITS, DataConfig, DataSet, load_data
from understudy.tasks.family import Family, Split, draw_problem
from understudy.tasks.judge import Judge
from understudy.tasks.key import KeyOfDrawn
from understudy.tasks.stream import Phase
from understudy.types import Problem


@dataclass(frozen=True, slots=True)
class Tasks:
    """What is asked in a run and how it is checked.

    families: every family by name, generated ones and data sets. The judge's processes start when
    first needed; `close()`, or leaving a `with`, ends them. key: the answer key of what was drawn.
    """

    families: Mapping[str, Family | DataSet]
    judge: Judge
    key: KeyOfDrawn = field(default_factory=KeyOfDrawn)
    # The questions of every examination: they are the same at each switch.
    _exams: dict[tuple[str, int, Split, str], list[Problem]] = field(default_factory=dict)

    @property
    def undecided(self) -> Counter[str]:
        """Why checks came to no verdict, and how many each, since the start."""
        return self.judge.undecided

    def prepare(self, stream: Sequence[Phase]) -> None:
        """Refuse a stream that lacks questions, or whose answers could not be checked here."""
        for phase in stream:
            for split in SPLITS:
                self._pools(phase, split)
        used = [self._family(name) for name in {n for phase in stream for n in phase.families}]
        self.judge.prepare({each.checker.kind for each in used if isinstance(each, DataSet)})

    def batch(self, phase: Phase, size: int, split: Split, key: str) -> list[Problem]:
        """Problems that depend on the key alone, so that a resumed run draws the same ones.

        A question of a data set comes twice only where the batch is larger than the data.
        """
        rng = random.Random(key)
        names = tuple(phase.families)
        weights = [phase.families[name] for name in names]
        pools = self._pools(phase, split)
        taken: dict[str, set[int]] = {name: set() for name in pools}
        problems = []
        for _ in range(size):
            family = self._family(rng.choices(names, weights)[0])
            if isinstance(family, DataSet):
                place = _fresh(len(pools[family.name]), taken[family.name], rng)
                problems.append(pools[family.name][place])
            else:
                problems.append(draw_problem(family, rng.randint(*phase.levels), split, rng))
        self.key.remember(problems)
        return problems

    def exam(self, phase: Phase, size: int, split: Split, key: str) -> list[Problem]:
        """As `batch`, with every family by its share, and with less variance.

        Generated families: every level equally often. Data sets: no question twice, and all of
        them where that many are asked for.
        """
        drawn = (phase.model_dump_json(include={"families", "levels"}), size, split, key)
        if drawn not in self._exams:
            self._exams[drawn] = self._drawn_exam(phase, size, split, key)
        self.key.remember(self._exams[drawn])
        return list(self._exams[drawn])

    def exam_size(self, phase: Phase, size: int, split: Split) -> int:
        """How many questions `exam` draws."""
        return sum(self._exam_counts(phase, size, self._pools(phase, split)).values())

    def _exam_counts(
        self, phase: Phase, size: int, pools: Mapping[str, Sequence[Problem]]
    ) -> dict[str, int]:
        """Of each family as many as its share, at least one; of a data set what it has at most."""
        total = sum(phase.families.values())
        counts = {n: max(1, round(size * share / total)) for n, share in phase.families.items()}
        return {
            n: min(count, len(pools[n])) if n in pools else count for n, count in counts.items()
        }

    def _drawn_exam(self, phase: Phase, size: int, split: Split, key: str) -> list[Problem]:
        rng, (low, high) = random.Random(key), phase.levels
        pools = self._pools(phase, split)
        problems: list[Problem] = []
        for name, count in self._exam_counts(phase, size, pools).items():
            family = self._family(name)
            if isinstance(family, DataSet):
                problems += rng.sample(pools[name], count)
                continue
            for i in range(count):
                problems.append(draw_problem(family, low + i % (high - low + 1), split, rng))
        return problems

    def showing(self, count: Callable[[DataSet], int]) -> Tasks:
        """The same with worked examples before the questions of data sets, so many of each."""
        families = {
            name: family.with_examples(shown)
            if isinstance(family, DataSet) and (shown := count(family))
            else family
            for name, family in self.families.items()
        }
        return replace(self, families=families, _exams={})

    def fitting(self, fits: Callable[[Problem], bool]) -> Tasks:
        """The same without the data sets' questions that do not fit; how many is said aloud."""
        families = dict(self.families)
        for name, family in families.items():
            if isinstance(family, DataSet):
                kept = {
                    split: tuple(problem for problem in questions if fits(problem))
                    for split, questions in family.questions.items()
                }
                left_out = sum(len(family.questions[split]) - len(kept[split]) for split in kept)
                if left_out:
                    beside = "its worked examples and " if family.examples else ""
                    warnings.warn(
                        f"data.{name}: {left_out} questions are too long for the model, with "
                        f"{beside}max_completion_length for the answer, and are left out",
                        stacklevel=2,
                    )
                families[name] = replace(family, questions=kept)
        return replace(self, families=families, _exams={})

    def check(self, problems: Sequence[Problem], completions: Sequence[str]) -> list[float | None]:
        """A verdict per completion, in order: 1 right, 0 wrong, between for partial credit.

        None is a check that came to no verdict: a hang, or a sandbox that failed.
        """
        verdicts: list[float | None] = [None] * len(problems)
        places: list[int] = []
        claims: list[tuple[Checker, Problem, str]] = []
        for i, (problem, completion) in enumerate(zip(problems, completions, strict=True)):
            family = self._family(problem.family)
            if isinstance(family, DataSet):
                places.append(i)
                claims.append((family.checker, problem, completion))
                continue
            answer = answer_of(completion)
            verdicts[i] = float(answer is not None and family.check(answer, problem.solution))
        for i, verdict in zip(places, self.judge.check(claims), strict=True):
            verdicts[i] = verdict
        return verdicts

    def answer(self, problem: Problem, completion: str) -> str | None:
        """The answer as it is shown; None where none was given."""
        family = self._family(problem.family)
        if isinstance(family, DataSet):
            return family.checker.answer(problem, completion)
        return answer_of(completion)

    def form(self, phase: Phase) -> str:
        """What an answer to a phase's questions looks like, in words."""
        families = map(self._family, phase.families)
        forms = (each.checker.form if isinstance(each, DataSet) else FORM for each in families)
        return " or ".join(dict.fromkeys(forms))

    def all_answers(self, phases: Sequence[Phase]) -> frozenset[str] | None:
        """Every right answer to the questions of some phases; None where one is no label or letter
        of a choice: there is no longest then."""
        found: set[str] = set()
        for name in {name for phase in phases for name in phase.families}:
            family = self._family(name)
            if not isinstance(family, DataSet) or family.checker.kind not in ("label", "choice"):
                return None
            found |= {each.solution for part in family.questions.values() for each in part}
        return frozenset(found)

    def label(self, problem: Problem) -> str | None:
        """The right label, or letter of a choice; None for tasks that have neither."""
        family = self._family(problem.family)
        is_label = isinstance(family, DataSet) and family.checker.kind in ("label", "choice")
        return " ".join(problem.solution.split()) if is_label else None

    def named_label(self, problem: Problem, completion: str) -> str | None:
        """The label or letter that a completion names, in the form of `label`; None: none."""
        answer = self.answer(problem, completion)
        return None if answer is None else " ".join(answer.split())

    def lesson(self, problem: Problem, reply: str) -> str:
        """A right reply as it is learnt: of one that chats about a label, the label alone."""
        named = self.named_label(problem, reply) if self.label(problem) is not None else None
        return reply if named is None else named

    def close(self) -> None:
        self.judge.close()

    def __enter__(self) -> Tasks:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _family(self, name: str) -> Family | DataSet:
        try:
            return self.families[name]
        except KeyError:
            known = ", ".join(self.families)
            raise ConfigError(f"unknown family {name!r}; this run has {known}") from None

    def _pools(self, phase: Phase, split: Split) -> dict[str, list[Problem]]:
        families = {name: self._family(name) for name in phase.families}
        return {
            name: family.pool(split, phase.levels)
            for name, family in families.items()
            if isinstance(family, DataSet)
        }


def _fresh(count: int, taken: set[int], rng: random.Random) -> int:
    """A number below `count` that was not taken; all of them again once all are."""
    if len(taken) == count:
        taken.clear()
    while (place := rng.randrange(count)) in taken:
        pass
    taken.add(place)
    return place


def open_tasks(
    data: Mapping[str, DataConfig] | None = None,
    workers: int = 2,
    limits: Limits | None = None,
    allow_unsafe_code: bool = False,
) -> Tasks:
    """Every generated family, and each data set under the name that `data` gives it.

    Data sets are read at once, so that a mistake shows before anything else is done. workers:
    processes that check mathematics, and as many that run code; limits: what a program may use.
    """
    for name in data or {}:
        if name in FAMILIES:
            raise ConfigError(f"data.{name}: a generated family has that name; choose another")
    sets = {}
    for name, config in (data or {}).items():
        with task(f"reading data set {name}"):
            sets[name] = load_data(name, config)
    return Tasks({**FAMILIES, **sets}, Judge(workers, limits, allow_unsafe_code))
