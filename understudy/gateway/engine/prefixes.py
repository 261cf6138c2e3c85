"""What prompts begin with, kept across requests; each version has its own, memory is bounded."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence

from understudy.gateway.engine.lane import SharedPrefix

SHORTEST = 16  # tokens; fewer are read sooner than looked up
_AT_ONCE = 64  # tokens that are compared at once
_ALIGNED = 16  # prompts of unknown parts are cut at whole multiples of this
_REMEMBERED = 16  # prompts whose tokens, not states, are remembered, whatever their version

Tokens = tuple[int, ...]


class Prefixes:
    """Prefixes by version and tokens; those used least recently go first."""

    def __init__(self, most: int) -> None:
        self.most, self.size = most, 0  # bytes
        self._kept: OrderedDict[tuple[str, Tokens], SharedPrefix] = OrderedDict()
        self._seen: deque[Tokens] = deque(maxlen=_REMEMBERED)

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, version: str, tokens: Tokens) -> SharedPrefix | None:
        found = self._kept.get((version, tokens))
        if found is not None:
            assert found.version == version, "a prefix of another version"
            self._kept.move_to_end((version, tokens))
        return found

    def keep(self, tokens: Tokens, prefix: SharedPrefix) -> None:
        """Rows that follow a prefix keep it alive, whether or not it is found here."""
        self._kept[prefix.version, tokens] = prefix
        self.size += prefix.size
        while self.size > self.most:
            _, oldest = self._kept.popitem(last=False)
            self.size -= oldest.size

    def forget(self, version: str) -> None:
        """Let go of all that was read under a version."""
        for key in [key for key in self._kept if key[0] == version]:
            self.size -= self._kept.pop(key).size

    def begun(self, prompt: Tokens, known: int) -> int:
        """How many leading tokens of a prompt should be kept for others; at least one is left.

        known: as far as its messages are known to be those of others, too. A prompt of which
        nothing is known is held against those that came before it.
        """
        count = known
        if not known:
            longest = max((common(prompt, other) for other in self._seen), default=0)
            count = min(longest, len(prompt) - 1) // _ALIGNED * _ALIGNED
            self._seen.append(prompt)
        count = min(count, len(prompt) - 1)
        return count if count >= SHORTEST else 0


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many leading tokens two prompts have in common."""
    count, shortest = 0, min(len(first), len(second))
    while count < shortest and first[count : count + _AT_ONCE] == second[count : count + _AT_ONCE]:
        count += _AT_ONCE
    for one, other in zip(first[count:], second[count:], strict=False):
        if one != other:
            break
        count += 1
    return min(count, shortest)
