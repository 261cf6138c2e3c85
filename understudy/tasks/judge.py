"""From a batch of answers to verdicts: by text where that decides, else by other processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Any

from understudy.sandbox import Case, Limits, Program, Sandbox
from understudy.tasks.checker import Checker, Kind
from understudy.tasks.mathematics import Mathematics, require_math_verify
from understudy.types import Problem


class Judge:
    """Checks answers, and owns the processes that it takes; they start when first needed.

    undecided: why answers had no verdict, and how many of them each.
    """

    def __init__(
        self, workers: int = 2, limits: Limits | None = None, allow_unsafe_code: bool = False
    ) -> None:
        self.undecided: Counter[str] = Counter()
        self._workers, self._limits, self._unsafe = workers, limits, allow_unsafe_code
        self._mathematics = Mathematics(workers)
        self._sandbox: Sandbox | None = None

    def check(self, claims: Sequence[tuple[Checker, Problem, str]]) -> list[float | None]:
        """(checker, problem, completion) each: 1 right, 0 wrong or no answer, None undecided."""
        verdicts: list[float | None] = []
        expressions: list[tuple[int, str, str]] = []
        programs: list[tuple[int, Program, bool]] = []
        for i, (checker, problem, completion) in enumerate(claims):
            answer = checker.answer(problem, completion)
            verdicts.append(0.0 if answer is None else checker.verdict(problem, answer))
            if answer is None or verdicts[i] is not None:
                continue
            if checker.kind == "code":
                programs.append((i, program_of(problem, answer), checker.partial))
            else:
                expressions.append((i, problem.solution, answer))
        self._decide(verdicts, expressions)
        self._run(verdicts, programs)
        return verdicts

    def close(self) -> None:
        self._mathematics.close()
        if self._sandbox is not None:
            self._sandbox.__exit__(None, None, None)
            self._sandbox = None

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def prepare(self, kinds: Collection[Kind]) -> None:
        """Refuse now what could not be checked later, when answers have been paid for."""
        if "code" in kinds:
            self._opened()
        if {"number", "mathematics"} & set(kinds):
            require_math_verify()

    def _opened(self) -> Sandbox:
        if self._sandbox is None:
            self._sandbox = Sandbox(self._workers, self._limits, self._unsafe).__enter__()
        return self._sandbox

    def _decide(
        self, verdicts: list[float | None], expressions: Sequence[tuple[int, str, str]]
    ) -> None:
        different = list(dict.fromkeys((right, given) for _, right, given in expressions))
        decided = dict(zip(different, self._mathematics.decide_all(different), strict=True))
        for i, right, given in expressions:
            verdict = decided[right, given]
            if isinstance(verdict, str):
                self.undecided[f"mathematics: {verdict}"] += 1
            else:
                verdicts[i] = float(verdict)

    def _run(
        self, verdicts: list[float | None], programs: Sequence[tuple[int, Program, bool]]
    ) -> None:
        if not programs:
            return
        ran = self._opened().run_all([program for _, program, _ in programs])
        for (i, _, partial), verdict in zip(programs, ran, strict=True):
            if verdict.passed is None:
                self.undecided[f"code: {verdict.outcome}: {verdict.detail}"] += 1
            elif partial and verdict.share is not None:
                verdicts[i] = verdict.share
            else:
                verdicts[i] = float(verdict.passed)


def program_of(problem: Problem, source: str) -> Program:
    """What is run to check a program: its tests are in the problem's columns.

    tests: texts with asserts; setup: code that they need; entry_point: names that they call;
    cases: [stdin, stdout] pairs; opening: what stands before the program, such as HumanEval's
    signature, so that an answer may be the body alone.
    """
    columns: Mapping[str, Any] = problem.columns
    return Program(
        source=(columns.get("opening") or "") + source,
        tests=tuple(columns.get("tests") or ()),
        setup=columns.get("setup") or "",
        entry=tuple(columns.get("entry") or ()),
        cases=tuple(Case(stdin, stdout) for stdin, stdout in columns.get("cases") or ()),
    )
