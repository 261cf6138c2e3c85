"""Who was right: by agreement with the cloud, by a checker, or by a judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from understudy.errors import ConfigError
from understudy.gateway.shadow.agreement import Agreement, usual_form
from understudy.gateway.shadow.correction import JudgeError
from understudy.gateway.shadow.records import LoggedCall, text_in
from understudy.tasks import FAMILIES
from understudy.tasks.answer import answer_of
from understudy.tasks.recognise import recognise, typed
from understudy.tasks.rewards import Reward, load_reward
from understudy.types import Problem, Turn

GENERATED = "tasks"  # any of the generated families, whichever asks such a question


@dataclass(frozen=True, slots=True)
class Verdict:
    local_wrong: bool
    cloud_wrong: bool = False  # where nobody checks it, the cloud's answer is taken for right


class Verdicts(Protocol):
    words: str  # how it is told what counts as right
    caution: str  # what a reader must know before believing it
    checks_cloud: bool  # whether the cloud's answers are checked, too
    error: JudgeError | None  # of a judge

    def of(self, calls: Sequence[LoggedCall], answers: Sequence[str]) -> list[Verdict | None]:
        """None: nothing can be said of it."""
        ...


class ByAgreement:
    """form: '': as the answers are."""

    checks_cloud: bool = False
    error: JudgeError | None = None

    def __init__(self, form: str, calls: Sequence[LoggedCall]) -> None:
        cloud = [call.answer for call in calls]
        self.agreement = Agreement(form or usual_form(cloud), cloud)
        self.words = f"the cloud's logged answer is taken for right; {self.agreement.words}"
        self.caution = self.agreement.caution

    def of(self, calls: Sequence[LoggedCall], answers: Sequence[str]) -> list[Verdict | None]:
        found: list[Verdict | None] = []
        for call, answer in zip(calls, answers, strict=True):
            agrees = self.agreement.verdict(answer, call.answer)
            found.append(None if agrees is None else Verdict(not agrees))
        return found


class ByChecker:
    """A function of yours as TRL's trainers take it, `file.py:function`; a value of at least 1 is
    right. It checks the cloud's answers, too."""

    caution: str = ""
    checks_cloud: bool = True
    error: JudgeError | None = None

    def __init__(self, spec: str) -> None:
        self.reward: Reward = load_reward(spec, messages=False)
        self.words = f"{spec} says what is right, of the cloud's answers too"

    def of(self, calls: Sequence[LoggedCall], answers: Sequence[str]) -> list[Verdict | None]:
        problems = [problem_of(call) for call in calls]
        local = self.reward.values(problems, list(answers))
        cloud = self.reward.values(problems, [call.answer for call in calls])
        return [
            None if mine is None or theirs is None else Verdict(mine < 1, theirs < 1)
            for mine, theirs in zip(local, cloud, strict=True)
        ]


class ByFamily:
    """A generated family's own checker: what the right answer is follows from the question."""

    caution: str = ""
    checks_cloud: bool = True
    error: JudgeError | None = None

    def __init__(self, name: str) -> None:
        self.names = set(FAMILIES) if name == GENERATED else {name}
        self.words = f"the checker of {name} says what is right, of the cloud's answers too"

    def of(self, calls: Sequence[LoggedCall], answers: Sequence[str]) -> list[Verdict | None]:
        return [self._verdict(call, answer) for call, answer in zip(calls, answers, strict=True)]

    def _verdict(self, call: LoggedCall, answer: str) -> Verdict | None:
        problem = recognise(typed(call.question))
        if problem is None or problem.family not in self.names:
            return None
        return Verdict(_wrong(problem, answer), _wrong(problem, call.answer))


def checker_named(spec: str) -> ByChecker | ByFamily:
    if spec == GENERATED or spec in FAMILIES:
        return ByFamily(spec)
    if ":" not in spec:
        known = ", ".join((GENERATED, *FAMILIES))
        raise ConfigError(f"--checker {spec}: use file.py:function, module:function, or {known}")
    return ByChecker(spec)


def problem_of(call: LoggedCall) -> Problem:
    """With the cloud's answer as its solution, and the call's metadata as columns."""
    turns = tuple(Turn(str(m["role"]), text_in(m.get("content"))) for m in call.messages)
    return Problem(
        prompt=call.question,
        solution=call.answer,
        family="log",
        level=1,
        worked="",
        columns={**call.metadata, "model": call.model},
        history=turns[:-1],
    )


def _wrong(problem: Problem, text: str) -> bool:
    answer = answer_of(text)
    return answer is None or not FAMILIES[problem.family].check(answer, problem.solution)
