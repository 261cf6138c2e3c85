"""From responses and replies to rewards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from understudy.offload.rewards import Reward, RewardConfig
from understudy.types import Problem, Reply


@dataclass(frozen=True, slots=True)
class Scores:
    """What a batch was worth. All (prompts, group) but cloud_right, which is (prompts,).

    A response whose call failed or whose answer could not be checked has no reward: valid is
    false there and the batch goes on.
    """

    reward: Tensor
    valid: Tensor
    asked: Tensor
    local_right: Tensor  # answered by itself, and right
    formed: Tensor  # answered by itself, in a form from which an answer can be read
    cloud_right: Tensor  # asked at all, and the reply was right
    ask_probability: Tensor  # of each response: that it asks by the token somewhere on its way
    token_ask_probability: Tensor  # (drawn tokens,) of asking instead; 1 where words did
    lengths: Tensor  # drawn tokens
    finished: Tensor  # ended by itself
    entropy: Tensor  # summed over tokens
    named: Mapping[str, Tensor] = field(default_factory=dict)  # the user's rewards; NaN: skipped
    undecided: int = 0  # answers whose check came to no verdict

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


class Checker(Protocol):
    """Who knows the answers: `understudy.tasks.Tasks`."""

    def check(
        self, problems: Sequence[Problem], completions: Sequence[str]
    ) -> Sequence[float | None]: ...

    def answer(self, problem: Problem, completion: str) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Valuation:
    """How a response is rewarded: what an answer is worth, and the user's own rewards."""

    checker: Checker
    worth: RewardConfig
    rewards: tuple[tuple[Reward, float], ...] = ()  # with their weights


@dataclass(frozen=True, slots=True)
class Responses:
    """The responses of a batch, prompts side by side; asked: (prompts, group)."""

    problems: Sequence[Problem]
    texts: Sequence[str]
    asked: Tensor
    replies: Mapping[int, Reply]  # by prompt


def score_responses(valuation: Valuation, given: Responses) -> dict[str, Any]:
    """Reward every response: askers by the reply they share, the others by their own answer.

    Returns the fields of `Scores` that depend on what was said.
    """
    prompts, group = given.asked.shape
    asked = given.asked.cpu()
    owners = [problem for problem in given.problems for _ in range(group)]
    alone = (~asked).flatten().nonzero().flatten().tolist()
    answered = [i for i, reply in given.replies.items() if reply.error is None]
    verdicts = valuation.checker.check(
        [owners[i] for i in alone] + [given.problems[i] for i in answered],
        [given.texts[i] for i in alone] + [given.replies[i].text or "" for i in answered],
    )
    value = torch.zeros(prompts * group)
    value[alone] = _tensor(verdicts[: len(alone)])
    cloud = torch.full((prompts,), math.nan)  # a failed call is worth nothing known
    cloud[answered] = _tensor(verdicts[len(alone) :])
    worth, local = valuation.worth, value.view(prompts, group)
    reward = worth.local * local
    formed = torch.zeros(prompts * group, dtype=torch.bool)
    formed[
        [i for i in alone if valuation.checker.answer(owners[i], given.texts[i]) is not None]
    ] = True
    if worth.format:
        reward.view(-1)[formed & (value == 0)] = worth.format
    reward = torch.where(asked, worth.cloud * cloud[:, None], reward)
    named = _rewards(valuation, given, owners)
    for (_, weight), values in zip(valuation.rewards, named.values(), strict=True):
        reward = reward + weight * values.nan_to_num(0.0)
    return {
        "reward": reward.nan_to_num(0.0),
        "valid": ~reward.isnan(),
        "local_right": (local >= 1) & ~asked,
        "formed": formed.view(prompts, group),
        "cloud_right": cloud >= 1,
        "named": named,
        "undecided": sum(verdict is None for verdict in verdicts),
    }


def _rewards(valuation: Valuation, given: Responses, owners: list[Problem]) -> dict[str, Tensor]:
    """The user's rewards of the full responses: an asker's is its own text and the reply."""
    if not valuation.rewards:
        return {}
    asked, group = given.asked.flatten().tolist(), given.asked.shape[1]
    replies = [given.replies.get(i) for i in range(len(given.problems)) for _ in range(group)]
    full = [
        text + (reply.text or "" if asks and reply is not None else "")
        for text, asks, reply in zip(given.texts, asked, replies, strict=True)
    ]
    return {
        reward.name: _tensor(reward.values(owners, full)).view(given.asked.shape)
        for reward, _ in valuation.rewards
    }


def joined(parts: Sequence[Scores]) -> Scores:
    """The scores of several shares of a batch as one."""
    if len(parts) == 1:
        return parts[0]
    whole = {
        each.name: torch.cat([getattr(part, each.name) for part in parts])
        for each in fields(Scores)
        if each.name not in ("named", "undecided")
    }
    named = {name: torch.cat([part.named[name] for part in parts]) for name in parts[0].named}
    return Scores(**whole, named=named, undecided=sum(part.undecided for part in parts))


def moved(scores: Scores, device: torch.device | str) -> Scores:
    """The same scores with every tensor on a device."""
    tensors = {each.name: getattr(scores, each.name) for each in fields(Scores)}
    named = {name: values.to(device) for name, values in scores.named.items()}
    return Scores(
        **{name: value.to(device) for name, value in tensors.items() if torch.is_tensor(value)},
        named=named,
        undecided=scores.undecided,
    )


def _tensor(values: Sequence[float | None]) -> Tensor:
    return torch.tensor([math.nan if value is None else float(value) for value in values])
