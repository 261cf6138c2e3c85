"""The states of actors and carriers in one file, from which a run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy.actors.packing import PackingError, packed, unpacked
from understudy.errors import CheckpointError
from understudy.files import flush_to_disk


def save_states(path: Path, content: Any) -> None:
    """Any content of plain values, arrays and records. The folder it lies in is renamed when it is
    whole; see write_folder."""
    path.write_bytes(packed(content))
    flush_to_disk(path)


def load_states(path: Path) -> Any:
    try:
        return unpacked(path.read_bytes(), trusted=True)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except PackingError as error:
        raise CheckpointError(f"{path} holds no states of actors: {error}") from error
