"""What many agents wish for at one moment, computed together where it is alike."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

from torch import Tensor

from understudy.link.carrier import Message
from understudy.share.agent import Step
from understudy.share.penalties import together
from understudy.share.training import accuracies, stacks_by, train
from understudy.share.wishes import Examine, Train, Wish

TOGETHER = 32  # learners computed at once: what their layers give stays in a processor's own cache


def grant(steps: Sequence[Step]) -> list[list[Message]]:
    """Run steps to their ends, fulfilling what they wish for; their outboxes, in order."""
    outboxes: list[list[Message]] = [[] for _ in steps]
    wishes: dict[int, Wish] = {}

    def go_on(number: int, answer: Tensor | None) -> None:
        try:
            wishes[number] = steps[number].send(answer)
        except StopIteration as ended:
            outboxes[number] = ended.value

    for number in range(len(steps)):
        go_on(number, None)
    while wishes:
        asked = dict(wishes)
        wishes.clear()
        for group in _alike(asked):
            for number, answer in zip(group, fulfilled([asked[n] for n in group]), strict=True):
                go_on(number, answer)
    return outboxes


def _alike(wishes: Mapping[int, Wish]) -> Iterator[list[int]]:
    """Their numbers, a few of those that can be computed together at a time."""
    groups: dict[Hashable, list[int]] = {}
    for number, wish in sorted(wishes.items()):
        how: tuple[Hashable, ...]
        if isinstance(wish, Train):
            how = (wish.lesson, wish.epochs, type(wish.penalty).__name__)
        else:
            how = ("examine", wish.without)
        groups.setdefault((stacks_by(wish.learner), how), []).append(number)
    for group in groups.values():
        for first in range(0, len(group), TOGETHER):
            yield group[first : first + TOGETHER]


def fulfilled(wishes: Sequence[Wish]) -> list[Tensor | None]:
    """Alike wishes, done together: what is sent back to each."""
    first = wishes[0]
    if isinstance(first, Examine):
        learners = [wish.learner for wish in wishes]
        examples = [wish.examples for wish in wishes]
        return list(accuracies(learners, examples, first.without))
    jobs = [wish for wish in wishes if isinstance(wish, Train)]
    train(jobs, together([job.penalty for job in jobs]))
    return [None] * len(wishes)
