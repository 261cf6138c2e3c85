"""What holds earlier tasks in a client's local training of an averaged method: a kind per class.

    ewc        weight / 2 * sum over earlier tasks t of F_t (w - w_t)^2        (arXiv:1612.00796)
    lwf        weight * KL of the earlier tasks' answers, as they were, to those now, on the
               current task's samples                                         (arXiv:1606.09282)
    rehearsal  weight * cross-entropy of samples kept of earlier tasks, each among its task's
               classes

w_t: the weights as task t ended, with the server's last answer. Nothing of it leaves the client.
"""

from __future__ import annotations

from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from understudy.actors.generators import generator_of
from understudy.federate.client_tasks import joined
from understudy.federate.losses import masked, masked_cross_entropy
from understudy.objectives import curvature_penalty, curvature_target, fisher_diagonal

if TYPE_CHECKING:
    from understudy.federate.client_tasks import PreparedTask
    from understudy.federate.methods.method import Batch

_KEPT = 32  # what a draw is for

Weights = dict[str, Tensor]


class Retained:
    """Of one client; `state` is all that it keeps, empty before a task has ended."""

    def __init__(self, settings: Any, method: Any) -> None:
        self.settings, self.method = settings, method
        self.state: dict[Any, Any] = {}

    def term(self, batch: Batch) -> Tensor:
        """Not weighed. Called where `state` is not empty."""
        raise NotImplementedError

    def ended(self, task: PreparedTask) -> None: ...

    def _weights(self) -> Weights:
        return {name: w.detach().clone() for name, w in self.method.modules.named_parameters()}

    def _allowed(self, task: PreparedTask) -> Tensor:
        found: Tensor = self.method.allowed("task", task.as_trained)
        return found

    def _some(self, task: PreparedTask) -> Tensor:
        """Places of a few training samples of a task."""
        random = generator_of(self.method.own.seed, _KEPT, task.number)
        return torch.from_numpy(random.permutation(len(task.train))[: self.settings.samples])


class Ewc(Retained):
    def term(self, batch: Batch) -> Tensor:
        now = dict(self.method.modules.named_parameters())
        precision, centre = self.state["precision"], self.state["centre"]
        rows = [[each[name][None] for name in now] for each in (now, precision, centre)]
        return curvature_penalty(*rows)[0] / 2

    def ended(self, task: PreparedTask) -> None:
        """The sum over tasks is kept as one precision and one centre."""
        fisher, weights = self._fisher(task), self._weights()
        if not self.state:
            self.state = {"precision": fisher, "centre": weights}
            return
        precision, centre = self.state["precision"], self.state["centre"]
        both = {
            name: curvature_target([precision[name], fisher[name]], [centre[name], weights[name]])
            for name in fisher
        }
        self.state = {
            "precision": {name: first for name, (first, _) in both.items()},
            "centre": {name: second for name, (_, second) in both.items()},
        }

    def _fisher(self, task: PreparedTask) -> Weights:
        named = dict(self.method.modules.named_parameters())
        found: dict[str, list[Tensor]] = {name: [] for name in named}
        for place in self._some(task):
            one = task.train.rows(place[None])
            loss = masked_cross_entropy(self.method.logits(one), one.label, self._allowed(task))
            gradients = torch.autograd.grad(
                loss, list(named.values()), allow_unused=True, materialize_grads=True
            )
            for name, gradient in zip(named, gradients, strict=True):
                found[name].append(gradient)
        return {
            name: fisher_diagonal(torch.stack(each)) if each else torch.zeros_like(named[name])
            for name, each in found.items()
        }


class Lwf(Retained):
    """The old weights answer beside the new ones."""

    _old: Any = None

    def term(self, batch: Batch) -> Tensor:
        if self._old is None:
            self._old = copy(self.method)
            self._old.modules = deepcopy(self.method.modules).requires_grad_(False)
            self._old.modules.load_state_dict(self.state["weights"], strict=False)
        known = torch.zeros_like(batch.allowed)
        known[self.state["classes"]] = True
        with torch.no_grad():
            before = self._old.logits(batch.examples)[:, known].log_softmax(dim=1)
        now = self.method.logits(batch.examples)[:, known].log_softmax(dim=1)
        divergence: Tensor = (before.exp() * (before - now)).sum(dim=1).mean()
        return divergence

    def ended(self, task: PreparedTask) -> None:
        classes = {*self.state.get("classes", []), *task.as_trained.classes}
        self.state = {"weights": self._weights(), "classes": sorted(classes)}
        self._old = None


class Rehearsal(Retained):
    def term(self, batch: Batch) -> Tensor:
        tasks = [self.method.own.tasks[number] for number in self.state]
        parts = [task.train.rows(self.state[task.number]) for task in tasks]
        allowed = torch.cat(
            [self._allowed(t).expand(len(p), -1) for t, p in zip(tasks, parts, strict=True)]
        )
        whole = joined(parts)
        drawn = torch.from_numpy(batch.random.permutation(len(whole))[: self.settings.batch])
        some = whole.rows(drawn)
        logits = masked(self.method.logits(some), allowed[drawn])
        return torch.nn.functional.cross_entropy(logits, some.label)

    def ended(self, task: PreparedTask) -> None:
        if len(task.train):
            self.state = {**self.state, task.number: self._some(task)}


RETAINED: dict[str, type[Retained]] = {"ewc": Ewc, "lwf": Lwf, "rehearsal": Rehearsal}
