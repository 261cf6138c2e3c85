"""The processes that train one model together: who takes which prompts, what is put together again.

`torchrun` or `accelerate launch` starts them. Every process has the same weights, draws and scores
its own share of the prompts, and knows the scores of all; gradients are summed. What is decided
(advantages, price, shift) is decided from all scores, by each process alike, and what crosses the
link or reaches the disk goes through the first process only. Without a launcher the team is one
process, and nothing here communicates.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from understudy.errors import ConfigError, TeamError, UnderstudyError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Team:
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, count: int) -> range:
        """The places of this process in `count` things, in one piece; pieces differ by one."""
        return range(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def all_gather(self, own: T) -> list[T]:
        """Everyone's, by rank."""
        if self.size == 1:
            return [own]
        found: list[Any] = [None] * self.size
        with _connected():
            torch.distributed.all_gather_object(found, own)
        return found

    def from_leader(self, work: Callable[[], T]) -> T:
        """What the first process makes of `work`; the others receive it, or the error it raised."""
        if self.size == 1:
            return work()
        found: list[Any] = [_outcome(work) if self.leads else None]
        with _connected():
            torch.distributed.broadcast_object_list(found)
        result, error = found[0]
        if error is not None:
            raise error
        return cast(T, result)

    def together(self, work: Callable[[], T]) -> T:
        """Each process's own result of `work`; where one of them fails, its error in all."""
        if self.size == 1:
            return work()
        result, error = _outcome(work)
        for each in self.all_gather(error):
            if each is not None:
                raise each
        return cast(T, result)

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Each process computed its own prompts' part of one loss."""
        if self.size == 1:
            return
        learning = [p for p in parameters if p.requires_grad]
        for parameter in learning:
            if parameter.grad is None:  # nothing of this share had a signal
                parameter.grad = torch.zeros_like(parameter)
            with _connected():
                torch.distributed.all_reduce(parameter.grad)


def _outcome(work: Callable[[], T]) -> tuple[T | None, UnderstudyError | None]:
    """(result, None), or (None, the error that a user can correct)."""
    try:
        return work(), None
    except UnderstudyError as error:
        return None, error


@contextmanager
def _connected() -> Iterator[None]:
    """Another process that has ended is one line: it has said itself why."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise TeamError(f"another process of this run has ended ({reason})") from error


ALONE = Team()


def join_team(device: str) -> Team:
    """The team that a launcher started this process for."""
    size = os.environ.get("WORLD_SIZE", "1")
    if size == "1":
        return ALONE
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ConfigError(
            f"WORLD_SIZE={size}: several processes need accelerate; install understudy[models]"
        ) from error
    # The others wait while the first one asks a slow cloud; a process that died, the launcher ends.
    state = PartialState(cpu=torch.device(device).type == "cpu", timeout=timedelta(days=1))
    return Team(state.process_index, state.num_processes)


def own_device(device: str) -> str:
    """`cuda` means each process's own GPU of its machine."""
    local = os.environ.get("LOCAL_RANK")
    return f"cuda:{local}" if device == "cuda" and local is not None else device
