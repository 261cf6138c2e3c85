"""How an answer of a kind is read off a completion, and held against the solution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from understudy.tasks.extract import (
    MARK,
    choice_in,
    expression_in,
    label_in,
    number_in,
    plain,
    program_in,
    text_in,
)
from understudy.tasks.numbers import exact_number
from understudy.types import Problem

Kind = Literal["text", "number", "mathematics", "choice", "label", "code"]

LONGEST_EXPRESSION = 2_000  # characters; the longest solution of MATH has under 200
_MOST_LABELS_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Checker:
    """One kind of check with its settings."""

    kind: Kind
    lenient: bool = False  # number: the last number counts where none is marked
    partial: bool = False  # code: the share of tests passed, instead of all or nothing
    labels: tuple[str, ...] = ()

    def answer(self, problem: Problem, completion: str) -> str | None:
        """The answer that a completion gives; None where it gives none."""
        match self.kind:
            case "number":
                return number_in(completion, self.lenient)
            case "mathematics":
                return expression_in(completion)
            case "choice":
                return choice_in(completion, problem.columns.get("options", ()))
            case "label":
                return label_in(completion, self.labels)
            case "code":
                return program_in(completion)
            case "text":
                return text_in(completion)

    def verdict(self, problem: Problem, answer: str) -> float | None:
        """1 right, 0 wrong; None where it takes mathematics or a sandbox to tell."""
        right, given = problem.solution, answer
        match self.kind:
            case "text" | "choice":
                return float(" ".join(given.split()) == " ".join(right.split()))
            case "label":
                return float(plain(given) == plain(right))
            case "code":
                return None
            case "number" | "mathematics":
                return self._mathematical_verdict(right, given)

    def _mathematical_verdict(self, right: str, given: str) -> float | None:
        if "".join(given.split()) == "".join(right.split()):
            return 1.0
        if len(given) > LONGEST_EXPRESSION:
            return 0.0
        units = self.kind == "number"
        wanted, number = exact_number(right, units), exact_number(given, units)
        if wanted is None or number is None:
            return None
        if wanted == number:
            return 1.0
        if self.kind == "number":
            return 0.0
        # As mathematics 0.333333 may stand for 1/3, and 50% for 0.5.
        whole = wanted.denominator == number.denominator == 1
        return 0.0 if whole and "%" not in right + given else None

    def with_labels(self, labels: tuple[str, ...]) -> Checker:
        return replace(self, labels=labels) if self.kind == "label" else self

    @property
    def form(self) -> str:
        """What an answer looks like, in a few words."""
        match self.kind:
            case "number":
                return f"'{MARK} ' and a number"
            case "mathematics":
                return "\\boxed{...}"
            case "choice":
                return "the letter of an option"
            case "label":
                return "one label"
            case "code":
                return "a program"
            case "text":
                return "a text"

    @property
    def instruction(self) -> str:
        """What a chat model is told about the form of an answer."""
        match self.kind:
            case "number":
                return f"Think step by step. End with a line '{MARK} ' and the number alone."
            case "mathematics":
                return "Think step by step. Put the final answer in \\boxed{}."
            case "choice":
                return "Answer with the letter of the right option alone."
            case "label":
                shown = ""
                if len(self.labels) <= _MOST_LABELS_SHOWN:
                    shown = f" The labels: {', '.join(self.labels)}."
                return f"Answer with the label that fits the text, alone.{shown}"
            case "code":
                return "Answer with one ```python block that holds the whole program."
            case "text":
                return "Answer with the answer alone."
