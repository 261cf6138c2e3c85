"""What the tests of the sandbox share, and when they cannot run."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.sandbox.outside import descendants
from understudy.sandbox import Limits, Sandbox

# So small that a test of a limit is over soon. On a busy machine a program that does nothing may
# take seconds.
LIMITS = Limits(seconds=4.0, wall=20.0, memory=128 << 20, output=1 << 16, disk=4 << 20)


@functools.cache
def why_not() -> str:
    """Why nothing can be confined here; empty where it can. Asked of bubblewrap, not of our code.

    One within the other, because every program gets namespaces of its own within the server's.
    """
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    outer = ["bwrap", "--unshare-user", "--unshare-pid", "--uid", "1000", "--gid", "1000"]
    outer += ["--ro-bind", "/", "/", "--proc", "/proc"]
    inner = ["bwrap", "--unshare-user", "--ro-bind", "/", "/", "true"]
    done = subprocess.run([*outer, *inner], capture_output=True, text=True, timeout=300)
    return f"bubblewrap may not do its work here: {done.stderr.strip()}" if done.returncode else ""


@pytest.fixture(scope="session")
def walls() -> None:
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def sandbox(walls: None) -> Iterator[Sandbox]:
    before = descendants()
    with Sandbox(workers=2, limits=LIMITS) as sandbox:
        yield sandbox
    assert descendants() <= before
