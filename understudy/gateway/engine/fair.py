"""A bounded queue that is fair: keys take turns, and each key's own items keep their order."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import chain
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items that wait, by key. Somebody with a hundred of them delays another by one.

    >>> queue = FairQueue(10)
    >>> for key, item in [("a", 1), ("a", 2), ("a", 3), ("b", 4)]:
    ...     queue.add(key, item)
    >>> [queue.take() for _ in range(4)]
    [1, 4, 2, 3]
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._by_key: OrderedDict[str, deque[T]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        """Those who wait, in no order of turns."""
        return chain.from_iterable(self._by_key.values())

    @property
    def full(self) -> bool:
        return self._count >= self.most

    def add(self, key: str, item: T) -> None:
        """The caller has seen that the queue is not full."""
        assert not self.full, "the queue is full"
        self._by_key.setdefault(key, deque()).append(item)
        self._count += 1

    def first(self) -> T | None:
        """What `take` would give."""
        return next(iter(self._by_key.values()))[0] if self._by_key else None

    def take(self) -> T | None:
        """The next item; its key goes to the end of the line."""
        if not self._by_key:
            return None
        key, items = self._by_key.popitem(last=False)
        item = items.popleft()
        if items:
            self._by_key[key] = items
        self._count -= 1
        return item

    def remove(self, key: str, item: T) -> bool:
        """Forget an item; whether it was there."""
        items = self._by_key.get(key, deque())
        if item not in items:
            return False
        items.remove(item)
        self._count -= 1
        if not items:
            del self._by_key[key]
        return True
