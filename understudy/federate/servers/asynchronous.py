"""Asynchronous FedAvg: uploads are taken as they come, and count less the older they are.

    s_k = n_k * (1 + age_k)^(-power)
    w  <-  (1 - rate) * w + rate * sum_k s_k w_k / sum_k s_k       over what came this round

n_k: samples; age_k: rounds between the one that an upload was made in and the one that it is used
in. Mixing is FedAsync's (arXiv:1903.03934), of all that came at once as in FedBuff
(arXiv:2106.06639). w begins as what comes first. With rate=1, power=0 and nothing late it is
FedAvg.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from understudy.federate.servers.aggregation import Aggregation, Answers, Upload
from understudy.settings import KindSection

if TYPE_CHECKING:
    from understudy.actors.jobs import Job


class Asynchronous(Aggregation):
    """Mixes the kinds of messages that the method says come back."""

    class Settings(KindSection):
        rate: float = Field(0.6, gt=0, le=1, description="how far the model moves in a round")
        power: float = Field(
            0.5, ge=0, description="uploads count by (1 + rounds that they are old)^-power"
        )

    settings: Settings
    takes = True
    remembered = ("models",)

    def __init__(self, settings: Any, method: Any, common: Any) -> None:
        super().__init__(settings, method, common)
        self.models: dict[str, dict[str, Any]] = {}  # by kind of message, the server's own

    def answers(self, uploads: Mapping[int, Upload]) -> Generator[Job, Any, Answers]:
        import torch

        from understudy.objectives.aggregation import weighted_mean

        yield from ()
        self.figures = {
            "age": {client: float(self.round - each.round) for client, each in uploads.items()}
        }
        if not uploads:
            return {}
        some = list(uploads.values())
        weights = torch.tensor([self._weight(each) for each in some])
        if not weights.sum():
            weights = torch.ones(len(some))
        for kind in (each for each in self.method.returned if each in some[0].kinds):
            model, rate = self.models.get(kind), self.settings.rate
            mean = {
                name: weighted_mean(torch.stack([each.kinds[kind][name] for each in some]), weights)
                for name in some[0].kinds[kind]
            }
            if model is not None:
                mean = {name: torch.lerp(model[name], mean[name], rate) for name in mean}
            self.models[kind] = mean
        return dict.fromkeys(range(1, self.common.config.clients + 1), self.models)

    def _weight(self, upload: Upload) -> float:
        return float(upload.samples * (1 + self.round - upload.round) ** -self.settings.power)

    @classmethod
    def comes_back(cls, settings: Any) -> str:
        return (
            "The server moves its model towards what has come, the older the less, and sends it to "
            "every client."
        )
