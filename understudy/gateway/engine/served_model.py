"""A model that no run has trained, served as it is; an adapter's folder with its base."""

from __future__ import annotations

from pathlib import Path

import torch

from understudy.gateway.engine.base import Base, build_base
from understudy.gateway.engine.local import LocalEngine
from understudy.gateway.engine.options import EngineOptions, named
from understudy.models import adapters
from understudy.models.hub import ADAPTER, resolve
from understudy.models.policy import Policy
from understudy.models.precision import chosen_bf16, chosen_threads, parameters_of


def open_model(what: str, name: str, options: EngineOptions) -> LocalEngine:
    folder = resolve(what)
    parameters = parameters_of(what)
    torch.set_num_threads(options.threads or chosen_threads(parameters))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    bf16 = chosen_bf16(parameters, device)

    def load(model: str) -> Base:
        return build_base(Policy.load(model, device, bf16), options)

    def load_folder(folder: Path) -> Base:
        return load(str(folder))

    adapted = (folder / ADAPTER).is_file()
    served = load(adapters.read_config(folder)[0] if adapted else what)
    adapter = folder if adapted else None
    return LocalEngine(served, named(what, name), options, load_folder, adapter=adapter)
