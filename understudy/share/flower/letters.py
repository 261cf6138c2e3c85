"""What the relay asks of a node at one moment, and what the node answers, as bytes."""

from __future__ import annotations

from typing import Any

from understudy.link.carrier import Inbox, Message
from understudy.share.agent import Point
from understudy.share.crew import Report
from understudy.share.packing import packed, unpacked
from understudy.share.wishes import Tick

Pair = tuple[int, int]  # population, agent

# For each agent asked: who, its ticks since it was last heard of, each with its moment, what has
# come for it, and how many of its examinations are known.
Asked = tuple[Pair, list[tuple[int, Tick]], Inbox, int]
Letter = tuple[int, int, list[Asked]]  # this moment, the last one answered (-1: none), the agents

# For each agent: who, what it sends, its examinations that are not known, and what it says.
Told = tuple[Pair, list[Message], list[Point], Report]
Answer = tuple[int, str, list[Told]]  # the moment, why there is none ("": there is), the agents


def written(content: Letter | Answer) -> bytes:
    return packed(content)


def letter_of(blob: bytes) -> Letter:
    letter: Letter = unpacked(blob, Letter)
    return letter


def answer_of(blob: bytes) -> Answer:
    answer: Answer = unpacked(blob, Answer)
    return answer


def pairs_of(partition: int, partitions: int, seeds: int, agents: int) -> list[Pair]:
    """The agents that a node holds: every so-many-th of each population."""
    return [(p, a) for p in range(seeds) for a in range(agents) if a % partitions == partition]


def refusal(moment: int, reason: Any) -> bytes:
    return written((moment, " ".join(str(reason).split())[:500], []))
