"""Server-sent events: the data of each, from bytes that are cut anywhere."""

from __future__ import annotations

DONE = b"[DONE]"  # the data of a stream's last event


class EventData:
    """Takes bytes as they come and gives the data of every event that they complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return self._read(lines)

    def end(self) -> list[bytes]:
        """The end of the connection ends the last event too, if only by a cut."""
        lines, self._rest = [self._rest, b""], b""
        return self._read(lines)

    def _read(self, lines: list[bytes]) -> list[bytes]:
        found = []
        for line in lines:
            line = line.rstrip(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                found.append(b"\n".join(self._data))
                self._data = []
        return found
