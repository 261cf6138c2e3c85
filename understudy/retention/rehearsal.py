"""Rehearsal: a small memory of verified answers, from which every step learns again.

repeat
    learn the batch, and by cross-entropy `rows` examples of earlier phases' memories
    put the batch's right answers into this phase's memory      reservoir sampling: each
                                                                is kept with equal chance
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import Field

from understudy.objectives.terms import AnswerTerm, Term
from understudy.retention.retention import Learner, Retention
from understudy.settings import KindSection
from understudy.types import Example, Question

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Memory:
    """What is kept of a phase, and how many examples went by."""

    kept: list[Example] = field(default_factory=list)
    seen: int = 0


class Rehearsal(Retention):
    class Settings(KindSection):
        size: int = Field(256, ge=1, description="examples kept of each phase")
        rows: int = Field(16, ge=1, description="examples of earlier phases learnt at each step")
        weight: float = Field(0.5, ge=0, description="weight of their cross-entropy")

    settings: Settings
    wants_examples = True

    def __init__(self, settings: KindSection, learner: Learner, seed: int) -> None:
        super().__init__(settings, learner, seed)
        self.memories: dict[int, Memory] = {}

    def terms(self, phase: int, step: int) -> Sequence[Term]:
        known = sorted(number for number in self.memories if number < phase)
        earlier = [example for number in known for example in self.memories[number].kept]
        rng = random.Random(f"rehearsal {self.seed} {step}")
        chosen = rng.sample(earlier, min(self.settings.rows, len(earlier)))
        return [AnswerTerm(chosen, self.settings.weight)] if chosen else []

    def after_step(self, phase: int, step: int, verified: Sequence[Example]) -> None:
        memory = self.memories.setdefault(phase, Memory())
        rng = random.Random(f"memory {self.seed} {step}")
        for example in verified:
            memory.seen += 1
            if len(memory.kept) < self.settings.size:
                memory.kept.append(example)
            elif (place := rng.randrange(memory.seen)) < self.settings.size:
                memory.kept[place] = example

    def tensors(self) -> Mapping[str, Tensor]:
        import torch

        found: dict[str, Tensor] = {}
        for phase, memory in self.memories.items():
            parts = [_written(example).encode() for example in memory.kept]
            found[f"{phase}.text"] = torch.frombuffer(
                bytearray(b"".join(parts) or b"\0"), dtype=torch.uint8
            )
            found[f"{phase}.lengths"] = torch.tensor([len(part) for part in parts])
            found[f"{phase}.seen"] = torch.tensor(memory.seen)
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.memories = {}
        for phase in sorted(int(name.partition(".")[0]) for name in tensors if ".seen" in name):
            text = bytes(tensors[f"{phase}.text"].tolist())
            parts, start = [], 0
            for length in tensors[f"{phase}.lengths"].tolist():
                parts.append(text[start : start + length].decode())
                start += length
            kept = [_read(part) for part in parts]
            self.memories[phase] = Memory(kept, int(tensors[f"{phase}.seen"]))


def _written(example: Example) -> str:
    return json.dumps([example.question.to_json(), example.answer])


def _read(text: str) -> Example:
    question, answer = json.loads(text)
    return Example(Question.from_json(question), answer)
