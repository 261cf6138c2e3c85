"""The judge's end of what leads to the program's process: what comes in is noted and limited."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import Any, NamedTuple

from understudy.sandbox.inside import wire


class Files(NamedTuple):
    """The judge's ends of what leads to the program's process, and to the one that started it."""

    control: int
    stdin: int
    stdout: int
    stderr: int
    status: int


class Stop(BaseException):
    """No further test can pass. No `except Exception` of a test's swallows it."""

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(outcome, detail)
        self.outcome, self.detail = outcome, detail


class Connection:
    def __init__(self, files: Files, wall: float, output: int) -> None:
        self.files, self.output = files, output
        self.started = time.monotonic()
        self.deadline = self.started + wall
        self.texts = {files.stdout: bytearray(), files.stderr: bytearray()}
        self.answers = bytearray()
        self.status = ""  # how the program's process ended, a line
        self.stdin = b""
        self.count = 0  # bytes that came from the program, by whatever way
        self.stopped: Stop | None = None
        self.watched = select.poll()
        for file in files:
            os.set_blocking(file, False)
        for file in (files.control, files.stdout, files.stderr, files.status):
            self.watched.register(file, select.POLLIN)

    def stop(self, outcome: str, detail: str) -> Stop:
        self.stopped = self.stopped or Stop(outcome, detail)
        return self.stopped

    # What comes in and goes out.

    def pump(self) -> None:
        """Wait for something from the program and note it; stop if it is too much or too late."""
        left = self.deadline - time.monotonic()
        ready = self.watched.poll(left * 1000) if left > 0 else []
        if not ready:
            raise self.stop("timeout", "out of time")
        for file, event in ready:
            if file == self.files.stdin:
                self._feed(event)
            else:
                self._take(file)

    def send(self, message: Any) -> None:
        data = memoryview(wire.frame(message))
        writable = select.poll()
        writable.register(self.files.control, select.POLLOUT)
        while data:
            left = self.deadline - time.monotonic()
            if left <= 0 or not writable.poll(left * 1000):
                raise self.stop("timeout", "out of time")
            try:
                data = data[os.write(self.files.control, data) :]
            except BlockingIOError:
                continue
            except OSError:  # the other end is closed
                raise self.stop(*self._ending()) from None

    def _feed(self, event: int) -> None:
        try:
            if event & select.POLLOUT:
                self.stdin = self.stdin[os.write(self.files.stdin, self.stdin[:65536]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it reads no further, as it may
            self.stdin = b""
        if not self.stdin or event & (select.POLLERR | select.POLLHUP):
            self.watched.unregister(self.files.stdin)
            os.close(self.files.stdin)

    def _take(self, file: int) -> bool:
        """Read once; whether there was anything."""
        try:
            data = os.read(file, 1 << 16)
        except BlockingIOError:
            return False
        except OSError:  # a socket whose other end went away with data unread
            data = b""
        if file == self.files.status:
            self.status += data.decode()
            if self.status.startswith("sandbox:"):
                raise self.stop("sandbox", self.status.removeprefix("sandbox:").strip())
        elif data:
            self.count += len(data)
            (self.answers if file == self.files.control else self.texts[file]).extend(data)
            if self.count > self.output:
                raise self.stop("output", f"more than {self.output} bytes of output")
        if not data:
            self.watched.unregister(file)
            if file == self.files.control:
                raise self.stop(*self._ending())
        return bool(data)

    def _ending(self) -> tuple[str, str]:
        """The program's process no longer speaks: why?"""
        self.watched = select.poll()
        self.watched.register(self.files.status, select.POLLIN)
        until = time.monotonic() + 2.0
        while not self.status.endswith("\n") and (left := until - time.monotonic()) > 0:
            if self.watched.poll(left * 1000) and not self._take(self.files.status):
                break
        if not self.status.endswith("\n"):
            return "crashed", "it closed its connection before the last test"
        leaving = f"it left with {self.status.strip()} before the last test"
        return self.death() or ("crashed", leaving)

    def death(self) -> tuple[str, str] | None:
        kind, number = self.status.split()
        if kind != "signal":
            return None
        names = {each.value: each.name for each in signal.Signals}
        name = names.get(int(number), f"signal {number}")
        return "timeout" if name == "SIGXCPU" else "crashed", f"it died of {name}"

    def drain(self) -> None:
        """Take what is left of its output; what it still writes from now on is not waited for."""
        for file in self.texts:
            with contextlib.suppress(KeyError):  # no longer watched, as it was read to its end
                while self._take(file):
                    pass

    def message(self) -> dict[str, Any]:
        """The next one from the program, after all of it has come."""
        while (found := wire.unframe(self.answers)) is None:
            if self.stopped:
                raise self.stopped
            self.pump()
        if not isinstance(found, dict):
            raise self.stop("crashed", "it answered with what is no answer")
        return found

    def run_to_end(self, stdin: bytes) -> None:
        """Feed it, and note what it writes, until it has ended."""
        self.watched.unregister(self.files.control)
        os.close(self.files.control)
        self.stdin = stdin
        self.watched.register(self.files.stdin, select.POLLOUT)
        while not self.status.endswith("\n"):
            self.pump()
        self.drain()  # whoever could still write died with the process

    def text(self, file: int) -> str:
        return self.texts[file].decode("utf-8", "replace")
