"""Rehearsal: a small memory of verified answers, of which the forgotten ones are learnt again.

repeat
    look at `candidates` examples of earlier phases' memories         a forward pass
    learn the batch, and by cross-entropy the `rows` of them whose loss has risen most since
    their phase ended; none whose loss has not risen
    put the batch's right answers into this phase's memory            reservoir sampling: each
                                                                      is kept with equal chance
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

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
    losses: list[float] = field(default_factory=list)  # of each at the end of the phase

    def before(self) -> list[tuple[Example, float]]:
        """Each example with its loss at the end of the phase; 0 where nobody looked."""
        return list(zip(self.kept, self.losses or [0.0] * len(self.kept), strict=True))


class Rehearsal(Retention):
    class Settings(KindSection):
        size: int = Field(64, ge=1, description="examples kept of each phase")
        rows: int = Field(8, ge=1, description="most examples of earlier phases learnt at a step")
        weight: float = Field(0.5, ge=0, description="weight of their cross-entropy")
        choose: Literal["forgotten", "random"] = Field(
            "forgotten", description="those whose loss rose most since their phase, or any"
        )
        candidates: int = Field(
            16, ge=1, description="choose=forgotten: examples looked at to choose from, at a step"
        )

    settings: Settings
    wants_examples = True

    def __init__(self, settings: KindSection, learner: Learner, seed: int) -> None:
        super().__init__(settings, learner, seed)
        self.memories: dict[int, Memory] = {}
        self._looked = (-1, 0)  # a step's number, and how often it was looked for it

    def terms(self, phase: int, step: int) -> Sequence[Term]:
        known = sorted(number for number in self.memories if number < phase)
        earlier = [pair for number in known for pair in self.memories[number].before()]
        rng, setting = random.Random(self._luck(step)), self.settings
        by_chance = setting.choose == "random"
        drawn = rng.sample(
            earlier, min(setting.rows if by_chance else setting.candidates, len(earlier))
        )
        chosen = [example for example, _ in drawn] if by_chance else self._forgotten(drawn)
        return [AnswerTerm(chosen, setting.weight)] if chosen else []

    def _luck(self, step: int) -> str:
        """Other candidates at every call: before a step there may be those of a warm start, which
        a run that was killed there begins anew."""
        before, times = self._looked
        times = times + 1 if before == step else 0
        self._looked = step, times
        return f"rehearsal {self.seed} {step}" + (f" {times}" if times else "")

    def _forgotten(self, looked_at: Sequence[tuple[Example, float]]) -> list[Example]:
        """Those whose loss rose most since their phase ended."""
        examples = [example for example, _ in looked_at]
        pairs = zip(self._losses(examples), looked_at, strict=True)
        rises = [now - before for now, (_, before) in pairs]
        order = sorted(range(len(rises)), key=lambda place: -rises[place])
        return [examples[i] for i in order[: self.settings.rows] if rises[i] > 0]

    def _losses(self, examples: Sequence[Example]) -> list[float]:
        """The mean cross-entropy of each answer's tokens, as the model is now."""
        import torch

        if not examples:
            return []
        with torch.no_grad():
            logprobs, mask = self.learner.logprobs(examples)
        lengths = mask.sum(dim=1).clamp(min=1)
        found: list[float] = ((-logprobs * mask).sum(dim=1) / lengths).tolist()
        return found

    def at_switch(self, phase: int) -> None:
        memory = self.memories.get(phase)
        if memory is not None and self.settings.choose == "forgotten":
            memory.losses = self._losses(memory.kept)

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
            found[f"{phase}.losses"] = torch.tensor(memory.losses, dtype=torch.float64)
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.memories, self._looked = {}, (-1, 0)
        for phase in sorted(int(name.partition(".")[0]) for name in tensors if ".seen" in name):
            text = bytes(tensors[f"{phase}.text"].tolist())
            parts, start = [], 0
            for length in tensors[f"{phase}.lengths"].tolist():
                parts.append(text[start : start + length].decode())
                start += length
            kept = [_read(part) for part in parts]
            losses = tensors[f"{phase}.losses"].tolist()
            self.memories[phase] = Memory(kept, int(tensors[f"{phase}.seen"]), losses)


def _written(example: Example) -> str:
    return json.dumps([example.question.to_json(), example.answer])


def _read(text: str) -> Example:
    question, answer = json.loads(text)
    return Example(Question.from_json(question), answer)
