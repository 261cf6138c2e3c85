"""Fed-LSCL: a small network steers a large frozen one, sample by sample (arXiv:2508.09489).

    h = projection(small(x))                  features of the small network
    {(A_l, B_l)} = generator(h)               for the chosen blocks l, one pair per sample
    logits = head(frozen(x; W_l + (alpha / r) B_l A_l))
    loss = cross-entropy over the task's classes
           + smcf.weight * drift of (h, A, B) on samples of earlier tasks        (SM-CF)

Small network, projection, generator and head train end to end. What crosses is the generator and
the features of the buffer; see servers/o2d.py for what comes back.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from understudy.federate.generator_settings import GeneratorSettings
from understudy.federate.methods.method import (
    Arrays,
    Batch,
    Common,
    Method,
    Own,
    Shape,
    Shapes,
)
from understudy.federate.methods.settings import AdaptedSettings, Guard, check_by_class
from understudy.federate.rows import COUNTS, COUNTS_LEAVE, without_counts
from understudy.settings import Section

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from understudy.federate.client_tasks import Examples, PreparedTask
    from understudy.federate.generator import Generator
    from understudy.federate.losses import Matrices
    from understudy.federate.together import Batches

GENERATOR, FEATURES, HEAD = "generator", "features", "head"  # kinds of messages
_BUFFER, _NOISE = 30, 31  # what a draw is for
_STEERING = ("small", "projection", "generator")  # what SM-CF holds


class SmCf(Section):
    """Small-model continual fine-tuning: old samples keep their features and matrices."""

    weight: float = Field(1.0, ge=0, description="of the drift in the loss; 0: it is off")
    batch: int = Field(32, ge=1, description="samples of the buffer in a step")


class FedLscl(Method):
    class Settings(AdaptedSettings):
        served_by: ClassVar[str] = "o2d"
        servers: ClassVar[tuple[str, ...]] = ("o2d", "average", "asynchronous", "none")
        small: ClassVar[bool] = True

        generator: GeneratorSettings = Field(GeneratorSettings(), description="makes the matrices")
        smcf: SmCf = Field(SmCf(), description="holds earlier tasks")
        steering_rate: float = Field(
            1.0,
            gt=0,
            description="learning rate of what steers, as a multiple of local.learning_rate, which "
            "the head has",
        )
        buffer: int = Field(100, ge=0, description="samples kept of each task, for both of these")
        head: Literal["own", "by_class"] = Field(
            "own",
            description="own: it stays at its client, as in the paper; by_class: it is sent too, "
            "and each class's row is the mean of the clients that have the class",
        )
        features: Guard = Field(Guard(), description="each sample's features, as they are sent")

        def check(self, config: Any) -> None:
            super().check(config)
            if self.head == "by_class":
                check_by_class(config)

    settings: Settings
    returned = (GENERATOR, HEAD)
    remembered = ("buffer", "previous")

    def __init__(self, settings: Any, common: Common, own: Own) -> None:
        import torch
        from torch import nn

        from understudy.federate.heads import new_head

        super().__init__(settings, common, own)
        config = common.config
        assert own.small is not None
        small = own.small()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(common.seed)
            self.modules = nn.ModuleDict(
                {
                    "small": small,
                    "projection": nn.Linear(small.width, config.feature_width),
                    "generator": first_generator(common),
                    "head": new_head(common.config, common.foundation.width, common.classes),
                }
            )
        self.modules.eval()
        self.buffer: dict[int, Tensor] = {}  # by task: places among its training samples
        self.previous: dict[str, Tensor] = {}  # what steered as the previous task ended
        self._before: Any = None  # the same, as modules

    def rate(self, name: str) -> float:
        return 1.0 if name.startswith(f"{HEAD}.") else float(self.settings.steering_rate)

    # The pipeline

    def steering(self, examples: Examples, modules: Any = None) -> tuple[Tensor, Matrices]:
        """(features, matrices) of samples. modules: others than its own."""
        modules = self.modules if modules is None else modules
        h = modules["projection"](modules["small"](examples.small))
        return h, modules["generator"](h)

    def logits(self, examples: Examples) -> Tensor:
        from understudy.federate.generator import adapters_of

        _, matrices = self.steering(examples)
        adapters = adapters_of(matrices, self.settings.alpha)
        features = self.common.foundation.features(examples.inputs, adapters)
        found: Tensor = self.modules["head"](features)
        return found

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        terms = dict(super().terms(batch))
        if self._held():
            terms["smcf"] = self.settings.smcf.weight * self._drift(batch)
        return terms

    def _held(self) -> int:
        """Old samples of a step whose drift counts."""
        if not (self.settings.smcf.weight and self.previous):
            return 0
        return min(self.settings.smcf.batch, sum(map(len, self._old().values())))

    def _drift(self, batch: Batch) -> Tensor:
        import torch

        from understudy.federate.losses import continual_drift

        some = self._drawn(batch.random)
        with torch.no_grad():
            before = self.steering(some, self._as_before())
        return continual_drift(self.steering(some), before)

    def _drawn(self, random: np.random.Generator) -> Examples:
        """Samples of earlier tasks for a step."""
        import torch

        old = self._buffered(self._old())
        return old.rows(torch.from_numpy(random.permutation(len(old))[: self._held()]))

    def _as_before(self) -> Any:
        """The modules that steered as the previous task ended."""
        if self._before is None:
            from torch import nn

            self._before = deepcopy(nn.ModuleDict({name: self.modules[name] for name in _STEERING}))
            self._before.load_state_dict(self.previous)
            self._before.requires_grad_(False).eval()
        return self._before

    # Several clients as one

    @property
    def likeness(self) -> Hashable | None:
        small: Any = self.modules["small"]
        return (self.form(), self._held()) if small.stacks else None

    def stand_for(self, clients: Sequence[Any]) -> None:
        from understudy.federate.together import Stacked

        if self._held():
            self._before = Stacked.of([one._as_before() for one in clients])

    def terms_together(self, clients: Sequence[Any], batches: Batches) -> Mapping[str, Tensor]:
        import torch
        from torch.func import vmap

        from understudy.federate.losses import continual_drift
        from understudy.federate.together import side_by_side

        terms = dict(super().terms_together(clients, batches))
        if self._held():
            drawn = zip(clients, batches.random, strict=True)
            some = side_by_side([one._drawn(random) for one, random in drawn])
            with torch.no_grad():
                before = self.steering(some, self._before.first(len(clients)))
            drift = vmap(continual_drift)(self.steering(some), before)
            terms["smcf"] = self.settings.smcf.weight * drift
        return terms

    # Tasks and the buffer

    def begin(self, task: PreparedTask) -> None:
        import torch

        from understudy.actors.generators import generator_of

        drawn = generator_of(self.own.seed, _BUFFER, task.number).permutation(len(task.train))
        self.buffer[task.number] = torch.from_numpy(drawn[: self.settings.buffer])

    def end(self, task: PreparedTask) -> None:
        self.previous = {
            name: tensor.clone()
            for name, tensor in self.modules.state_dict().items()
            if name.partition(".")[0] in _STEERING
        }
        self._before = None

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self._before = None

    def _old(self) -> dict[int, Tensor]:
        """The buffer of earlier tasks."""
        return {
            number: places
            for number, places in self.buffer.items()
            if number < self.current and len(places)
        }

    def _buffered(self, buffer: Mapping[int, Tensor]) -> Examples:
        """The samples of a buffer, in the order of its tasks."""
        from understudy.federate.client_tasks import joined

        return joined([self.own.tasks[n].train.rows(places) for n, places in buffer.items()])

    # What crosses

    def upload(self, round_: int) -> Mapping[str, Arrays]:
        generator = self.modules["generator"].state_dict()
        sent: dict[str, Arrays] = {
            GENERATOR: {name: tensor.clone() for name, tensor in generator.items()}
        }
        if self.settings.head == "by_class":
            head = {f"{HEAD}.{n}": e.clone() for n, e in self.modules[HEAD].state_dict().items()}
            sent[HEAD] = head | {COUNTS: self.class_counts()}
        return sent | {FEATURES: {FEATURES: self._feature_set(round_)}}

    def _feature_set(self, round_: int) -> Tensor:
        """(m, width): features of the buffer, the current task's included."""
        import torch

        if not any(map(len, self.buffer.values())):
            return torch.zeros(0, self.common.config.feature_width)
        with torch.no_grad():
            parts = [
                self.steering(self._buffered({number: places}))[0]
                for number, places in self.buffer.items()
                if len(places)
            ]
        return self._guarded(torch.cat(parts), round_)

    def _guarded(self, features: Tensor, round_: int) -> Tensor:
        """Features with a norm of `clip` at most, and noise."""
        import torch

        from understudy.actors.generators import generator_of

        clip, noise = self.settings.features.clip, self.settings.features.noise
        if clip is None:
            return features
        features = features * (clip / features.norm(dim=1, keepdim=True).clamp(min=clip))
        drawn = generator_of(self.own.seed, _NOISE, round_).standard_normal(tuple(features.shape))
        return features + noise * clip * torch.from_numpy(drawn).to(features.dtype)

    def receive(self, kind: str, arrays: Arrays) -> None:
        if kind == HEAD:
            arrays = {name.removeprefix(f"{HEAD}."): each for name, each in arrays.items()}
        self.modules[kind].load_state_dict(dict(arrays))

    @classmethod
    def uploads(cls, common: Common) -> Mapping[str, Shapes]:
        from understudy.federate.heads import new_head

        generator, settings = first_generator(common).state_dict(), common.config.method
        count, width = common.classes, common.foundation.width
        shared: Any = getattr(settings, "head", "own") == "by_class"
        first = new_head(common.config, width, count).state_dict()
        head: dict[str, Shape] = {f"{HEAD}.{name}": tuple(e.shape) for name, e in first.items()}
        return {
            GENERATOR: {name: tuple(tensor.shape) for name, tensor in generator.items()},
            **({HEAD: head | {COUNTS: (count,)}} if shared else {}),
            FEATURES: {FEATURES: (None, common.config.feature_width)},
        }

    @classmethod
    def downloads(cls, common: Common) -> Mapping[str, Shapes]:
        return without_counts(super().downloads(common))

    @classmethod
    def leaving(cls, settings: Any) -> Sequence[str]:
        clip, noise = settings.features.clip, settings.features.noise
        guarded = "" if clip is None else f", scaled to a norm of {clip:g} at most"
        guarded += f" and with noise of {noise:g} times that" if noise else ""
        return [
            "After each round, a client sends the weights of its generator.",
            f"With it go the small network's features of up to {settings.buffer} samples of each "
            f"task so far{guarded}; no sample, no label and no weight of the small network.",
            *(["Its head goes too. " + COUNTS_LEAVE] if settings.head == "by_class" else []),
        ]


def first_generator(common: Common) -> Generator:
    """A generator as all of a federation begin with it."""
    from understudy.federate.generator import new_generator

    settings: Any = common.config.method
    targets = [common.foundation.target(block) for block in settings.blocks]
    return new_generator(
        common.config.feature_width, targets, settings.rank, settings.generator, common.seed
    )
