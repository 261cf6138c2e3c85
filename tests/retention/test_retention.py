"""What holds old skill: the KL to the model before training, and rehearsal."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.offload.runs import (
    Silent,
    StoppedError,
    config_of,
    first_experience,
    results_of,
    run_new,
    run_on,
    trajectory,
)
from understudy.errors import CheckpointError
from understudy.objectives.terms import AnswerTerm
from understudy.offload.experience import verified_examples
from understudy.offload.learn import answer_losses, read_portion
from understudy.offload.learner import PolicyLearner, holding
from understudy.offload.loop import objective_of, update
from understudy.offload.start import load_policy
from understudy.offload.team import ALONE
from understudy.recipes import resolve_config
from understudy.retention import RETENTIONS
from understudy.retention.build import build_retention
from understudy.retention.rehearsal import Rehearsal
from understudy.retention.retention import Retention
from understudy.run import RunDirectory
from understudy.types import Example, Question

REHEARSAL: dict[str, Any] = {
    "retention": {"kind": "rehearsal", "size": 6, "rows": 4, "candidates": 6}
}


class NoModel:
    """For a memory that is filled by hand."""

    def tensors(self) -> Mapping[str, Tensor]:
        return {}

    before = tensors

    def logprobs(self, examples: object) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


class Forgetful(NoModel):
    """Its loss on an example is what `losses` says of its answer, a token each."""

    def __init__(self) -> None:
        self.losses: dict[str, float] = {}
        self.looked = 0

    def logprobs(self, examples: Any) -> tuple[Tensor, Tensor]:
        self.looked += len(examples)
        found = torch.tensor([[-self.losses[each.answer], 99.0] for each in examples])
        return found, torch.tensor([[True, False]] * len(examples))


def memory(size: int, rows: int = 4, seed: int = 0, learner: Any = None) -> Rehearsal:
    """choose=random where there is no learner whose losses could be looked at."""
    choose: Any = "random" if learner is None else "forgotten"
    settings = Rehearsal.Settings(kind="rehearsal", size=size, rows=rows, choose=choose)
    return Rehearsal(settings, learner or NoModel(), seed)


def example(number: int) -> Example:
    instruction = "sag's kurz" if number % 2 else ""
    return Example(Question.of(f"was ist {number}? é", instruction), f"#{number}")


def test_only_earlier_phases_are_rehearsed() -> None:
    kept = memory(size=10)
    for step in range(4):
        kept.after_step(1, step, [example(step)])
    assert list(kept.terms(1, 4)) == []
    kept.after_step(2, 4, [example(99)])
    (term,) = kept.terms(2, 5)
    assert isinstance(term, AnswerTerm)
    assert sorted(each.answer for each in term.examples) == ["#0", "#1", "#2", "#3"]
    (later,) = kept.terms(3, 6)
    assert isinstance(later, AnswerTerm)
    assert len(later.examples) == 4


def test_what_is_forgotten_most_is_rehearsed() -> None:
    learner = Forgetful()
    kept = memory(size=10, rows=2, learner=learner)
    for step in range(3):
        kept.after_step(1, step, [example(2 * step), example(2 * step + 1)])
    assert list(kept.terms(1, 3)) == []
    assert learner.looked == 0
    learner.losses = {f"#{number}": float(number) for number in range(6)}
    kept.at_switch(1)
    assert list(kept.terms(2, 3)) == []  # nothing is forgotten yet
    # The highest loss is no news; two losses rose, one by more than the other, and one fell.
    learner.losses |= {"#1": 1.5, "#2": 3.0, "#3": 2.0}
    (term,) = kept.terms(2, 4)
    assert isinstance(term, AnswerTerm)
    assert [each.answer for each in term.examples] == ["#2", "#1"]
    learner.losses["#4"] = 9.0
    (term,) = kept.terms(2, 5)
    assert isinstance(term, AnswerTerm)
    assert [each.answer for each in term.examples] == ["#4", "#2"]  # no more than `rows`
    again = memory(size=10, rows=2, learner=learner)
    again.restore(kept.tensors())
    assert again.terms(2, 6) == kept.terms(2, 6)


def test_only_candidates_are_looked_at() -> None:
    learner = Forgetful()
    kept = memory(size=100, learner=learner)
    kept.after_step(1, 0, [example(number) for number in range(100)])
    learner.losses = {f"#{number}": 1.0 for number in range(100)}
    kept.at_switch(1)
    learner.looked = 0
    kept.terms(2, 1)
    assert learner.looked == 16


def test_each_step_of_a_warm_start_looks_at_other_candidates() -> None:
    """All of them come before one step of the run; begun anew, they are the same."""
    learner = Forgetful()
    kept = memory(size=100, rows=16, learner=learner)
    kept.after_step(1, 0, [example(number) for number in range(100)])
    learner.losses = {f"#{number}": 1.0 for number in range(100)}
    kept.at_switch(1)
    learner.losses = {f"#{number}": 2.0 for number in range(100)}

    def three_times(held: Rehearsal) -> list[list[str]]:
        found = [held.terms(2, 5) for _ in range(3)]
        return [[each.answer for each in term.examples] for (term,) in found]  # type: ignore[attr-defined]

    first, *more = three_times(kept)
    assert all(len(set(other) & set(first)) < 10 for other in more)
    assert more[0] != more[1]
    again = memory(size=100, rows=16, learner=learner)
    again.restore(kept.tensors())
    again.terms(2, 4)
    assert three_times(again) == [first, *more]


def test_every_example_is_kept_with_equal_chance() -> None:
    counts: Counter[str] = Counter()
    for seed in range(400):
        kept = memory(size=5, seed=seed)
        for step in range(10):
            kept.after_step(1, step, [example(2 * step), example(2 * step + 1)])
        assert len(kept.memories[1].kept) == 5
        counts.update(each.answer for each in kept.memories[1].kept)
    assert len(counts) == 20
    # 100 each in the mean, with a standard deviation of 8.7.
    assert all(60 < count < 140 for count in counts.values())


def test_a_memory_comes_back_from_its_tensors_as_it_was() -> None:
    kept, again = memory(size=3), memory(size=3)
    for step in range(5):
        kept.after_step(1 + step // 3, step, [example(step), example(step + 100)])
    kept.after_step(7, 9, [])  # nothing was right
    again.restore(kept.tensors())
    assert again.memories == kept.memories
    for one in (kept, again):
        one.after_step(8, 10, [example(7)])
    assert again.terms(9, 11) == kept.terms(9, 11)


def test_what_was_verified_is_right_and_one_per_problem(model: Path) -> None:
    config = config_of("dagrpo", model, cloud__accuracy=0.5, batch_size=16)
    state, helpers, experience = first_experience(config)
    found = verified_examples(experience, state.policy, helpers, config.max_completion_length)
    problems = {problem.question: problem for problem in experience.batch.problems}
    assert 0 < len(found) <= 16
    known = [problems[each.question] for each in found]
    assert helpers.tasks.check(known, [each.answer for each in found]) == [1.0] * len(found)
    # Right by itself: written again it is the response that was drawn.
    assert not any("<" in each.answer for each in found)


def test_what_is_too_long_to_be_written_is_not_kept(model: Path) -> None:
    """Such a cloud answer gives way to the model's own; an example without one is dropped."""
    config = config_of("dagrpo", model, cloud__accuracy=1.0, batch_size=16)
    state, helpers, experience = first_experience(config)
    longest, batch = config.max_completion_length, experience.batch
    short = verified_examples(experience, state.policy, helpers, longest)
    own = experience.scores.local_right.any(dim=1).tolist()
    asked = [i for i in batch.lessons if experience.scores.cloud_right[i]]
    assert asked
    long = {i: "so " * longest + lesson for i, lesson in batch.lessons.items()}
    chatty = replace(experience, batch=replace(batch, lessons=long))
    found = verified_examples(chatty, state.policy, helpers, longest)
    assert len(found) == sum(own) < len(short)
    terms = [AnswerTerm([each]) for each in found]
    assert all(len(list(answer_losses(state.policy, ALONE, term, config))) for term in terms)


def test_rehearsal_remembers_what_training_forgets(model: Path) -> None:
    """The loss of the first phase's answers after the second phase, with and without."""
    stream = [
        {"families": "facts", "levels": [1, 1], "steps": 6},
        {"families": "strings", "levels": [1, 2], "steps": 25},
    ]
    settings: dict[str, Any] = {"stream": stream, "batch_size": 8, "distill": 1.0}
    settings |= {"cloud__accuracy": 1.0, "learning_rate": 0.01, "eval_queries": 2}

    def loss_of_the_old(**more: Any) -> float:
        config = config_of("dagrpo", model, **settings, **more)
        _, state = trajectory(config)
        _, _, old = first_experience(config)
        learner = PolicyLearner(state.policy, lambda: state.policy, 8)
        logprobs, mask = learner.logprobs(old.cloud_answers())
        return -float(logprobs.detach()[mask].mean())

    rehearsed = {"kind": "rehearsal", "size": 32, "rows": 16, "weight": 1.0}
    assert loss_of_the_old(retention=rehearsed) < 0.8 * loss_of_the_old()


def test_rehearsal_resumes_bit_for_bit_and_its_memory_is_in_the_checkpoint(
    model: Path, tmp_path: Path
) -> None:
    config = config_of("dagrpo", model, checkpoint_every=1, beta=0.1, distill=1.0, **REHEARSAL)
    whole = run_new(tmp_path / "whole", config)
    wanted = results_of(whole)
    assert "retention.safetensors" in wanted
    kept = load_file(whole.last_checkpoint() / "retention.safetensors")
    assert {"0.1.text", "0.2.seen"} <= kept.keys()  # the first of two, whose phases are 1 and 2
    for event in (2, 5):  # in mid-phase, and after the switch
        path = tmp_path / f"stopped-{event}"
        with pytest.raises(StoppedError):
            run_new(path, config, Silent(stop_at=event))
        assert results_of(run_on(RunDirectory.open(path), config)) == wanted
    (whole.last_checkpoint() / "retention.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"retention\.safetensors"):
        run_on(whole, config)
    free = run_new(tmp_path / "free", config_of("dagrpo", model, distill=1.0, beta=0.1))
    assert free.metric_lines()[:3] == whole.metric_lines()[:3]  # at a switch nothing is forgotten
    assert free.metric_lines() != whole.metric_lines()


@pytest.mark.parametrize("lora", [0, 2])
def test_the_kl_is_to_the_model_as_it_was_before_training(lora: int, model: Path) -> None:
    config = config_of("dagrpo", model, beta=0.5, lora__rank=lora, learning_rate=0.05)
    state, helpers, experience = first_experience(config)
    objective = objective_of(state, experience, 1)
    rows = torch.arange(len(experience.batch.drawn.mask))
    first = read_portion(state.policy, objective, rows).logprobs.detach()
    assert update(state, helpers, objective, config)["kl"] == pytest.approx(0.0, abs=1e-6)
    moved = read_portion(state.policy, objective, rows)
    reference = load_policy(config).tensors()
    assert torch.equal(moved.under(reference), first)
    assert not torch.allclose(moved.logprobs, first, atol=1e-3)
    assert update(state, helpers, objective, config)["kl"] > 1e-4


def test_holding_other_tensors_ends_with_the_model_s_own(model: Path) -> None:
    policy = load_policy(config_of("dagrpo", model))
    before = {name: tensor.detach().clone() for name, tensor in policy.tensors().items()}
    zeros = {name: torch.zeros_like(tensor) for name, tensor in before.items()}

    def look() -> None:
        with holding(policy, zeros):
            assert all(float(tensor.abs().max()) == 0 for tensor in policy.tensors().values())
            raise StoppedError

    with pytest.raises(StoppedError):
        look()
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.tensors().items())


def test_beta_adds_the_kl_to_any_kind() -> None:
    def terms_of(*given: str) -> int:
        config = resolve_config("dagrpo", None, list(given))
        found = build_retention(config.retention, config.beta, NoModel(), 0)
        found.after_step(1, 0, [example(0)])
        return len(found.terms(2, 1))

    assert terms_of() == 0
    assert terms_of("beta=0.1") == terms_of("beta=0.1", "retention=kl") == 1
    assert terms_of("beta=0.1", "retention=rehearsal", "retention.choose=random") == 2


@pytest.mark.parametrize("name", list(RETENTIONS))
def test_every_kind_is_a_retention_with_settings_of_its_own(name: str) -> None:
    kind = RETENTIONS.load(name)
    assert issubclass(kind, Retention)
    assert kind.Settings(kind=name).kind == name
    assert inspect.getdoc(kind)
