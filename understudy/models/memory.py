"""How much memory this process has held, and how much there is, in bytes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

_STATUS, _RESET, _MACHINE = "/proc/self/status", "/proc/self/clear_refs", "/proc/meminfo"
_GROUPS = Path("/sys/fs/cgroup")
_LIMITS = (  # of control groups, in their second and first version: limit, use, and of that files
    # which are given back as soon as memory is short
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)


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
    """What is free: of the GPU, or of the machine's memory and of what a container may use; None:
    not known."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    container = limits()
    left = None if container is None else max(0, container[0] - container[1])
    return _least(_read(_MACHINE, "MemAvailable"), left)


def whole(device: str) -> int | None:
    """All there is, used or free: of the GPU, or of the machine and of what a container may use;
    None: not known."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[1])
    container = limits()
    return _least(_read(_MACHINE, "MemTotal"), None if container is None else container[0])


def limits(groups: Path = _GROUPS) -> tuple[int, int] | None:
    """What this process's control group may use, and what it uses without idle copies of files;
    None where it has no limit."""
    for limit, used, details, idle in _LIMITS:
        try:
            allowed, taken = ((groups / name).read_text().strip() for name in (limit, used))
        except OSError:
            continue
        if allowed.isdigit() and taken.isdigit():  # else 'max': no limit
            return int(allowed), max(0, int(taken) - _of_stat(groups / details, idle))
    return None


def _of_stat(path: Path, name: str) -> int:
    """A figure of a control group's memory.stat; 0 where there is none."""
    try:
        found = re.search(rf"^{name} (\d+)$", path.read_text(), re.M)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _least(*found: int | None) -> int | None:
    return min((each for each in found if each is not None), default=None)


def _read(path: str, name: str) -> int | None:
    try:
        found = re.search(rf"^{name}:\s*(\d+) kB", Path(path).read_text(), re.M)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
