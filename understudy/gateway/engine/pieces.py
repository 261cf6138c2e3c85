"""How many tokens of prompts a pass reads: so many that those who write do not wait long."""

from __future__ import annotations

_SMALLEST, _LARGEST = 16, 512


class PieceSize:
    """Halved where a pass takes longer than it should, doubled where one takes less than half.

    fixed: a size that does not change; seconds: that a pass may take.

    >>> pieces = PieceSize(None, 0.1)
    >>> pieces.after(64, 0.25); pieces.size
    32
    >>> pieces.after(32, 0.01); pieces.after(3, 0.01); pieces.size
    64
    """

    def __init__(self, fixed: int | None, seconds: float) -> None:
        self.size = fixed or 4 * _SMALLEST
        self._fixed, self._seconds = fixed is not None, seconds

    def after(self, read: int, seconds: float) -> None:
        """A pass has read so many tokens of prompts; one that read less tells nothing of more."""
        if self._fixed or not read:
            return
        if seconds > self._seconds:
            self.size = max(_SMALLEST, self.size // 2)
        elif seconds < self._seconds / 2 and read >= self.size:
            self.size = min(_LARGEST, self.size * 2)
