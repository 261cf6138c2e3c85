"""The versions and the machine that results depend on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pydantic")


def environment() -> dict[str, str]:
    found = {"understudy": _version("understudy"), "python": platform.python_version()}
    found |= {name: _version(name) for name in _PACKAGES}
    import torch

    found |= {"platform": platform.platform(), "processor": _processor()}
    found |= {"cores": str(os.cpu_count()), "cuda": str(torch.cuda.is_available())}
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [
                line.partition(":")[2].strip() for line in file if line.startswith("model name")
            ]
        return names[0] if names else platform.processor()
    except OSError:
        return platform.processor()
