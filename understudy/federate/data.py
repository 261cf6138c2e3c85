"""The samples that the setting `data` names: what ships, your own files, or a public set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from understudy.errors import ConfigError, UnderstudyError
from understudy.federate.samples import SampleSet, numbered
from understudy.federate.sources.digits import digits
from understudy.federate.sources.leaf import is_leaf, samples_of_leaf
from understudy.federate.sources.pictures import holds_pictures, pictures_of
from understudy.federate.sources.tables import samples_of_hub, samples_of_path
from understudy.models.hub import is_hub_name
from understudy.registry import named_function, reason_of
from understudy.tasks.instance_sets import checked_instances, load_instances
from understudy.tasks.instances import Instances, generated_instances

_TABLES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


def load_samples(spec: str, options: Mapping[str, Any] | None = None) -> SampleSet:
    """generated or digits; a folder or zip with pictures in a folder per class; a table (csv, tsv,
    jsonl, json, parquet) with columns text, label and perhaps client; LEAF's JSON, a file or a
    folder; a folder that `datasets` saved, or a set's name on the hub (org/name); an .npz file or a
    folder of idx files, of pictures; module:function or file.py:function, which returns (pictures
    or texts, labels) or a SampleSet.

    options are given to what reads it.
    """
    found = _read(spec, dict(options or {}))
    if not len(found):
        raise ConfigError(f"data={spec}: has no samples")
    if isinstance(found.raw, Tensor):
        _check_pictures(spec, found.raw)
    if len(found.classes) < 2:
        raise ConfigError(
            f"data={spec}: has one class, {found.classes[0]!r}; there must be two to tell apart"
        )
    return found


def _read(spec: str, options: dict[str, Any]) -> SampleSet:
    if spec == "generated":
        return _as_samples(spec, _called(spec, generated_instances, options))
    if spec == "digits":
        return _as_samples(spec, _called(spec, digits, options))
    path = Path(spec).expanduser()
    if path.exists():
        return _as_samples(spec, _called(spec, partial(_read_path, spec, path), options))
    if ":" in spec:
        return _as_samples(spec, _called(spec, named_function("data", spec), options))
    if is_hub_name(spec) and path.suffix not in (*_TABLES, ".zip", ".npz"):
        return _as_samples(spec, _called(spec, partial(samples_of_hub, spec), options))
    raise ConfigError(
        f"data={spec}: there is no such file or folder; write generated, digits, a folder or zip "
        "of pictures, a table, LEAF's JSON, an .npz file, a set's name on the hub (org/name), "
        "module:function or file.py:function"
    )


def _read_path(spec: str, path: Path, **options: Any) -> SampleSet:
    if path.suffix == ".npz" or (path.is_dir() and any(path.glob("*-images*idx?-ubyte*"))):
        return _as_samples(spec, load_instances(spec, options))
    if path.is_dir() and ((path / "dataset_dict.json").exists() or (path / "state.json").exists()):
        return samples_of_path(path, **options)
    if path.suffix == ".zip" or (path.is_dir() and holds_pictures(path)):
        return pictures_of(path, **options)
    if is_leaf(path):
        return samples_of_leaf(path, **options)
    return samples_of_path(path, **options)


def _called(spec: str, function: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    try:
        return function(**options)
    except UnderstudyError:
        raise
    except Exception as error:  # of a user's own function, or options that it does not take
        given = f" with data_options {', '.join(options)}" if options else ""
        raise ConfigError(f"data={spec}{given}: {reason_of(error)}") from error


def _as_samples(spec: str, found: Any) -> SampleSet:
    """What a function or a file of arrays gave."""
    if isinstance(found, SampleSet):
        return found
    if isinstance(found, tuple | list) and len(found) == 2 and _are_texts(found[0]):
        texts, labels = found
        if len(texts) != len(labels):
            raise ConfigError(f"data={spec}: gave {len(texts)} texts and {len(labels)} labels")
        classes, label = numbered([str(each) for each in labels])
        return SampleSet(tuple(texts), label, classes)
    instances = found if isinstance(found, Instances) else checked_instances(spec, found)
    classes, label = numbered([str(each) for each in instances.label.tolist()])
    x = instances.x[:, None] if instances.x.dim() == 3 else instances.x
    if x.dim() != 4:
        raise ConfigError(
            f"data={spec}: gave x of {list(instances.x.shape)}; pictures are (n, height, width) or "
            "(n, channels, height, width)"
        )
    if not x.is_floating_point():
        if int(x.min()) < 0 or int(x.max()) > 255:
            raise ConfigError(f"data={spec}: whole numbers of pictures go from 0 to 255")
        x = x.to(torch.uint8)
    return SampleSet(x, label, classes)


def _are_texts(found: Any) -> bool:
    return (
        isinstance(found, list | tuple)
        and bool(found)
        and all(isinstance(each, str) for each in found)
    )


def _check_pictures(spec: str, pictures: Tensor) -> None:
    if pictures.dim() != 4 or pictures.shape[1] not in (1, 3):
        raise ConfigError(
            f"data={spec}: pictures are {list(pictures.shape)}; they must be (n, 1 or 3 channels, "
            "height, width)"
        )
    if pictures.dtype == torch.uint8:
        return
    low, high = float(pictures.min()), float(pictures.max())
    if low < 0 or high > 1:
        raise ConfigError(
            f"data={spec}: pictures have values from {low:g} to {high:g}; give fractions from 0 to "
            "1, or whole numbers from 0 to 255"
        )
