"""From responses and replies to rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from understudy.config import RewardConfig
from understudy.tasks import FAMILIES, answer_of
from understudy.types import Query, Reply


@dataclass(frozen=True, slots=True)
class Scores:
    """What a batch was worth. All (prompts, group) but cloud_right, which is (prompts,).

    A response whose call failed has no reward: valid is false there and the batch goes on.
    """

    reward: Tensor
    valid: Tensor
    asked: Tensor
    local_right: Tensor  # answered by itself, and right
    cloud_right: Tensor  # asked at all, and the reply was right
    token_ask_probability: Tensor  # (drawn tokens,) of asking instead, under the policy that drew

    @property
    def usage(self) -> float:
        """The share of all responses that asked."""
        return float(self.asked.float().mean())

    @property
    def expected_usage(self) -> float:
        """As `usage` in the mean, with less noise: each drawn token's chance of asking, summed.

        Not 1 - prod(1 - p) per response: one that asked was cut short, and its product with it.
        """
        return float(self.token_ask_probability.sum() / self.asked.numel())

    @property
    def right(self) -> Tensor:
        """Whether the system's answer was right, whoever gave it."""
        return self.local_right | (self.asked & self.cloud_right[:, None])


def is_right(query: Query, completion: str) -> bool:
    answer = answer_of(completion)
    return answer is not None and FAMILIES[query.family].check(answer, query.solution)


def score_responses(
    queries: Sequence[Query],
    texts: Sequence[str],
    asked: Tensor,
    replies: dict[int, Reply],
    token_ask_probability: Tensor,
    worth: RewardConfig,
) -> Scores:
    """Reward every response: askers by the reply they share, the others by their own answer.

    asked: (prompts, group); texts: a response each, prompts side by side; replies: by prompt.
    """
    prompts, group = asked.shape
    device = asked.device
    local = torch.zeros(prompts, group, dtype=torch.bool)
    reward = torch.zeros(prompts, group)
    for i, query in enumerate(queries):
        for j in range(group):
            text = texts[i * group + j]
            if is_right(query, text):
                local[i, j], reward[i, j] = True, worth.local
            elif answer_of(text) is not None:
                reward[i, j] = worth.format
    cloud = torch.zeros(prompts, dtype=torch.bool)
    failed = torch.zeros(prompts, dtype=torch.bool)
    for i, reply in replies.items():
        failed[i] = reply.error is not None
        cloud[i] = not failed[i] and is_right(queries[i], reply.text or "")
    local, reward, cloud, failed = (t.to(device) for t in (local, reward, cloud, failed))
    reward = torch.where(asked, worth.cloud * cloud[:, None].float(), reward)
    return Scores(
        reward=reward,
        valid=~(asked & failed[:, None]),
        asked=asked,
        local_right=local & ~asked,
        cloud_right=cloud,
        token_ask_probability=token_ask_probability,
    )
