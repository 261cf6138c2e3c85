"""Raw samples as a checkpoint's model takes them: pictures resized and normalised, texts as ids."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.errors import ConfigError
from understudy.federate.pictures import floats
from understudy.models.chat import load_tokenizer

PIXELS, IDS, MASK = "pixel_values", "input_ids", "attention_mask"
_PROCESSOR = "preprocessor_config.json"
_MEAN = _DEVIATION = (0.5, 0.5, 0.5)  # what a ViT is given where its checkpoint says nothing


@dataclass(frozen=True, slots=True)
class PictureInputs:
    """Pictures (n, channels, height, width) of any size, of 1 or 3 channels."""

    size: int
    channels: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __call__(self, raw: Any) -> Mapping[str, Tensor]:
        if not isinstance(raw, Tensor) or raw.dim() != 4 or raw.shape[1] not in (1, 3):
            found = list(raw.shape) if isinstance(raw, Tensor) else type(raw).__name__
            raise ConfigError(
                f"this foundation reads pictures (n, 1 or 3 channels, height, width), not {found}"
            )
        x = floats(raw)
        if x.shape[1] != self.channels:
            x = x.mean(dim=1, keepdim=True).expand(-1, self.channels, -1, -1)
        if x.shape[2:] != (self.size, self.size):
            if not len(x):
                return {PIXELS: x.new_zeros(0, self.channels, self.size, self.size)}
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        mean, deviation = (
            torch.tensor(each, device=x.device)[:, None, None]
            for each in (self.mean, self.deviation)
        )
        return {PIXELS: (x - mean) / deviation}


def picture_inputs(folder: Path | None, size: int, channels: int) -> PictureInputs:
    """With the normalisation that the checkpoint names."""
    mean, deviation = _MEAN[:channels], _DEVIATION[:channels]
    if folder is None:  # no checkpoint
        return PictureInputs(size, channels, mean, deviation)
    path = folder / _PROCESSOR
    try:
        said = json.loads(path.read_text())
        if said.get("do_normalize", True):
            mean, deviation = tuple(said["image_mean"]), tuple(said["image_std"])
        else:
            mean, deviation = (0.0,) * channels, (1.0,) * channels
    except FileNotFoundError:
        warnings.warn(
            f"{folder} has no {_PROCESSOR}: pictures are normalised with mean 0.5 and deviation "
            "0.5, as for a ViT; copy the file there if the model was trained with others",
            stacklevel=2,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); copy it again") from error
    if {len(mean), len(deviation)} != {channels} or min(deviation) <= 0:
        raise ConfigError(
            f"{path}: image_mean {list(mean)} and image_std {list(deviation)} do not fit "
            f"{channels} channels; copy it again"
        )
    return PictureInputs(size, channels, mean, deviation)


@dataclass(frozen=True, slots=True)
class TextInputs:
    """Texts, cut at `longest` tokens, padded at the right to as many.

    All texts have one length, so that those of several tasks can be joined; a pass leaves out what
    is padding in all of its texts.
    """

    tokenizer: Any
    longest: int

    def __call__(self, raw: Any) -> Mapping[str, Tensor]:
        if not _are_texts(raw):
            raise ConfigError(
                f"this foundation reads texts, not {type(raw).__name__}; give a list of strings"
            )
        if not raw:
            nothing = torch.zeros(0, self.longest, dtype=torch.int64)
            return {IDS: nothing, MASK: nothing}
        found = self.tokenizer(
            list(raw),
            padding="max_length",
            truncation=True,
            max_length=self.longest,
            return_tensors="pt",
        )
        ids, mask = found[IDS], found[MASK]
        empty = mask.sum(dim=1) == 0  # a text of which no token is left
        mask[empty, 0] = 1
        return {IDS: ids.long(), MASK: mask.long()}


def _are_texts(raw: Any) -> bool:
    return (
        isinstance(raw, Sequence)
        and not isinstance(raw, str)
        and all(isinstance(each, str) for each in raw)
    )


def text_inputs(folder: Path, longest: int, most: int | None) -> TextInputs:
    """most: the tokens that the model was made for."""
    tokenizer = load_tokenizer(folder)
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise ConfigError(
            f"foundation={folder}: its tokenizer names no token for padding, and none that ends a "
            "text; give pad_token in tokenizer_config.json"
        )
    return TextInputs(tokenizer, longest if most is None else min(longest, most))


def picture_side(config: Any) -> int:
    """Of the pictures that a model was made for."""
    return side(getattr(config, "image_size", 224))


def side(size: Any) -> int:
    """One number of a size that may be written as two equal ones."""
    return int(size if isinstance(size, int) else size[0])
