"""Engines over small random models, adapters for them, and answers read to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from understudy.gateway.engine import Job, Piece, Written
from understudy.gateway.engine.base import build_base
from understudy.gateway.engine.local import LocalEngine
from understudy.gateway.engine.options import EngineOptions
from understudy.models.lora import Lora
from understudy.models.policy import Backend, Policy


def engine_of(folder: Path | str, backend: Backend = "auto", **options: Any) -> LocalEngine:
    base = build_base(Policy.load(str(folder), backend=backend), EngineOptions(**options))
    return LocalEngine(base, "base@0", EngineOptions(**options))


@contextmanager
def running(engine: LocalEngine) -> Iterator[LocalEngine]:
    try:
        yield engine
    finally:
        asyncio.run(engine.close())


def job(question: str = "", version: str = "base@0", **given: Any) -> Job:
    messages = () if "prompt" in given else ({"role": "user", "content": question},)
    return Job(**({"id": "1", "messages": messages, "version": version} | given))


async def read(engine: LocalEngine, asked: Job) -> tuple[list[Piece], Written]:
    pieces = []
    async for item in engine.write(asked):
        if isinstance(item, Written):
            assert "".join(piece.text for piece in pieces) == item.text
            return pieces, item
        pieces.append(item)
    raise AssertionError("no end")


async def read_all(engine: LocalEngine, jobs: list[Job]) -> list[Written]:
    found = await asyncio.gather(*(read(engine, each) for each in jobs))
    return [written for _, written in found]


def adapter(base: Path, folder: Path, seed: int, backend: Backend = "auto") -> Path:
    """An adapter whose answers are other than its base's, and than those of another seed."""
    policy = Policy.load(str(base), lora=Lora(rank=4, alpha=8.0), backend=backend)
    generator = torch.Generator().manual_seed(seed)
    for weight in policy.trainable():
        weight.data.add_(torch.randn(weight.shape, generator=generator) * 0.2)
    policy.save_adapter(folder)
    return folder
