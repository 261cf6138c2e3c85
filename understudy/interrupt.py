"""Ctrl-C: before a command's work begins it ends the process at once, afterwards it is raised.

An interrupt that is raised while modules are imported comes out of them as a traceback, or as
another error. At that time nothing is open that would have to be closed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

CODE = 130  # what a shell reports of a command that was interrupted


def end_at_once() -> None:
    """From now on an interrupt ends the process with one line."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # nobody started us to ignore it
        signal.signal(signal.SIGINT, _end)


@contextmanager
def raised() -> Iterator[None]:
    """Within, an interrupt raises KeyboardInterrupt, so that what is open is closed."""
    before = signal.getsignal(signal.SIGINT)
    if before != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(CODE)
