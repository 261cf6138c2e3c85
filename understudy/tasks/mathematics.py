"""Mathematics decided by math-verify in another process, which nothing can stall."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from understudy.errors import ConfigError

Verdict = bool | str  # or why there is none

_SERVER = Path(__file__).with_name("mathematics_server.py")
_START_SECONDS = 300.0  # sympy alone is 700 modules, and the disk may be cold
_GRACE_SECONDS = 30.0
_PATIENCE = 20  # as the server's: its children are bounded first


class Mathematics:
    """Whether an answer equals a solution, as mathematics; started when first asked.

    seconds: the processor time that one pair may take. A pair that takes longer has no verdict;
    the others have theirs.
    """

    def __init__(self, workers: int = 2, seconds: float = 5.0) -> None:
        self.workers, self.seconds = workers, seconds
        self._process: subprocess.Popen[bytes] | None = None

    def decide_all(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """(solution, answer) each; a verdict each, or the reason why there is none."""
        if not pairs:
            return []
        line = json.dumps(pairs).encode() + b"\n"
        longest = _PATIENCE * self.seconds * -(-len(pairs) // self.workers) + _GRACE_SECONDS
        for _ in range(2):  # a server that died in between is started once more
            process = self._running()
            try:
                assert process.stdin is not None
                process.stdin.write(line)
                process.stdin.flush()
                verdicts = json.loads(_line(process, longest))
            except (OSError, EOFError):
                self.close()
                continue
            assert len(verdicts) == len(pairs)
            return list(verdicts)
        return ["the checking process died"] * len(pairs)

    def close(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()  # its children die with it
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            require_math_verify()
            # -P: the modules beside the script (calendar.py) must not hide the standard library's.
            command = [sys.executable, "-P", str(_SERVER), str(self.workers), str(self.seconds)]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            try:
                _line(self._process, _START_SECONDS)
            except EOFError:
                self.close()
                raise ConfigError(
                    "math-verify does not start; see python -c 'import math_verify'"
                ) from None
        return self._process


def _line(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """The next line it writes; EOFError where it dies or is silent for too long."""
    assert process.stdout is not None
    deadline, parts = time.monotonic() + seconds, b""
    while not parts.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        part = os.read(process.stdout.fileno(), 1 << 20) if ready else b""
        if not part:
            raise EOFError
        parts += part
    return parts


def require_math_verify() -> None:
    if find_spec("math_verify") is None:
        raise ConfigError(
            "mathematics is checked by math-verify, which is not installed; "
            "pip install 'understudy[data]'"
        )
