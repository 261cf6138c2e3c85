"""Pictures in a folder per class, or in a zip of such folders; also split/class/picture.

They are read by Pillow, which transformers needs for pictures too.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy import progress
from understudy.errors import ConfigError
from understudy.federate.samples import SampleSet, numbered
from understudy.registry import reason_of

_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
_SPLITS = {"train": False, "training": False, "test": True, "testing": True}
_SPLITS |= {"val": True, "valid": True, "validation": True}

Open = Callable[[], bytes]


def pictures_of(path: Path, size: int | None = None) -> SampleSet:
    """size: to which every picture is made size x size; needed where they are not of one size.

    With folders train and test, both are read and what is to test with stays so; a validation
    folder is left out where there is a test folder, and else is what is tested with.
    """
    files = list(_files(path))
    if not files:
        raise ConfigError(
            f"data={path}: holds no pictures in a folder per class (class/picture.png, or "
            f"train/class/picture.png); endings that are read: {', '.join(_ENDINGS)}"
        )
    splits = {each[0] for each in files}
    if "test" in splits:
        files = [each for each in files if each[0] != "validation"]
    raw = _read(path, [each[2:] for each in files], size)
    classes, label = numbered([each[1] for each in files])
    held = torch.tensor([each[0] in ("test", "validation") for each in files])
    return SampleSet(raw, label, classes, held if bool(held.any()) else None)


def holds_pictures(path: Path) -> bool:
    return next(_files(path), None) is not None


def _files(path: Path) -> Iterator[tuple[str, str, str, Open]]:
    """(split or '', class, file, what reads it) of every picture, in the order of their names."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            place = PurePosixPath(file.relative_to(path).as_posix())
            if found := _placed(place):
                yield *found, str(place), file.read_bytes
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigError(f"data={path}: cannot be read ({error}); copy it again") from error
    for name in sorted(archive.namelist()):
        if found := _placed(PurePosixPath(name)):
            yield *found, name, lambda name=name: archive.read(name)  # type: ignore[misc]


def _placed(path: PurePosixPath) -> tuple[str, str] | None:
    """(split, class) by the folders that a picture lies in."""
    if path.suffix.lower() not in _ENDINGS or len(path.parts) < 2 or path.name.startswith("."):
        return None
    if "__MACOSX" in path.parts:
        return None
    above = [part.lower() for part in path.parts[:-2]]
    split = next((each for each in reversed(above) if each in _SPLITS), "")
    if _SPLITS.get(split):
        split = "test" if split.startswith("test") else "validation"
    return split, path.parts[-2]


def _read(path: Path, files: Sequence[tuple[str, Open]], size: int | None) -> Tensor:
    library = pillow(f"data={path}")
    pictures = []
    with progress.task(f"reading pictures of {path.name}", len(files)) as advance:
        for name, content in files:
            try:
                pictures.append(library.open(io.BytesIO(content())))
                pictures[-1].load()
            except library.UnidentifiedImageError as error:
                raise ConfigError(f"data={path}: {name} is no picture; remove it") from error
            except (OSError, ValueError, zipfile.BadZipFile) as error:
                raise ConfigError(f"data={path}: {name} cannot be read ({error})") from error
            if size is not None:
                pictures[-1] = resized(library, pictures[-1], size)
            advance(1)
    return stacked(f"data={path}", pictures)


def pillow(what: str) -> Any:
    """The module PIL.Image, or one line that says how to get it. what: the setting."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ConfigError(
            f"{what}: pictures in files are read by Pillow, which is not installed; pip install "
            "pillow"
        ) from error
    return Image


def resized(library: Any, picture: Any, size: int) -> Any:
    grey = picture.mode in ("1", "L", "I", "I;16", "F")
    picture = picture.convert("L" if grey else "RGB")
    return picture.resize((size, size), library.Resampling.BILINEAR)


def stacked(what: str, pictures: Sequence[Any]) -> Tensor:
    """Bytes (n, channels, height, width): one channel if all are grey, else three."""
    grey = all(picture.mode in ("1", "L") for picture in pictures)
    sizes = sorted({picture.size for picture in pictures})
    if len(sizes) > 1:
        raise ConfigError(
            f"{what}: its pictures have {len(sizes)} sizes, from {sizes[0]} to {sizes[-1]}; set "
            "data_options.size, to which all are made"
        )
    try:
        arrays = [np.asarray(each.convert("L" if grey else "RGB")) for each in pictures]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{what}: {reason_of(error)}") from error
    whole = torch.from_numpy(np.stack(arrays))
    return whole[:, None] if grey else whole.permute(0, 3, 1, 2).contiguous()
