"""Reward functions by TRL's signature: a user's own, and ours for use anywhere.

A function takes `prompts`, `completions` and the data set's columns as lists, and returns a value
per completion, None to leave one out. The same file serves TRL's trainers and ours.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.errors import UnderstudyError
from understudy.registry import named_function, reason_of
from understudy.tasks.checker import Checker, Kind
from understudy.tasks.judge import Judge
from understudy.types import Problem
from understudy.waiting import wait_for

_VERL = {"solution_str", "ground_truth"}  # the parameters that tell verl's functions


class RewardError(UnderstudyError):
    """A reward function that raised, or returned something else than a value per completion."""


@dataclass(frozen=True, slots=True)
class Reward:
    """A reward function and how it is called.

    messages: completions and prompts go to it as lists of chat messages, which is what TRL hands
    over for conversational data; else as texts.
    """

    name: str
    function: Callable[..., Any]
    messages: bool = True

    def values(
        self, problems: Sequence[Problem], completions: Sequence[str], **given: Any
    ) -> list[float | None]:
        """A value per completion, None where the function leaves it out.

        given: what the trainer adds, such as completion_ids and trainer_state. A function gets
        what it accepts of that; `log_extra` and `log_metric` are there in any case.
        """
        parameters = inspect.signature(self.function).parameters
        try:
            if set(parameters) >= _VERL:
                returned = [
                    self._verl_value(problem, completion)
                    for problem, completion in zip(problems, completions, strict=True)
                ]
            else:
                arguments = self._arguments(problems, completions, given)
                returned = self.function(**_accepted(self.name, parameters, arguments))
            if inspect.isawaitable(returned):
                returned = wait_for(_awaited(returned))
        except RewardError:
            raise
        except Exception as error:
            raise RewardError(f"reward {self.name} raised {reason_of(error)}") from error
        return _checked(self.name, returned, len(completions))

    def _arguments(
        self, problems: Sequence[Problem], completions: Sequence[str], given: Mapping[str, Any]
    ) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "log_extra": _ignore,
            "log_metric": _ignore,
            **_columns(problems),
            **given,
            "prompts": [problem.prompt for problem in problems],
            "completions": list(completions),
        }
        if self.messages:
            arguments["prompts"] = [problem.messages for problem in problems]
            arguments["completions"] = [
                [{"role": "assistant", "content": text}] for text in completions
            ]
        return arguments

    def _verl_value(self, problem: Problem, completion: str) -> Any:
        """verl's `compute_score`: one completion at a time; a mapping's `score` counts."""
        columns = _columns([problem])
        value = self.function(
            data_source=columns.get("data_source", [problem.family])[0],
            solution_str=completion,
            ground_truth=columns["ground_truth"][0],
            extra_info=columns.get("extra_info", [dict(problem.columns)])[0],
        )
        return value.get("score") if isinstance(value, Mapping) else value


def load_reward(spec: str, messages: bool = True) -> Reward:
    """The function that 'package.module:name' or 'path/to/file.py:name' names.

    verl's `compute_score(data_source, solution_str, ground_truth, extra_info)` is known by its
    parameters and called one completion at a time.
    """
    function = named_function("reward", spec)
    name = spec.rpartition(":")[2]
    return Reward(str(getattr(function, "__name__", name)), function, messages)


class CheckerReward:
    """One of our checkers as a reward function with TRL's signature.

    Needs a column `solution` (the answer itself) or, for code, `tests` or `cases`; other columns
    as the checker wants them (`options` for choice, `setup`, `entry`, `opening` for code).
    """

    def __init__(self, kind: Kind, judge: Judge | None = None, **settings: Any) -> None:
        self.checker, self.judge = Checker(kind, **settings), judge or Judge()
        self.__name__ = f"{kind}_reward"

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        claims = []
        for i, completion in enumerate(completions):
            row = {
                name: values[i]
                for name, values in columns.items()
                if isinstance(values, list | tuple) and len(values) == len(completions)
            }
            if self.checker.kind != "code" and row.get("solution") is None:
                raise RewardError(f"{self.__name__} needs a column `solution`")
            problem = Problem(
                prompt=text_of(prompts[i]),
                solution=str(row.get("solution", "")),
                family=self.__name__,
                level=1,
                worked="",
                columns=row,
            )
            claims.append((self.checker, problem, text_of(completion)))
        return self.judge.check(claims)

    def close(self) -> None:
        self.judge.close()


def text_of(message: Any) -> str:
    """A completion's text, given as text or as a list of messages: the last one's content."""
    if isinstance(message, str):
        return message
    if not message:
        return ""
    content = message[-1].get("content")
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, Mapping))
    return content or ""


def _columns(problems: Sequence[Problem]) -> dict[str, list[Any]]:
    """Column name -> a value per problem, None where its row has none. A row's own columns win."""
    ours = {"solution", "ground_truth", "family", "level"}
    names = ours.union(*(problem.columns for problem in problems)) - {"prompt", "completion"}
    columns: dict[str, list[Any]] = {name: [] for name in sorted(names)}
    for problem in problems:
        known: dict[str, Any] = {
            "solution": problem.solution,
            "ground_truth": problem.solution,
            "family": problem.family,
            "level": problem.level,
            **problem.columns,
        }
        for name, values in columns.items():
            values.append(known.get(name))
    return columns


def _accepted(
    name: str, parameters: Mapping[str, inspect.Parameter], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Those arguments that a function takes: all of them if it has **kwargs."""
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        accepted = dict(arguments)
    else:
        accepted = {key: value for key, value in arguments.items() if key in parameters}
    for key, each in parameters.items():
        required = each.default is each.empty and each.kind in (
            each.POSITIONAL_OR_KEYWORD,
            each.KEYWORD_ONLY,
        )
        if required and key not in accepted:
            raise RewardError(
                f"reward {name} needs {key!r}, which is not there; "
                f"it could have {', '.join(sorted(arguments))}"
            )
    return accepted


def _checked(name: str, returned: Any, wanted: int) -> list[float | None]:
    try:
        values = [None if value is None else float(value) for value in returned]
    except (TypeError, ValueError):
        raise RewardError(
            f"reward {name} returned {str(returned)[:80]!r}; return a list of numbers or None"
        ) from None
    if len(values) != wanted:
        raise RewardError(
            f"reward {name} returned {len(values)} values for {wanted} completions; "
            "return one for each"
        )
    for place, value in enumerate(values, start=1):
        if value is not None and not math.isfinite(value):
            raise RewardError(
                f"reward {name} returned {value} for completion {place} of {wanted}; a reward is "
                "finite, or None to leave the completion out"
            )
    return values


async def _awaited(value: Any) -> Any:
    return await value


def _ignore(*_: Any, **__: Any) -> None:
    """Nobody logs what a reward function wants logged."""
