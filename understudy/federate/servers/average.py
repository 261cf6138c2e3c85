"""FedAvg: one model for all clients, a mean of theirs, or what one liar cannot move far."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from understudy.federate.rows import COUNTS, mean_rows
from understudy.federate.servers.aggregation import Aggregation, Answers, Upload
from understudy.settings import KindSection

if TYPE_CHECKING:
    from understudy.actors.jobs import Job


class Average(Aggregation):
    """Averages the kinds of messages that the method says come back."""

    class Settings(KindSection):
        rule: Literal["mean", "median", "trimmed_mean"] = Field(
            "mean", description="number by number, over the clients of a round"
        )
        weights: Literal["samples", "equal"] = Field(
            "samples", description="of rule=mean: by the samples trained on, or all alike"
        )
        trim: float = Field(
            0.1, ge=0, lt=0.5, description="of rule=trimmed_mean: share left out at either end"
        )

        @model_validator(mode="after")
        def _has_effect(self) -> Average.Settings:
            for name, rule in (("weights", "mean"), ("trim", "trimmed_mean")):
                value = getattr(self, name)
                if self.rule != rule and value != type(self).model_fields[name].default:
                    raise ValueError(
                        f"{name}={value} has no effect with rule={self.rule}; leave it out"
                    )
            return self

    settings: Settings
    takes = True

    def answers(self, uploads: Mapping[int, Upload]) -> Generator[Job, Any, Answers]:
        yield from ()
        if not uploads:
            return {}
        sent = next(iter(uploads.values())).kinds
        mean = {
            kind: self._mean(kind, list(uploads.values()))
            for kind in self.method.returned
            if kind in sent
        }
        return dict.fromkeys(range(1, self.common.config.clients + 1), mean)

    def _mean(self, kind: str, uploads: list[Upload]) -> dict[str, Any]:
        import torch

        from understudy.objectives.aggregation import median, trimmed_mean, weighted_mean

        weights = torch.tensor([float(upload.samples) for upload in uploads])
        if self.settings.weights == "equal" or not weights.sum():
            weights = torch.ones(len(uploads))
        found: dict[str, Any] = mean_rows([upload.kinds[kind] for upload in uploads])
        for name in uploads[0].kinds[kind]:
            if name in found or name == COUNTS:
                continue
            stack = torch.stack([upload.kinds[kind][name] for upload in uploads])
            if self.settings.rule == "mean":
                found[name] = weighted_mean(stack, weights)
            elif self.settings.rule == "median":
                found[name] = median(stack)
            else:
                found[name] = trimmed_mean(stack, self.settings.trim)
        return found

    @classmethod
    def comes_back(cls, settings: Any) -> str:
        rule = settings.rule.replace("_", " ")
        return f"The server sends every client the {rule} of what the clients sent."
