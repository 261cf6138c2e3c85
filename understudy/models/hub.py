"""Checkpoints by their name on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from understudy.errors import CheckpointError

_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")
_WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
_UNWANTED = ["consolidated*", "original/*", "onnx/*"]  # the same weights once more


def is_hub_name(model: str) -> bool:
    """Whether a string has the form `org/name` or `org/name@revision`."""
    return _NAME.fullmatch(model) is not None


def snapshot(model: str) -> Path:
    """The folder of `org/name[@revision]` in the hub's local cache, downloaded where needed.

    HF_HOME and HF_HUB_OFFLINE mean what they mean everywhere.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise CheckpointError(
            f"model={model}: no such folder, and a model of the hub needs huggingface_hub; "
            "pip install 'understudy[models]'"
        ) from error
    name, _, revision = model.partition("@")
    try:
        folder = snapshot_download(
            name, revision=revision or None, allow_patterns=_WANTED, ignore_patterns=_UNWANTED
        )
    except (OSError, ValueError) as error:  # all of huggingface_hub's are one or the other
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise CheckpointError(
            f"model={model}: no such folder, and the hub does not give it ({reason[:300]}); "
            "check the name, the network and HF_HOME, or give a local folder"
        ) from error
    return Path(folder)
