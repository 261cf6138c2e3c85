"""What turns features into logits, over all classes of the set."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.federate.settings import FederateConfig

_SCALE = 16.0  # of cosines, as logits


class CosineHead(nn.Module):
    """Cosines of a sample's features and each class's row.

    A linear layer's rows grow for as long as a task's loss is not yet small, so that among classes
    of several tasks those of hard or early ones are louder. Here no row is louder than another.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.Linear(width, classes).weight.detach())

    def forward(self, features: Tensor) -> Tensor:
        rows = F.normalize(self.weight, dim=-1)
        return _SCALE * torch.matmul(F.normalize(features, dim=-1), rows.mT)


def new_head(config: FederateConfig, width: int, classes: int) -> nn.Module:
    if config.head == "cosine":
        return CosineHead(width, classes)
    return nn.Linear(width, classes)
