"""The folder of a checkpoint: inside the package, on disk, or by its name on the Hugging Face hub.

Nothing heavy is imported, so a setting is checked at once.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from understudy.errors import CheckpointError
from understudy.models import gguf

TINY = Path(__file__).parent / "tiny"
ADAPTER = "adapter_config.json"  # of an adapter beside a model
_CONFIGS = ("config.json", ADAPTER)
_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")
_WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
_UNWANTED = ["consolidated*", "original/*", "onnx/*"]  # the same weights once more


def resolve(model: str) -> Path:
    """The folder behind a `model` setting: `tiny` is the one inside the package, a name of the
    form `org/name[@revision]` that is no folder here is one of the hub's, a GGUF file is
    unpacked."""
    if gguf.names_gguf(model):
        return gguf.unpacked(model)
    folder = TINY if model == "tiny" else Path(model)
    if is_hub_name(model) and not folder.exists():
        folder = snapshot(model)
    if folder.parent == gguf.cache() and not folder.exists():
        raise CheckpointError(
            f"model={model}: no checkpoint there: what was unpacked from a GGUF file has gone; "
            "load that file once, and it is there again"
        )
    if not any((folder / name).is_file() for name in _CONFIGS):
        why = "config.json is missing" if folder.exists() else "there is no such folder"
        raise CheckpointError(
            f"model={model}: no checkpoint there ({why}); give "
            + (
                _file_in(folder)
                or "'tiny', the path of a transformers checkpoint folder, a GGUF "
                "file, or a name of the hub"
            )
        )
    return folder


def check(model: str) -> None:
    """Refuse what is no model, as `resolve` does, without unpacking a file."""
    if gguf.names_gguf(model):
        gguf.locate(model)
    else:
        resolve(model)


def _file_in(folder: Path) -> str | None:
    """The GGUF file in a folder that holds no checkpoint."""
    return next((str(path) for path in sorted(folder.glob(f"*{gguf.SUFFIX}"))), None)


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
        raise CheckpointError(
            f"model={model}: no such folder, and the hub does not give it "
            f"({type(error).__name__}); make a run there with `understudy train`, or check "
            "the hub's name, the network and HF_HOME"
        ) from error
    return Path(folder)


def read_config(folder: Path) -> dict[str, Any]:
    """What a checkpoint's config.json says."""
    path = folder / "config.json"
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path}: is not a JSON object; copy it again")
    return raw
