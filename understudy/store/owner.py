"""Which process made a hold, so that those of a process that is gone can be told on its machine."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

_LIVING: set[str] = set()  # tokens of this process


@dataclass(frozen=True, slots=True)
class Owner:
    """A process: where it runs, its number there, and a token, since numbers are used again."""

    machine: str
    process: int
    token: str

    @classmethod
    def mine(cls) -> Owner:
        owner = cls(_machine(), os.getpid(), secrets.token_hex(6))
        _LIVING.add(owner.token)
        return owner

    def end(self) -> None:
        """Its holds are nobody's any more."""
        _LIVING.discard(self.token)

    @classmethod
    def named(cls, name: str) -> Owner:
        machine, process, token = name.rsplit(" ", 2)
        return cls(machine, int(process), token)

    @property
    def name(self) -> str:
        return f"{self.machine} {self.process} {self.token}"

    def is_gone(self) -> bool:
        """Surely. False too where that cannot be known from here, or its number has a new user."""
        if self.machine != _machine():
            return False
        if self.process == os.getpid():  # the first process of a container always has number 1
            return self.token not in _LIVING
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


def _machine() -> str:
    """The running system and, where there are several, the space in which processes are counted."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink().name}"
    except OSError:
        return socket.gethostname()
