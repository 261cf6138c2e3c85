"""CIFAR-10, or a part of it, from a zip of split/class/NAME.jpg (or .png)."""

from __future__ import annotations

import io
import zipfile

import numpy as np
from PIL import Image


def load(path: str, split: str = "train", side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3, side, side) in [-1, 1], and the class of each by its place in the alphabet."""
    pictures, names = [], []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            parts = name.split("/")
            if len(parts) >= 3 and parts[-3] == split and parts[-1].endswith((".jpg", ".png")):
                with Image.open(io.BytesIO(archive.read(name))) as picture:
                    smaller = picture.convert("RGB").resize((side, side), Image.Resampling.BOX)
                    pictures.append(np.asarray(smaller, dtype=np.float32))
                names.append(parts[-2])
    x = np.stack(pictures).transpose(0, 3, 1, 2) / 127.5 - 1
    classes = sorted(set(names))
    return x, np.array([classes.index(name) for name in names])
