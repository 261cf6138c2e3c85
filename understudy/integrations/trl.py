"""DA-GRPO inside TRL's GRPOTrainer: the dual advantage, its price, and a metered cloud.

    repeat
        TRL draws G completions per prompt
        those that ask share one reply of the cloud; TRL rewards completion + reply
        A_i = (r_i - mean r) - price * (c_i - mean c)        means over the group, c_i = 1: asked
        price <- max(0, price + price_rate * (share of completions that asked - budget))
        TRL takes its optimiser steps with A

Sampling, rewards, losses, adapters, processes and logs are TRL's; written for TRL 1.16.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from understudy.clouds import MeteredCloud
from understudy.errors import CheckpointError, ConfigError
from understudy.files import write_json
from understudy.link import Spend
from understudy.models.asking import asks_for_help
from understudy.models.tokens import REQUEST
from understudy.objectives import dual_advantage, dual_step
from understudy.tasks.rewards import text_of
from understudy.types import Cloud, Question, Reply, Turn

try:
    from accelerate.utils import broadcast_object_list, gather_object
    from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
    from trl import GRPOTrainer
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"understudy.integrations.trl needs {error.name}: pip install 'understudy[trl]'",
        name=error.name,
    ) from error

STATE = "dual_advantage.json"  # a file of every checkpoint


def question_of(row: Mapping[str, Any]) -> Question:
    """A row of the data set as the cloud is asked it: its prompt, a text or a conversation.

    A text may have an instruction, in a column of that name.
    """
    prompt = row["prompt"]
    if isinstance(prompt, str):
        return Question.of(prompt, row.get("instruction") or "")
    if not all(isinstance(message["content"], str) for message in prompt):
        raise ConfigError(
            "a prompt holds more than text; "
            "pass question=, a function from a row to an understudy.types.Question"
        )
    return Question(tuple(Turn(each["role"], each["content"]) for each in prompt))


def asked(asked: list[bool], **_: Any) -> list[float]:
    """A reward function in TRL's sense: 1 where a completion asked. Its weight is minus the price.

    The trainer adds the column `asked` to what every reward function gets.
    """
    return [float(each) for each in asked]


class DualAdvantageGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """TRL's GRPOTrainer whose completions may ask a cloud, within a budget.

    cloud: who is asked, once for each question; a call that fails leaves its askers without a
        reward, and they enter no mean.
    budget: the share of completions that may ask, or a function from the optimiser step to it.
    price, price_rate: the price before the first batch, and the step of its dual ascent.
    request: what a completion ends with to ask. A text is recognised with small misspellings;
        a single token of the tokenizer ends the completion by itself.
    question: what of a row of the data set the cloud is asked; `question_of` unless given.

    All else is GRPOTrainer's, which see.  args.scale_rewards must be "none".
    """

    # TRL fills these, and they get one more: asking.
    reward_funcs: list[Any]
    reward_func_names: list[str]
    reward_processing_classes: list[Any]
    reward_weights: Tensor
    eos_token_ids: list[int]

    def __init__(
        self,
        *args: Any,
        cloud: Cloud,
        budget: float | Callable[[int], float],
        price: float = 0.5,
        price_rate: float = 0.01,
        request: str = REQUEST,
        question: Callable[[Mapping[str, Any]], Question] = question_of,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        _check(self.args, price, price_rate)
        self.cloud = {"train": MeteredCloud(cloud), "eval": MeteredCloud(cloud)}
        self.budget, self.price, self.price_rate = budget, price, price_rate
        self.request, self.question = request, question
        self._advantages = torch.empty(0)
        self._request_token: int | None = self._tokenizer.get_vocab().get(request)
        if self._request_token is not None:
            self._end_at(self._request_token)
        self.reward_funcs = [*self.reward_funcs, asked]
        self.reward_func_names = [*self.reward_func_names, asked.__name__]
        self.reward_processing_classes = [*self.reward_processing_classes, None]
        self.reward_weights = torch.cat([self.reward_weights, torch.tensor([-price])])
        self.budget_now()  # one that cannot be used is refused before the first batch

    def budget_now(self) -> float:
        """The budget of the next batch."""
        step = self.state.global_step
        budget = self.budget(step) if callable(self.budget) else self.budget
        if not 0 <= budget <= 1:
            raise ConfigError(f"budget={budget} at step {step}: it is a share, from 0 to 1")
        return budget

    def _end_at(self, token: int) -> None:
        """Let the request end a completion, as the tokenizer's own end does."""
        self.eos_token_ids = [*self.eos_token_ids, token]
        if self.use_vllm:
            if token not in (self.args.generation_kwargs or {}).get("stop_token_ids", []):
                raise ConfigError(
                    f"use_vllm=True with request={self.request!r}: set "
                    f"generation_kwargs={{'stop_token_ids': [{token}]}}, or it ends no completion"
                )
        else:
            self.generation_kwargs["eos_token_id"] = self.eos_token_ids
            self.generation_config.eos_token_id = self.eos_token_ids

    def _asks(self, completion: Any, ids: list[int]) -> bool:
        if self._request_token is not None:
            return ids[-1] == self._request_token
        return asks_for_help(text_of(completion), self.request)

    def _replies(self, questions: list[Question], mode: str) -> tuple[dict[Question, Reply], Spend]:
        """The replies to all processes' questions, and what has been spent; process 0 calls."""
        wanted = gather_object(questions)
        shared: list[Any] = [None]
        if self.accelerator.is_main_process:
            meter = self.cloud[mode]
            shared = [(meter.replies(wanted), meter.spend)]
        replies, spend = broadcast_object_list(shared)[0]
        return dict(zip(wanted, replies, strict=True)), spend

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        completion_ids_list: list[list[int]],
    ) -> Tensor:
        """TRL's rewards of what the askers are served, asking itself as the last column.

        Takes this process's completions; returns (all processes' completions, columns).
        """
        mode, device = "train" if self.model.training else "eval", self.accelerator.device
        group = self.num_generations if self.model.training else self.num_generations_eval
        ends = zip(completions, completion_ids_list, strict=True)
        asks = [self._asks(completion, ids) for completion, ids in ends]
        questions = {i: self.question({**inputs[i], "prompt": prompts[i]}) for i in _where(asks)}
        replies, spend = self._replies(list(questions.values()), mode)
        served, failed = list(completions), torch.zeros(len(asks), device=device)
        for i, question in questions.items():
            reply = replies[question]
            failed[i] = reply.error is not None
            served[i] = _with_reply(completions[i], reply.text or "")
        rows = [{**row, "asked": ask} for row, ask in zip(inputs, asks, strict=True)]
        rewards: Tensor = super()._calculate_rewards(rows, prompts, served, completion_ids_list)

        reward = (rewards[:, :-1] * self.reward_weights[:-1].to(device)).nansum(dim=1)
        ask, lost = rewards[:, -1].clone(), self.accelerator.gather(failed).bool()
        valid = ~lost & ~rewards[:, :-1].isnan().all(dim=1)
        rewards[~valid] = torch.nan  # as TRL marks a completion without a reward
        self.reward_weights[-1] = -self.price
        reward, ask, valid = (each.view(-1, group) for each in (reward, ask, valid))
        self._advantages = dual_advantage(reward, ask, self.price, valid).flatten()
        self._note(mode, ask, valid, spend)
        if mode == "train":
            usage = float(ask.mean())
            self.price = dual_step(self.price, usage, self.budget_now(), self.price_rate)
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's batch with our advantages: equal but for rounding, and without noise.

        TRL's mean of equal rewards is off by one part in 10^8, which Adam would enlarge to a
        full step wherever no group has a signal; ours is exactly zero there.
        """
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        mine = len(inputs) * self.accelerator.process_index
        batch["advantages"] = self._advantages[mine : mine + len(inputs)]
        return batch

    def _note(self, mode: str, ask: Tensor, valid: Tensor, spend: Spend) -> None:
        """Our metrics beside TRL's: shares of this batch, and totals so far.  All (prompts, G)."""
        metrics = self._metrics[mode]
        shares = {
            "rewards/valid": float(valid.float().mean()),
            "cloud/ask_rate": float(ask.mean()),
            "cloud/budget": self.budget_now(),
            "cloud/price": self.price,
            "cloud/all_ask_groups": float(ask.all(dim=1).float().mean()),
            "cloud/no_ask_groups": float((ask == 0).all(dim=1).float().mean()),
        }
        for name, share in shares.items():
            metrics[name].append(share)  # TRL logs the mean over the batches since its last line
        metrics["cloud/calls"] = [spend.calls]
        metrics["cloud/failed_calls"] = [spend.failed_calls]
        metrics["cloud/dollars"] = [spend.dollars]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            meters = {mode: meter.state() for mode, meter in self.cloud.items()}
            folder = Path(self._get_output_dir(trial=trial)) / name
            write_json(folder / STATE, {"price": self.price, "cloud": meters})

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        path = Path(checkpoint) / STATE
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{path}: cannot be read ({error}); resume from a checkpoint of this trainer"
            ) from error
        self.price = saved["price"]
        for mode, meter in self.cloud.items():
            self.cloud[mode] = meter.restored(saved["cloud"][mode])


def _check(args: Any, price: float, price_rate: float) -> None:
    """Refuse what would break the method; TRL itself refuses fewer than two generations."""
    for name, needed in (("scale_rewards", "none"), ("multi_objective_aggregation", _SUM)):
        if (given := getattr(args, name)) != needed:
            raise ConfigError(
                f"{name}={given!r} divides by a spread and so rescales price={price}; "
                f"set {name}={needed!r}"
            )
    for name, value in (("price", price), ("price_rate", price_rate)):
        if not 0 <= value < float("inf"):
            raise ConfigError(f"{name}={value}: use a finite number, 0 or more")


_SUM = "sum_then_normalize"


def _where(flags: list[bool]) -> list[int]:
    return [i for i, flag in enumerate(flags) if flag]


def _with_reply(completion: Any, reply: str) -> Any:
    """What an asker is served, in the form that TRL gave it: its own text, then the reply."""
    text = "\n".join(part for part in (text_of(completion), reply) if part)
    return (
        text
        if isinstance(completion, str)
        else [*completion[:-1], completion[-1] | {"content": text}]
    )
