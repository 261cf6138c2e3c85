"""What ended requests have read, kept for the next turn of their conversation."""

from __future__ import annotations

from collections import OrderedDict

from understudy.gateway.engine.lane import KeptRow
from understudy.gateway.engine.prefixes import SHORTEST, Tokens, common


class History:
    """Rows by their version and tokens; those used least recently go first."""

    def __init__(self, most: int) -> None:
        self.most, self.size = most, 0  # bytes
        self._kept: OrderedDict[tuple[str, Tokens], KeptRow] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, tokens: Tokens, row: KeptRow) -> None:
        """In place of those that a conversation has gone on from."""
        if row.size > self.most:
            return
        for key in [key for key in self._kept if key[0] == row.version]:
            if tokens[: len(key[1])] == key[1]:
                self._drop(key)
        self._kept[row.version, tokens] = row
        self.size += row.size
        while self.size > self.most:
            self._drop(next(iter(self._kept)))

    def find(self, version: str, prompt: Tokens, above: int) -> tuple[KeptRow, int] | None:
        """The row that has most of a prompt's leading tokens, and how many; None where that spares
        too little beyond `above` tokens. At least one token of the prompt is left."""
        best, most = None, above + SHORTEST - 1
        for key, row in self._kept.items():
            if key[0] != version:
                continue
            count = min(common(prompt, key[1]), len(prompt) - 1)
            if count > most and count > (row.after.count if row.after else 0):
                best, most = key, count
        if best is None:
            return None
        self._kept.move_to_end(best)
        return self._kept[best], most

    def forget(self, version: str) -> None:
        for key in [key for key in self._kept if key[0] == version]:
            self._drop(key)

    def _drop(self, key: tuple[str, Tokens]) -> None:
        self.size -= self._kept.pop(key).size
