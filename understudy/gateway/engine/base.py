"""A base as the engine serves it: one copy of its weights, its rows, its adapters, its prompts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from understudy.gateway.engine.adapters import Adapters
from understudy.gateway.engine.flat_lane import FlatLane
from understudy.gateway.engine.joined_lane import JoinedLane
from understudy.gateway.engine.lane import Lane
from understudy.gateway.engine.loop import Model
from understudy.gateway.engine.options import EngineOptions
from understudy.gateway.engine.prompts import AsAsked, Prompts
from understudy.models.built_in import BuiltInModel
from understudy.models.local_model import LocalModel
from understudy.models.policy import Policy
from understudy.models.transformers_model import TransformersModel


@dataclass(frozen=True, eq=False)
class Base:
    """Everything that versions of one base share. name: as an adapter's folder names its base."""

    name: str
    model: Model
    prompts: Prompts
    adapters: Adapters
    ask: int


def build_base(
    policy: Policy,
    options: EngineOptions,
    longest_answer: int | None = None,
    as_asked: AsAsked | None = None,
) -> Base:
    """policy: loaded without an adapter; it is the engine's own from now on."""
    assert policy.lora is None, "adapters are added to the base, one for each version"
    for weight in policy.network.parameters():
        weight.requires_grad_(False)
    kept = policy.model.head.weight.dtype
    adapters = Adapters(policy.model, policy.tokens.ask, torch.bfloat16 if policy.bf16 else kept)
    precision: Callable[[], AbstractContextManager[object]] = nullcontext
    if policy.bf16:
        kept = torch.bfloat16
        _cast(policy.model)
        kind = torch.device(policy.device).type
        precision = partial(torch.autocast, kind, torch.bfloat16)
    with precision():
        lane = _lane(policy.model, adapters, kept)
    model = Model(lane, policy.tokens.ask, precision)
    prompts = Prompts(policy, options, longest_answer, as_asked)
    return Base(policy.base, model, prompts, adapters, policy.tokens.ask)


def _lane(model: LocalModel, adapters: Adapters, dtype: torch.dtype) -> Lane:
    if isinstance(model, BuiltInModel):
        return FlatLane(model, adapters, dtype)
    assert isinstance(model, TransformersModel)
    return JoinedLane(model, adapters, dtype)


def _cast(model: LocalModel) -> None:
    """Keep the weights of linear layers as products read them: autocast would cast them at every
    pass. An embedding that shares the head's stays as it is."""
    for module in model.network.modules():
        if type(module).__name__ in ("Linear", "Conv1D"):
            weight = module.weight
            assert isinstance(weight, nn.Parameter)
            module.weight = nn.Parameter(weight.to(torch.bfloat16), requires_grad=False)
