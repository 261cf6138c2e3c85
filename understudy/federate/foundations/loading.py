"""A foundation by its name: one that ships, a checkpoint of transformers, or one of your own."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from understudy.errors import CheckpointError, ConfigError
from understudy.federate.foundations.foundation import Foundation
from understudy.federate.foundations.inputs import (
    PIXELS,
    picture_inputs,
    picture_side,
    side,
    text_inputs,
)
from understudy.federate.foundations.settings import FoundationSettings
from understudy.federate.foundations.transformers_foundation import Prepare, TransformersFoundation
from understudy.federate.foundations.vit import VIT, vit_config
from understudy.models.hub import resolve
from understudy.registry import named_function, reason_of


def load_foundation(settings: FoundationSettings) -> Foundation:
    """The frozen network that the settings name."""
    name = settings.name
    if ":" in name:
        return _own(name, settings.options)
    folder = None if name == "vit" and settings.random else _folder(name)
    module = _loaded(name, folder, settings)
    size, prepare = _inputs(name, folder, module, settings)
    return TransformersFoundation(name, module, prepare, settings.pooling, settings.depth, size)


def _folder(name: str) -> Path:
    if name != "vit":
        try:
            return resolve(name)
        except CheckpointError as error:  # which speaks of the setting `model`
            raise ConfigError(str(error).replace("model=", "foundation=", 1)) from error
    if not (VIT / "config.json").is_file():
        raise ConfigError(
            "foundation=vit: its weights are not in this copy; run `python "
            "bench/federate_foundation.py`, or set foundation.random=true for random ones"
        )
    return VIT


def _own(spec: str, options: Mapping[str, Any]) -> Foundation:
    """What 'module:function' or 'file.py:function' returns."""
    function = named_function("foundation", spec)
    try:
        found = function(**options)
    except Exception as error:
        raise ConfigError(f"foundation={spec}: {reason_of(error)}") from error
    lacking = [name for name in _SEAM if not hasattr(found, name)]
    if lacking:
        raise ConfigError(
            f"foundation={spec}: returned a {type(found).__name__} without {', '.join(lacking)}; "
            "see understudy.federate.foundations.foundation.Foundation"
        )
    foundation: Foundation = found
    return foundation


def _loaded(name: str, folder: Path | None, settings: FoundationSettings) -> nn.Module:
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError as error:
        raise ConfigError(
            f"foundation={name}: needs transformers; pip install 'understudy[models]'"
        ) from error
    try:
        config = vit_config() if folder is None else AutoConfig.from_pretrained(folder)
        kind = AutoModel._model_mapping[type(config)]
        pooler = "add_pooling_layer" in inspect.signature(kind.__init__).parameters
        options = {"add_pooling_layer": False} if pooler else {}
        if settings.random:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(settings.seed)
                made: nn.Module = kind(config, **options)
                return made.float()
        with _silent():
            found, report = kind.from_pretrained(
                folder, dtype=torch.float32, output_loading_info=True, **options
            )
    except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
        raise ConfigError(
            f"foundation={name}: transformers cannot load it ({reason_of(error)})"
        ) from error
    if missing := sorted(report["missing_keys"]):
        raise ConfigError(
            f"foundation={name}: has no weights for {missing[0]} (of {len(missing)}); it is not "
            "whole, or of another kind than its config.json says"
        )
    module: nn.Module = found
    return module


@contextmanager
def _silent() -> Iterator[None]:
    """Without transformers' bars, and its table of weights that have no use here, as a pooler's."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _inputs(
    name: str, folder: Path | None, module: Any, settings: FoundationSettings
) -> tuple[int | None, Prepare]:
    config = module.config
    if module.main_input_name != PIXELS:
        if settings.size is not None:
            raise ConfigError(f"foundation.size={settings.size}: {name} reads text; leave size out")
        most = getattr(config, "max_position_embeddings", None)
        if config.model_type in _OFFSET and most is not None:
            most -= _OFFSET[config.model_type]
        assert folder is not None
        return None, text_inputs(folder, settings.longest, most)
    size, patch = settings.size or picture_side(config), side(getattr(config, "patch_size", 1))
    if size % patch:
        raise ConfigError(
            f"foundation.size={size} is no multiple of {name}'s patches of {patch}; use "
            f"{size // patch * patch or patch} or {(size // patch + 1) * patch}"
        )
    return size, picture_inputs(folder, size, int(getattr(config, "num_channels", 3)))


_SEAM = ("kind", "width", "blocks", "module", "target", "prepare", "activations", "features")
_OFFSET = {"roberta": 2, "camembert": 2, "xlm-roberta": 2, "mpnet": 2}  # positions never used
