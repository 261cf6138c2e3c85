"""Which conversations have gone to the cloud before, for a while and of a limited number."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST = 100_000


class Conversations:
    """In this process. Replicas behind a proxy keep a conversation where the proxy sends it."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._until: OrderedDict[tuple[str, str], float] = OrderedDict()

    def asked(self, key: str, conversation: str) -> None:
        if not conversation:
            return
        self._until[key, conversation] = self._clock() + self._seconds
        self._until.move_to_end((key, conversation))
        while len(self._until) > _MOST:
            self._until.popitem(last=False)

    def stays(self, key: str, conversation: str) -> bool:
        """Whether it asked once, not too long ago."""
        until = self._until.get((key, conversation))
        if until is None:
            return False
        if until < self._clock():
            del self._until[key, conversation]
            return False
        return True
