"""What the relay asks of a node at one moment, and what the node answers, as bytes."""

from __future__ import annotations

from typing import Any

from understudy.actors.actor import Address
from understudy.actors.packing import packed, unpacked
from understudy.link.carrier import Inbox, Message

# For each actor asked: who, its ticks since its last answer, each with its moment, what has come
# for it, and how many entries of its log are known.
Asked = tuple[Address, list[tuple[int, Any]], Inbox, int]
StepRequest = tuple[int, int, list[Asked]]  # this moment, the last one answered (-1: none), actors

# For each actor: who, what it sends, its log entries that are not known, and its report.
Taken = tuple[Address, list[Message], list[Any], Any]
StepAnswer = tuple[int, str, list[Taken]]  # the moment, why there is none ("": there is), actors


def written(content: StepRequest | StepAnswer) -> bytes:
    return packed(content)


def request_of(blob: bytes) -> StepRequest:
    request: StepRequest = unpacked(blob, StepRequest)
    return request


def answer_of(blob: bytes, entry_type: Any = Any, report_type: Any = Any) -> StepAnswer:
    taken = tuple[Address, list[Message], list[entry_type], report_type]
    answer: StepAnswer = unpacked(blob, tuple[int, str, list[taken]])
    return answer


def refusal(moment: int, reason: Any) -> bytes:
    return written((moment, " ".join(str(reason).split())[:500], []))
