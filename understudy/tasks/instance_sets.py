"""Labelled instances by name: generated, in a file, in a folder, or from a function."""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy.errors import ConfigError, UnderstudyError
from understudy.registry import named_function, reason_of
from understudy.tasks.instances import Instances, generated_instances

_HIGHEST_LABEL = 2**20
_BYTES = 8  # the kind of numbers in an idx file: unsigned bytes


def load_instances(spec: str, options: Mapping[str, Any]) -> Instances:
    """What the setting `data` names, checked: x (n, ..) and label (n,), class numbers from 0.

    generated; an .npz file with arrays x and label (or y); a folder of idx or idx.gz files, as
    MNIST comes; module:function or file.py:function, which returns (x, label) or Instances.
    options are given to the function, or to what generates. Fractions become float32, whole
    numbers int64.
    """
    path = Path(spec).expanduser()
    if spec == "generated":
        return checked_instances(spec, _called(spec, generated_instances, options))
    from_file = spec.endswith(".npz") or path.is_dir()
    if from_file and options:
        raise ConfigError(
            f"data={spec}: takes no data_options, but {', '.join(options)} is given; "
            "they are for 'generated' and for functions"
        )
    if from_file:
        return checked_instances(spec, _in_folder(path) if path.is_dir() else _in_npz(path))
    if ":" not in spec:
        what = "is no such file or folder" if path.exists() else "nothing there"
        raise ConfigError(
            f"data={spec}: {what}; write generated, an .npz file, a folder of idx files, "
            "module:function or file.py:function"
        )
    return checked_instances(spec, _called(spec, named_function("data", spec), options))


def _called(spec: str, function: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    try:
        found = function(**options)
    except UnderstudyError:
        raise
    except Exception as error:
        raise ConfigError(f"data={spec}: {reason_of(error)}") from error
    if isinstance(found, Instances):
        return found.x, found.label
    return found


def checked_instances(spec: str, found: Any) -> Instances:
    """(x, label) as instances. spec: for a refusal."""
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise ConfigError(
            f"data={spec}: gave a {type(found).__name__}; return (x, label) or Instances"
        )
    x, label = (_tensor(spec, name, each) for name, each in zip(("x", "label"), found, strict=True))
    if x.dim() < 2 or label.dim() != 1 or len(x) != len(label) or not x.numel():
        raise ConfigError(
            f"data={spec}: x is {list(x.shape)} and label {list(label.shape)}; "
            "x must be (n, ..) and label (n,), with n of at least 1"
        )
    for name, each in (("x", x), ("label", label)):
        if not bool(each.isfinite().all()):
            raise ConfigError(
                f"data={spec}: {name} has values that are not finite; correct the file"
            )
    whole = label.long()
    if not torch.equal(whole.to(label.dtype), label):
        raise ConfigError(f"data={spec}: labels are class numbers, but there is {_odd(label)}")
    if int(whole.min()) < 0 or int(whole.max()) > _HIGHEST_LABEL:
        raise ConfigError(
            f"data={spec}: labels go from {int(whole.min())} to {int(whole.max())}; "
            f"number the classes from 0 to at most {_HIGHEST_LABEL}"
        )
    return Instances(x, whole)


def _odd(label: Tensor) -> float:
    return float(label[label != label.round()][0])


def _tensor(spec: str, name: str, value: Any) -> Tensor:
    """float32 where there are fractions, else int64."""
    try:
        array = value.detach().cpu() if isinstance(value, Tensor) else np.asarray(value)
        found = torch.as_tensor(array)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"data={spec}: {name} is no array: {reason_of(error)}") from error
    if found.is_complex():
        raise ConfigError(f"data={spec}: {name} is {found.dtype}; give real numbers")
    return found.to(torch.float32 if found.is_floating_point() else torch.int64)


def _in_npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if path.is_file() and not zipfile.is_zipfile(path):  # numpy would take it for a pickle
        raise ConfigError(f"data={path}: is no .npz file; write one with numpy.savez")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = list(arrays)
            x = arrays["x"] if "x" in names else None
            label = next((arrays[name] for name in ("label", "y") if name in names), None)
    except Exception as error:  # of zipfile, of numpy, of the disk
        raise ConfigError(f"data={path}: cannot be read: {reason_of(error)}") from error
    if x is None or label is None:
        raise ConfigError(
            f"data={path}: has arrays {', '.join(names) or 'none'}; it needs x and label (or y)"
        )
    return x, label


def _in_folder(folder: Path) -> tuple[Tensor, Tensor]:
    """The images of every pair of idx files, values in [0, 1]; training images come first."""
    images = _parts(folder.glob("*-images*idx?-ubyte*"), "-images")
    labels = _parts(folder.glob("*-labels*idx1-ubyte*"), "-labels")
    if not images or set(images) != set(labels):
        raise ConfigError(
            f"data={folder}: has images of {', '.join(sorted(images)) or 'nothing'} and labels of "
            f"{', '.join(sorted(labels)) or 'nothing'}; it needs pairs as "
            "train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz"
        )
    x, y = [], []
    for part in sorted(images, key=lambda name: (name != "train", name)):
        x.append(_idx(images[part]).float() / 255)
        y.append(_idx(labels[part]))
        if min(x[-1].dim() - 1, y[-1].dim()) < 1 or len(x[-1]) != len(y[-1]):
            raise ConfigError(
                f"data={folder}: {part} has images of {list(x[-1].shape)} and labels of "
                f"{list(y[-1].shape)}; there must be one label for each image"
            )
    if len({tuple(each.shape[1:]) for each in x}) > 1:
        sizes = [list(each.shape[1:]) for each in x]
        raise ConfigError(f"data={folder}: has images of sizes {sizes}; give one size")
    return torch.cat(x), torch.cat(y)


def _parts(files: Iterable[Path], mark: str) -> dict[str, Path]:
    """By what stands before the mark, as `train`; a file that is not compressed is preferred."""
    return {path.name.partition(mark)[0]: path for path in sorted(files, reverse=True)}


def _idx(path: Path) -> Tensor:
    """The array in an idx file: two zeros, kind, dimensions, their sizes, then the numbers."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"data={path}: cannot be read: {reason_of(error)}") from error
    if len(raw) < 4 or raw[:3] != bytes([0, 0, _BYTES]):
        raise ConfigError(f"data={path}: is no idx file of unsigned bytes; fetch it again")
    begin = 4 + 4 * raw[3]
    sizes = [int.from_bytes(raw[at : at + 4], "big") for at in range(4, begin, 4)]
    if len(raw) != begin + math.prod(sizes):
        raise ConfigError(
            f"data={path}: speaks of {sizes} bytes but has {len(raw) - begin}; fetch it again"
        )
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8)[begin:].view(sizes)
