"""Server-sent events: the data of each, from bytes that are cut anywhere."""

from __future__ import annotations

DONE = b"[DONE]"  # the data of a stream's last event

LONGEST_EVENT = 16 * 2**20  # bytes: an image in a chunk has a few million


class OverlongEventError(ValueError):
    """An event that does not end would fill the memory."""


class EventData:
    """Takes bytes as they come and gives the data of every event that they complete."""

    def __init__(self, longest: int = LONGEST_EVENT) -> None:
        self._longest = longest  # bytes of an event
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Raises OverlongEventError."""
        end = piece.rfind(b"\n") + 1
        if not end:
            self._rest += piece
            self._check()
            return []
        lines = (bytes(self._rest) + piece[:end]).split(b"\n")[:-1]
        self._rest = bytearray(piece[end:])
        found = self._read(lines)
        self._check()
        return found

    def end(self) -> list[bytes]:
        """The end of the connection ends the last event too, if only by a cut."""
        lines, self._rest = [bytes(self._rest), b""], bytearray()
        return self._read(lines)

    def _check(self) -> None:
        if len(self._rest) + self._size > self._longest:
            self._rest, self._data, self._size = bytearray(), [], 0
            raise OverlongEventError(f"an event is longer than {self._longest} bytes")

    def _read(self, lines: list[bytes]) -> list[bytes]:
        found = []
        for line in lines:
            line = line.rstrip(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
                self._size += len(line)
            elif not line and self._data:
                found.append(b"\n".join(self._data))
                self._data, self._size = [], 0
        return found
