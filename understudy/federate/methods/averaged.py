"""FedAvg and FedProx: all that a client learns crosses, and comes back averaged.

    loss = the method's own + mu / 2 * ||w - w_sent||^2        (arXiv:1602.05629, arXiv:1812.06127)
           + what holds earlier tasks, see retained.py

w_sent: what the server sent last, and before that what all clients begin with. A kind says which
modules it trains; all of their weights and floating buffers cross.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from understudy.federate.methods.method import Arrays, Batch, Common, Method, Own, Shapes
from understudy.federate.methods.settings import AveragedSettings
from understudy.federate.rows import COUNTS, COUNTS_LEAVE, without_counts

if TYPE_CHECKING:
    from torch import Tensor, nn

    from understudy.federate.client_tasks import PreparedTask
    from understudy.federate.methods.retained import Retained
    from understudy.federate.small.network import SmallNetwork
    from understudy.federate.together import Batches

MODEL = "model"  # the kind of message


class Averaged(Method):
    Settings = AveragedSettings
    settings: Any
    returned = (MODEL,)
    remembered = ("anchor", "kept")
    sent: ClassVar[str]  # what crosses, in words

    def __init__(self, settings: Any, common: Common, own: Own) -> None:
        super().__init__(settings, common, own)
        self.modules = _first(type(self), common, own.small)
        self.anchor = weights_of(self.modules) if settings.mu else {}
        self.retained: Retained | None = None
        if settings.retention.kind != "none":
            from understudy.federate.methods.retained import RETAINED

            self.retained = RETAINED[settings.retention.kind](settings.retention, self)

    @property
    def kept(self) -> dict[Any, Any]:
        """What holds earlier tasks, as a checkpoint keeps it."""
        return {} if self.retained is None else self.retained.state

    @kept.setter
    def kept(self, state: dict[Any, Any]) -> None:
        if self.retained is not None:
            self.retained = type(self.retained)(self.settings.retention, self)
            self.retained.state = state

    @classmethod
    def new_modules(
        cls, common: Common, small: Callable[[], SmallNetwork] | None
    ) -> Mapping[str, nn.Module]:
        """What a client trains, by name. small: makes its small network, where there is one."""
        raise NotImplementedError

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        return {**super().terms(batch), **self.beside(batch)}

    def beside(self, batch: Batch) -> Mapping[str, Tensor]:
        """What is added to the loss of the task."""
        terms = dict(self.pull())
        if self.retained is not None and self.retained.state:
            terms["retained"] = self.settings.retention.weight * self.retained.term(batch)
        return terms

    def end(self, task: PreparedTask) -> None:
        if self.retained is not None:
            self.retained.ended(task)

    def pull(self) -> Mapping[str, Tensor]:
        """FedProx's term."""
        if not self.settings.mu:
            return {}
        now = {name: each[None] for name, each in self.modules.named_parameters()}
        return {"proximal": self._distance(now, {n: self.anchor[n][None] for n in now})[0]}

    def _distance(self, now: Arrays, anchor: Arrays) -> Tensor:
        """(rows,). now, anchor: (rows, ..) by name."""
        from understudy.objectives import proximal_penalty

        penalty = proximal_penalty(list(now.values()), [anchor[n] for n in now], squared=True)
        distance: Tensor = self.settings.mu * penalty
        return distance

    def form(self) -> Hashable | None:
        return None if self.retained is not None else super().form()

    def stand_for(self, clients: Sequence[Any]) -> None:
        from understudy.actors.stacks import stacked

        self.anchor = stacked([one.anchor for one in clients])

    def terms_together(self, clients: Sequence[Any], batches: Batches) -> Mapping[str, Tensor]:
        terms = dict(super().terms_together(clients, batches))
        if self.settings.mu:
            now: Any = self.modules
            anchor = {name: each[: len(clients)] for name, each in self.anchor.items()}
            terms["proximal"] = self._distance(now.weights, anchor)
        return terms

    def upload(self, round_: int) -> Mapping[str, Arrays]:
        sent = weights_of(self.modules)
        return {MODEL: sent | ({COUNTS: self.class_counts()} if _by_class(self.settings) else {})}

    def receive(self, kind: str, arrays: Arrays) -> None:
        self.modules.load_state_dict({**self.modules.state_dict(), **arrays})
        if self.settings.mu:
            self.anchor = weights_of(self.modules)

    @classmethod
    def uploads(cls, common: Common) -> Mapping[str, Shapes]:
        if common.config.serving.kind == "none":
            return {}
        first = weights_of(_first(cls, common, common.small))
        shapes: dict[str, tuple[int, ...]] = {n: tuple(e.shape) for n, e in first.items()}
        counts = {COUNTS: (common.classes,)} if _by_class(common.config.method) else {}
        return {MODEL: shapes | counts}

    @classmethod
    def downloads(cls, common: Common) -> Mapping[str, Shapes]:
        return without_counts(super().downloads(common))

    @classmethod
    def leaving(cls, settings: Any) -> Sequence[str]:
        sent = f"After each round, a client sends {cls.sent}; no sample and no label."
        return [sent, *([COUNTS_LEAVE] if _by_class(settings) else [])]


def _by_class(settings: Any) -> bool:
    return bool(settings.head == "by_class")


def weights_of(modules: nn.Module) -> dict[str, Tensor]:
    """Copies of all weights, and of buffers that can be averaged."""
    return {
        name: each.clone()
        for name, each in modules.state_dict().items()
        if each.is_floating_point()
    }


def _first(
    method: type[Averaged], common: Common, small: Callable[[], SmallNetwork] | None
) -> nn.ModuleDict:
    """As all clients of a federation begin."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(common.seed)
        return nn.ModuleDict(dict(method.new_modules(common, small))).eval()
