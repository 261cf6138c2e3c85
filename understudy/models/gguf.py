"""Models in GGUF files, as llama.cpp, LM Studio and Ollama keep them.

A file is unpacked once, through transformers, to an ordinary checkpoint folder in the user's cache.
Nothing heavy is imported before it is unpacked.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.errors import CheckpointError
from understudy.files import write_folder
from understudy.models.gguf_rotary import add_scaling
from understudy.progress import task

if TYPE_CHECKING:
    import torch

SUFFIX = ".gguf"
_MAGIC = b"GGUF"
_ON_HUB = re.compile(r"(?P<name>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[\w./-]+))?:(?P<file>[^:]+)")
_FORMAT = 1  # of the unpacked folders; one of another format is made anew


def names_gguf(model: str) -> bool:
    """Whether a `model` setting is a file: `path/file.gguf`, a file that has no suffix (Ollama's),
    or `org/name[@revision]:file.gguf`."""
    return model.lower().endswith(SUFFIX) or Path(model).is_file()


def locate(model: str) -> Path:
    """The file that is meant, downloaded where needed; what is no GGUF file is refused."""
    path, on_hub = Path(model), _ON_HUB.fullmatch(model)
    if on_hub and not path.exists():
        path = _downloaded(model, on_hub)
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise CheckpointError(f"model={model}: cannot be read ({error.strerror})") from error
    if magic != _MAGIC:
        raise CheckpointError(
            f"model={model}: is no GGUF file; give a GGUF file, or the folder of a checkpoint"
        )
    return path


def unpacked(model: str) -> Path:
    """The checkpoint folder of a GGUF file, made where there is none yet."""
    path = locate(model)
    with task(f"reading {path.name}"):
        folder = _folder_of(path)
    if folder.is_dir():
        return folder
    try:
        from filelock import FileLock

        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):  # one process unpacks, others wait
            if not folder.is_dir():
                with task(f"unpacking {path.name}, once"):
                    write_folder(folder, lambda temporary: _unpack(model, path, temporary))
    except ImportError as error:
        raise _missing(model, error) from error
    except OSError as error:
        raise CheckpointError(
            f"model={model}: cannot be unpacked to {folder} ({error}); XDG_CACHE_HOME may name "
            "another place"
        ) from error
    return folder


def packed_parameters(model: str) -> int | None:
    """How many parameters a file has that is not unpacked yet, from its header; else None."""
    if not names_gguf(model):
        return None
    path = locate(model)
    if _folder_of(path).is_dir():
        return None
    try:
        return sum(int(tensor.n_elements) for tensor in _opened(model, path).tensors)
    except ImportError as error:
        raise _missing(model, error) from error


@dataclass(frozen=True, slots=True)
class Packed:
    """What the header of a GGUF file says of its model; None is what it does not say."""

    architecture: str
    layers: int | None
    heads: int | None  # the most of any layer,
    kv_heads: int | None  # and here
    hidden_size: int | None
    vocabulary: int | None
    context: int | None
    tied_head: bool
    template: str | None
    kinds: dict[str, int]  # quantisation: numbers kept in it


def header_of(model: str) -> Packed:
    """Read a file's header; it is not unpacked."""
    path = locate(model)
    try:
        reader = _opened(model, path)
    except ImportError as error:
        raise _missing(model, error) from error

    def value(key: str, default: Any = None) -> Any:
        field = reader.get_field(key)
        return default if field is None else field.contents()

    kind = str(value("general.architecture"))

    def number(key: str, default: int | None = None) -> int | None:
        """The largest one, where layers differ."""
        found = value(f"{kind}.{key}", default)
        return max(map(int, found), default=default) if isinstance(found, list) else found

    heads = number("attention.head_count")
    kept: Counter[str] = Counter()
    for tensor in reader.tensors:
        kept[tensor.tensor_type.name] += int(tensor.n_elements)
    names = {tensor.name: tensor for tensor in reader.tensors}
    rows = names["token_embd.weight"].shape if "token_embd.weight" in names else None
    return Packed(
        architecture=kind,
        layers=number("block_count"),
        heads=heads,
        kv_heads=number("attention.head_count_kv", heads),
        hidden_size=number("embedding_length"),
        vocabulary=None if rows is None else int(rows[-1]),
        context=number("context_length"),
        tied_head="output.weight" not in names,
        template=value("tokenizer.chat_template"),
        kinds=dict(kept.most_common()),
    )


def is_unpacked(model: str) -> bool:
    return _folder_of(locate(model)).is_dir()


def unpacked_again(base: str, source: str) -> str:
    """The base of an adapter, or, where its folder has gone, what `source` is unpacked to.

    source: the model of the run that the adapter belongs to. It must be the file that the base was
    unpacked from, or else the base is returned as it is.
    """
    if Path(base).is_dir() or not Path(base).is_absolute() or not names_gguf(source):
        return base
    folder = unpacked(source)
    return str(folder) if folder.name == Path(base).name else base


def cache() -> Path:
    """Where unpacked files are kept; deleting it costs nothing but time."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "understudy" / "gguf"


def _missing(model: str, error: ImportError) -> CheckpointError:
    return CheckpointError(
        f"model={model}: a GGUF file needs {error.name}; pip install 'understudy[models]'"
    )


def _folder_of(path: Path) -> Path:
    """Named by the content, so that a copied or renamed file finds what was unpacked."""
    there = path.stat()
    digest = _digest(path.absolute(), there.st_size, there.st_mtime_ns)
    return cache() / f"{digest[:32]}-{_FORMAT}"


@lru_cache
def _digest(path: Path, size: int, modified: int) -> str:
    """Of a file's content, read once in a process while its size and time stay."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _downloaded(model: str, on_hub: re.Match[str]) -> Path:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise CheckpointError(
            f"model={model}: no such file, and a file of the hub needs huggingface_hub; "
            "pip install 'understudy[models]'"
        ) from error
    try:
        return Path(hf_hub_download(on_hub["name"], on_hub["file"], revision=on_hub["revision"]))
    except (OSError, ValueError) as error:  # all of huggingface_hub's are one or the other
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise CheckpointError(
            f"model={model}: no such file, and the hub does not give it ({reason[:300]}); "
            "check the name, the network and HF_HOME, or give a local file"
        ) from error


def _unpack(model: str, path: Path, folder: Path) -> None:
    """Write a file's weights, tokenizer and chat template as transformers does."""
    reader = _opened(model, path)
    place = {"pretrained_model_name_or_path": path.parent.absolute(), "gguf_file": path.name}
    try:
        # Their bars of progress would stand between ours.
        with contextlib.redirect_stderr(io.StringIO()):
            network, found = _read(place, _dtype(reader))
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(**place)
            if missing := sorted(found["missing_keys"]):
                raise CheckpointError(
                    f"model={model}: has no weights for {missing[0]} (of {len(missing)}); "
                    "copy it again"
                )
            add_scaling(network.config, reader, model)
            network.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except (CheckpointError, ImportError, OSError):
        raise
    except Exception as error:  # transformers, gguf and tokenizers raise what they like
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CheckpointError(
            f"model={model}: transformers cannot read this GGUF file ({reason[:300]}); give the "
            "model's own checkpoint, or another quantisation"
        ) from error


def _read(place: dict[str, Any], dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    import accelerate  # noqa: F401  transformers needs it for this; its absence is said here
    import transformers

    options: dict[str, Any] = {"dtype": dtype, "output_loading_info": True}
    if whole := getattr(transformers, "GgufConfig", None):  # newer ones keep weights packed else
        options["quantization_config"] = whole(dequantize=True)
    read: tuple[Any, dict[str, Any]] = transformers.AutoModelForCausalLM.from_pretrained(
        **place, **options
    )
    return read


def _opened(model: str, path: Path) -> Any:
    """A file's header and tensors, by the gguf package; a part of a model is refused."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
    except Exception as error:  # whatever bytes in the wrong place lead to
        reason = " ".join(str(error).split())
        if "GGMLQuantizationType" in reason:
            raise CheckpointError(
                f"model={model}: its quantisation is unknown to the gguf package ({reason}); "
                "give another quantisation, or update gguf"
            ) from error
        raise CheckpointError(
            f"model={model}: is broken or truncated ({reason[:200]}); copy it again"
        ) from error
    parts = reader.get_field("split.count")
    if parts is not None and int(parts.contents()) > 1:
        raise CheckpointError(
            f"model={model}: is one of {parts.contents()} files; put them together with "
            "`llama-gguf-split --merge` and give the one that it writes"
        )
    return reader


def _dtype(reader: Any) -> torch.dtype:
    """How exactly the weights must be kept: what is packed below 8 bits fits bfloat16."""
    import torch

    kinds = {tensor.tensor_type.name for tensor in reader.tensors if len(tensor.shape) > 1}
    if "F32" in kinds:
        return torch.float32
    return torch.float16 if kinds & {"F16", "Q8_0"} else torch.bfloat16
