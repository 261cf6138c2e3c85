"""What tells the weights of an adapter's folder from any others. Needs no torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

from understudy.errors import CheckpointError

WEIGHTS = "adapter_model.safetensors"


def adapter_digest(folder: Path) -> str:
    """SHA-256 of adapter_model.safetensors, as sha256sum prints it."""
    return digest_of(read_weights(folder))


def read_weights(folder: Path) -> bytes:
    path = folder / WEIGHTS
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); copy it again") from error


def digest_of(weights: bytes) -> str:
    return hashlib.sha256(weights).hexdigest()
