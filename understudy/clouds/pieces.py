"""The pieces of an answer on their way to a reader, without the secret that a cloud was sent."""

from __future__ import annotations

from collections.abc import Callable


class Pieces:
    """Passes texts on. What may be the beginning of the secret waits until more is known."""

    def __init__(self, take: Callable[[str], None], secret: str | None) -> None:
        self._take, self._secret = take, secret
        self._kept = ""

    def add(self, text: str) -> None:
        text = self._kept + text
        if self._secret is None:
            self._pass_on(text, 0)
            return
        text = text.replace(self._secret, "[key]")
        begun = range(min(len(text), len(self._secret) - 1), 0, -1)
        self._pass_on(text, next((n for n in begun if self._secret.startswith(text[-n:])), 0))

    def close(self) -> None:
        """Nothing comes any more."""
        self._pass_on(self._kept, 0)

    def _pass_on(self, text: str, kept: int) -> None:
        ready, self._kept = text[: len(text) - kept], text[len(text) - kept :]
        if ready:
            self._take(ready)
