"""The adapter inside the real trainer of TRL: advantages, price, cloud, checkpoints, refusals."""

from __future__ import annotations

import asyncio
import json
import os
import random
import runpy
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

pytest.importorskip("trl")

from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig

from tests.checks import TASKS
from tests.integrations.given import ASK, GIVEN, GivenCloud, correct, rows, trainer_of
from tests.offload.runs import drawn_figures, saved_model
from understudy.clouds import MeteredCloud, SimulatedCloud
from understudy.errors import CheckpointError, ConfigError
from understudy.integrations.trl import STATE, DualAdvantageGRPOTrainer, question_of
from understudy.objectives import dual_advantage, dual_step, reduce_loss, reinforce_loss
from understudy.offload.experience import ask
from understudy.offload.rewards import RewardConfig
from understudy.offload.scores import Responses, Scores, Valuation, score_responses
from understudy.recipes import build_method, resolve_config
from understudy.tasks import KeyOfDrawn
from understudy.tasks.stream import Phase
from understudy.types import Problem, Question

# Of GIVEN at a price of 0.5. easy: r = 1 0 1 1, c = 0 0 1 1. dead: the one that asked has no
# reward, so r = 1 0 0 and c = 0. hard: r = c = 1, no signal.
BY_HAND = [0.5, -0.5, 0.0, 0.0, 2 / 3, -1 / 3, 0.0, -1 / 3, 0.0, 0.0, 0.0, 0.0]


def last(trainer: Any, name: str) -> float:
    return float(trainer._metrics["train"][name][-1])


def test_advantages_price_and_metrics_by_hand(tmp_path: Path) -> None:
    cloud = GivenCloud()
    trainer = trainer_of(tmp_path, GIVEN, cloud, price=0.5, price_rate=0.1, budget=0.25)
    batch = trainer._generate_and_score_completions(rows(GIVEN))
    assert_close(batch["advantages"], tensor(BY_HAND))
    assert trainer.price == pytest.approx(0.5 + 0.1 * (7 / 12 - 0.25))  # the failed one asked too
    assert sorted(cloud.seen) == ["dead", "easy", "hard"]
    expected = {
        "rewards/valid": 11 / 12,
        "cloud/ask_rate": 7 / 12,
        "cloud/budget": 0.25,
        "cloud/price": 0.5,
        "cloud/all_ask_groups": 1 / 3,
        "cloud/no_ask_groups": 0.0,
        "cloud/calls": 3,
        "cloud/failed_calls": 1,
        "cloud/dollars": 1.0,
    }
    assert {name: last(trainer, name) for name in expected} == pytest.approx(expected)


def test_what_is_known_is_not_asked_again_and_what_failed_is(tmp_path: Path) -> None:
    cloud = GivenCloud()
    trainer = trainer_of(tmp_path, GIVEN, cloud)
    for _ in range(2):
        trainer._generate_and_score_completions(rows(GIVEN))
    assert sorted(cloud.seen) == ["dead", "dead", "easy", "hard"]


def test_an_examination_pays_from_its_own_purse_and_moves_no_price(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, GIVEN, GivenCloud(), config={"num_generations_eval": 2})
    trainer.model.eval()
    trainer._generate_and_score_completions(rows(GIVEN))
    assert trainer.price == 0.5
    assert trainer.cloud["train"].spend.calls == 0
    assert trainer._metrics["eval"]["cloud/calls"] == [3]
    assert trainer._metrics["eval"]["cloud/all_ask_groups"] == [0.5]  # of six groups of two


class Ear:
    """Who knows the answers of GIVEN, as our loop asks."""

    def check(self, problems: Sequence[Problem], completions: Sequence[str]) -> list[float | None]:
        return [float(text.split()[-1] == "right") for text in completions]

    def answer(self, problem: Problem, completion: str) -> str | None:
        return None


@pytest.mark.parametrize("seed", range(3))
def test_on_the_same_rollouts_advantages_and_price_are_those_of_our_loop(
    tmp_path: Path, seed: int
) -> None:
    luck, group, rate, budget = random.Random(seed), 8, 0.3, 0.2
    given = {name: luck.choices(["right", "wrong", ASK], k=group) for name in GIVEN}
    given["dead"][0] = ASK  # whose call fails
    trainer = trainer_of(tmp_path, given, GivenCloud(), price_rate=rate, budget=budget)
    batch = trainer._generate_and_score_completions(rows(given))

    settings = ["price.initial=0.5", f"price.rate={rate}"]
    recipe = build_method(resolve_config("dagrpo", None, settings))
    problems = [Problem(name, "", "", 1, "") for name in given]
    texts = [text for group_ in given.values() for text in group_]
    asked = tensor([text == ASK for text in texts]).view(-1, group)
    replies = ask(MeteredCloud(GivenCloud()), problems, asked)
    said = Responses(problems, texts, asked, replies)
    judged = score_responses(Valuation(Ear(), RewardConfig()), said)
    scores = Scores(**judged, **drawn_figures(asked), token_ask_probability=torch.zeros(1))
    dual = recipe.start()
    assert 0 < int(scores.valid.sum()) < scores.valid.numel()
    assert torch.equal(batch["advantages"], recipe.advantage(scores, dual).flatten())
    assert trainer.price == pytest.approx(recipe.next_dual(dual, scores, budget).price)


@pytest.mark.parametrize("seed", range(3))
def test_advantages_are_the_dual_advantage_and_trls_own(tmp_path: Path, seed: int) -> None:
    """Random requests and rewards of two functions, some missing, at a price that moved."""
    luck, group = random.Random(seed), 6
    given = {name: [luck.choice(["hm", ASK]) for _ in range(group)] for name in GIVEN}
    given["easy"] = ["hm"] * group  # rewards alone
    columns = [[luck.choice([None, luck.random()]) for _ in range(3 * group)] for _ in range(2)]

    def first(**_: Any) -> list[float | None]:
        return columns[0]

    def second(**_: Any) -> list[float | None]:
        return columns[1]

    trainer = trainer_of(
        tmp_path,
        given,
        GivenCloud(),
        price=0.37,
        reward_funcs=[first, second],
        config={"reward_weights": [1.0, 0.3]},
    )
    batch = trainer._generate_and_score_completions(rows(given))

    asked = tensor([[text == ASK for text in texts] for texts in given.values()])
    valid = tensor([a is not None or b is not None for a, b in zip(*columns, strict=True)])
    valid = valid.view(3, group) & ~(asked & tensor([[name == "dead"] for name in given]))
    reward = tensor([(a or 0.0) + 0.3 * (b or 0.0) for a, b in zip(*columns, strict=True)])
    expected = dual_advantage(reward.view(3, group), asked, 0.37, valid).flatten()
    assert 0 < valid.sum() < valid.numel()
    assert_close(batch["advantages"], expected)
    assert_close(tensor(list(trainer._logs["advantages"])), expected, atol=1e-6, rtol=1e-5)


def test_equal_rewards_push_nobody(tmp_path: Path) -> None:
    """TRL's own mean of six times 1 - 0.35 is off by a rounding, which Adam would enlarge."""
    given = {"hard": [ASK] * 6}
    trainer = trainer_of(tmp_path, given, GivenCloud(), price=0.35)
    batch = trainer._generate_and_score_completions(rows(given))
    assert batch["advantages"].tolist() == [0.0] * 6
    assert any(trainer._logs["advantages"])


def test_conversations_and_reward_functions_see_the_reply(tmp_path: Path) -> None:
    heard: dict[str, Any] = {}

    def listening(completions: list[Any], **columns: Any) -> list[float]:
        heard.update(completions=completions, asked=columns["asked"])
        return correct(completions)

    given = {"easy": ["right", ASK]}
    trainer = trainer_of(tmp_path, given, GivenCloud(), reward_funcs=listening)
    prompt = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "easy"}]
    batch = trainer._generate_and_score_completions([{"prompt": prompt} for _ in range(2)])
    assert heard["completions"] == [
        [{"role": "assistant", "content": "right"}],
        [{"role": "assistant", "content": f"{ASK}\nright"}],
    ]
    assert heard["asked"] == [False, True]
    assert_close(batch["advantages"], tensor([0.25, -0.25]))  # -0.5 * (c - 1/2): both are right


def test_a_row_becomes_a_question_without_its_solution() -> None:
    row = {"prompt": "1+1", "solution": "2", "level": 3, "tests": ["a"], "asked": True}
    assert question_of(row) == Question.of("1+1")
    assert question_of(row | {"instruction": "brief"}) == Question.of("1+1", "brief")
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    assert question_of({"prompt": turns}) == Question.of("u", "s")
    longer = [*turns, {"role": "assistant", "content": "a"}, {"role": "user", "content": "v"}]
    assert question_of({"prompt": longer}).chat == longer
    with pytest.raises(ConfigError, match="question="):
        question_of({"prompt": [{"role": "user", "content": [{"type": "image"}]}]})


def test_it_works_within_a_running_event_loop(tmp_path: Path) -> None:
    """As in a notebook."""
    trainer = trainer_of(tmp_path, GIVEN, GivenCloud())

    async def cell() -> Any:
        return trainer._generate_and_score_completions(rows(GIVEN))["advantages"]

    assert_close(asyncio.run(cell()), tensor(BY_HAND))


@pytest.mark.parametrize("loss_type", ["luspo", "dr_grpo"])
def test_the_gradient_is_our_loops_but_for_a_constant(tmp_path: Path, loss_type: str) -> None:
    longest = 9
    config = {"loss_type": loss_type, "max_completion_length": longest}
    trainer = trainer_of(tmp_path, GIVEN, GivenCloud(), config=config)
    batch = trainer._generate_and_score_completions(rows(GIVEN))
    model, prompts, group = trainer.model, len(GIVEN), 4
    model.eval()  # no dropout; on policy TRL's ratio is 1, and its gradient that of REINFORCE

    trainer.compute_loss(model, batch).backward()
    theirs = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    logits = model(ids).logits[:, batch["prompt_ids"].shape[1] - 1 : -1]
    drawn = batch["completion_ids"].unsqueeze(-1)
    logprobs = logits.log_softmax(-1).gather(-1, drawn).squeeze(-1)
    losses = reinforce_loss(logprobs, tensor(BY_HAND))
    mask = batch["completion_mask"]
    reduce_loss(losses, mask, "dagrpo", group=group, max_completion_length=longest).backward()

    factor = {"luspo": group / (group - 1), "dr_grpo": group * longest / (group - 1)}[loss_type]
    assert prompts * group == len(mask)
    for name, weight in model.named_parameters():
        assert_close(theirs[name] * factor, weight.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("config", "options", "names"),
    [
        ({"scale_rewards": "group"}, {"price": 0.7}, ["scale_rewards='group'", "price=0.7"]),
        ({"scale_rewards": "batch"}, {}, ["scale_rewards='batch'", "price=0.5"]),
        (
            {"multi_objective_aggregation": "normalize_then_sum"},
            {},
            ["multi_objective_aggregation='normalize_then_sum'", "price"],
        ),
        ({}, {"budget": 1.5}, ["budget=1.5"]),
        ({}, {"budget": lambda step: -0.1}, ["budget=-0.1", "step 0"]),
        ({}, {"price": -1.0}, ["price=-1.0"]),
        ({}, {"price_rate": float("nan")}, ["price_rate=nan"]),
    ],
)
def test_what_would_break_the_method_is_refused_in_one_line(
    tmp_path: Path, config: dict[str, Any], options: dict[str, Any], names: list[str]
) -> None:
    with pytest.raises(ConfigError) as refused:
        trainer_of(tmp_path, GIVEN, GivenCloud(), config=config, **options)
    assert all(name in str(refused.value) for name in names)
    assert "\n" not in str(refused.value)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of one block that asks now and then."""
    return saved_model(tmp_path_factory.mktemp("model"))


FIELDS = ("solution", "family", "level", "worked")


def solved(completions: list[str], **columns: Any) -> list[float | None]:
    given = zip(*(columns[name] for name in FIELDS), strict=True)
    return TASKS.check([Problem("", *fields) for fields in given], completions)


def learner(model: Path, folder: Path, steps: int, **options: Any) -> DualAdvantageGRPOTrainer:
    """The real thing: TRL draws with transformers, `<ask>` ends a completion, a cloud helps."""
    problems = TASKS.batch(Phase(families=["facts"], levels=(1, 1)), 8, "train", "0")
    problems = [replace(problem, prompt=problem.prompt + "\n") for problem in problems]
    data = [{name: getattr(each, name) for name in ("prompt", *FIELDS)} for each in problems]
    key = KeyOfDrawn()
    key.remember(problems)
    args = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=8,
        learning_rate=0.003,
        lr_scheduler_type="constant",
        loss_type="dr_grpo",
        scale_rewards="none",
        beta=0.0,
        max_steps=steps,
        save_strategy="steps",
        save_steps=2,
        logging_steps=1,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
    )
    return DualAdvantageGRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        reward_funcs=solved,
        args=args,
        train_dataset=Dataset.from_list(data),
        processing_class=AutoTokenizer.from_pretrained(model),
        cloud=SimulatedCloud(SimulatedCloud.Settings(accuracy=0.9), key),
        request="<ask>",
        price_rate=0.2,
        **{"budget": lambda step: 0.1 if step < 2 else 0.6} | options,
    )


def lines(trainer: Any) -> list[dict[str, Any]]:
    return [line for line in trainer.state.log_history if "cloud/price" in line]


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_numbers(model: Path, tmp_path: Path) -> None:
    whole = learner(model, tmp_path / "whole", 4)
    whole.train()
    # The price follows what was logged, step by step, under a budget that switches.
    price, written = 0.5, lines(whole)
    assert [line["cloud/budget"] for line in written] == [0.1, 0.1, 0.6, 0.6]
    assert 0 < sum(line["cloud/ask_rate"] for line in written) < 4
    for line in written:
        assert line["cloud/price"] == pytest.approx(price)
        price = dual_step(price, line["cloud/ask_rate"], line["cloud/budget"], 0.2)
    assert whole.price == pytest.approx(price)
    assert written[-1]["cloud/calls"] == whole.cloud["train"].spend.calls > 0

    learner(model, tmp_path / "half", 2).train()
    resumed = learner(model, tmp_path / "half", 4)
    resumed.train(resume_from_checkpoint=True)
    untimed = [
        [{k: v for k, v in line.items() if k not in ("step_time", "epoch")} for line in lines(each)]
        for each in (whole, resumed)
    ]
    assert untimed[0] == untimed[1]
    assert whole.price == resumed.price
    assert whole.cloud["train"].state() == resumed.cloud["train"].state()
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_of_another_trainer_is_refused(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, GIVEN, GivenCloud())
    with pytest.raises(CheckpointError, match=STATE):
        trainer._load_optimizer_and_scheduler(str(tmp_path))


def test_adapters_are_trls(model: Path, tmp_path: Path) -> None:
    lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    trainer = learner(model, tmp_path, 1, peft_config=lora)
    trainer.train()
    trained = [name for name, weight in trainer.model.named_parameters() if weight.requires_grad]
    assert trained
    assert all("lora" in name for name in trained)
    assert 0 < lines(trainer)[0]["cloud/ask_rate"] < 1


@pytest.mark.slow
def test_two_processes_are_one_batch(tmp_path: Path) -> None:
    """Six completions each of three groups of four: the middle group lies in both."""
    script = Path(__file__).with_name("two_processes.py")
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*run, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": "."},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert_close(tensor(told[0]["advantages"] + told[1]["advantages"]), tensor(BY_HAND))
    assert [sorted(each["seen"]) for each in told] == [["dead", "easy", "hard"], []]
    for each in told:
        assert each["price"] == pytest.approx(0.5 + 0.1 * (7 / 12 - 0.25))
        assert each["calls"] == 3
        assert each["dollars"] == 1.0


@pytest.mark.slow
def test_the_example_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Path(__file__).parents[2] / "examples" / "trl_dual_advantage.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--steps", "2"])
    runpy.run_path(str(script), run_name="__main__")
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    assert [line.split()[5] for line in shown] == ["0.33", "0.10"]
