"""Places are shared over keys, whoever asks most."""

from __future__ import annotations

import random
from collections import Counter

from understudy.gateway.engine.fair import FairQueue


def test_keys_take_turns_and_keep_their_order() -> None:
    queue: FairQueue[int] = FairQueue(1000)
    for item in range(100):
        queue.add("greedy", item)
    queue.add("modest", 100)
    assert [queue.take() for _ in range(4)] == [0, 100, 1, 2]
    assert len(queue) == 97


def test_any_order_of_adding_gives_everyone_the_same_share() -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue(1000)
    rng = random.Random(0)
    keys = [key for key in "abc" for _ in range(50)]
    rng.shuffle(keys)
    for number, key in enumerate(keys):
        queue.add(key, (key, number))
    first = [queue.take() for _ in range(90)]
    assert Counter(item[0] for item in first if item) == {"a": 30, "b": 30, "c": 30}
    for key in "abc":
        numbers = [item[1] for item in first if item and item[0] == key]
        assert numbers == sorted(numbers)


def test_who_leaves_is_not_taken() -> None:
    queue: FairQueue[int] = FairQueue(2)
    queue.add("a", 1)
    queue.add("b", 2)
    assert queue.full
    assert queue.remove("a", 1)
    assert not queue.remove("a", 1)
    assert queue.first() == 2
    assert queue.take() == 2
    assert queue.take() is None
    assert queue.first() is None
