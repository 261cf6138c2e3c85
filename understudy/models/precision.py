"""Threads and the precision of products, where they are not set.

torch is loaded for large models alone, so that a plan of a small run is printed at once.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

from understudy.errors import CheckpointError
from understudy.models.gguf import packed_parameters
from understudy.models.hub import ADAPTER, resolve

# Up to here a model is so small that threads and casts cost more than they save.
SMALL = 5_000_000


def chosen_threads(parameters: int, processes: int = 1) -> int:
    """One thread for a small model; else the cores that this process may use, or as many threads
    as OMP_NUM_THREADS says, which torch obeys too.

    processes: how many of ours share them.
    """
    if parameters < SMALL:
        return 1
    return max(1, _cores() // processes)


def _cores() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # by level of nesting
    if asked.isdecimal() and int(asked):
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # a system that binds no process to some of its cores


def chosen_bf16(parameters: int, device: str) -> bool:
    """Whether products are in bfloat16: where the processor has them, for no small model."""
    if parameters < SMALL:
        return False
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return kind == "cpu" and any(native_bf16().values())


def native_bf16() -> dict[str, bool]:
    """Which instructions for products in bfloat16 the processor has."""
    import torch

    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return {name: bool(known.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16")}


def base_folder(model: str) -> Path:
    """The folder with a model's weights and tokenizer: that of its base, where it is an adapter."""
    folder = resolve(model)
    if not (folder / ADAPTER).is_file():
        return folder
    from understudy.models import adapters  # loads torch

    base, _, _ = adapters.read_config(folder)
    return resolve(base)


def parameters_of(model: str) -> int:
    """How many parameters a model has, read from the headers of its files alone."""
    if packed := packed_parameters(model):
        return packed
    folder = base_folder(model)
    if counted := sum(math.prod(shape) for _, shape in headers_of(folder)):
        return counted
    # Older files hold nothing but their numbers, most often of 4 or of 2 bytes.
    return sum(path.stat().st_size for path in folder.glob("*.bin")) // 4


def headers_of(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """(type, shape) of every tensor in a folder's files of safetensors."""
    whole = folder / "model.safetensors"
    files = [whole] if whole.is_file() else sorted(folder.glob("*.safetensors"))
    for path in files:
        yield from _header(path)


def _header(path: Path) -> list[tuple[str, list[int]]]:
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        entries = [entry for name, entry in header.items() if name != "__metadata__"]
        return [(str(entry["dtype"]), [int(size) for size in entry["shape"]]) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, MemoryError, AttributeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); copy it again") from error
