"""How much memory this process has held, and how much there is, in bytes."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

_STATUS, _RESET, _MACHINE = "/proc/self/status", "/proc/self/clear_refs", "/proc/meminfo"


def forget_peak(device: str) -> None:
    """Let a peak be counted from now on, where the system can do that."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats()
        return
    try:
        Path(_RESET).write_text("5")
    except OSError:
        return  # the peak then is that of the whole process


def held(device: str) -> int:
    """What is held now."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.memory_allocated())
    found = _read(_STATUS, "VmRSS")
    return peak(device) if found is None else found


def peak(device: str) -> int:
    """The most that was held since then: in the device, or of the machine's memory."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated())
    if (found := _read(_STATUS, "VmHWM")) is not None:
        return found
    try:
        import resource
    except ImportError:  # a system without it
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def available(device: str) -> int | None:
    """What is there for this process: on a GPU all of it, else what is free; None: not known."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info()[1])
    if (found := _read(_MACHINE, "MemAvailable")) is not None:
        return found
    return total(device)


def total(device: str) -> int | None:
    """What the machine, or the GPU, has in all; None: not known."""
    if device.startswith("cuda"):
        return available(device)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _read(path: str, name: str) -> int | None:
    try:
        found = re.search(rf"^{name}:\s*(\d+) kB", Path(path).read_text(), re.M)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
