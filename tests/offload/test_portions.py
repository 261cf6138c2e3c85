"""Portions of a batch: how many tokens each sends through the blocks, counted at the embedding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.models.small import write_checkpoint
from understudy.models.policy import Policy
from understudy.models.sampling import Drawing, Prompts, Written
from understudy.offload import portions
from understudy.offload.config import Config

COUNT, GROUP, ANSWER, LENGTH, ALLOWED = 12, 6, 10, 120, 700


def batch(shared: int) -> tuple[Prompts, Written]:
    """12 prompts of 113 to 120 tokens, each with 6 answers of 10 tokens."""
    torch.manual_seed(0)
    ids = torch.randint(3, 330, (COUNT, LENGTH))
    lengths = LENGTH - torch.arange(COUNT) % 8
    for row, length in zip(ids, lengths.tolist(), strict=True):
        row[LENGTH - length : LENGTH - length + shared] = torch.arange(3, 3 + shared)
    mask = torch.arange(LENGTH) >= LENGTH - lengths[:, None]
    tokens = torch.randint(3, 330, (COUNT * GROUP, ANSWER))
    return Prompts(ids * mask, mask), Written(tokens, torch.ones_like(tokens, dtype=torch.bool))


@pytest.mark.parametrize("shared", [0, 90])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("backend", ["builtin", "transformers"])
def test_a_portion_sends_no_more_tokens_through_the_blocks_than_are_allowed(
    backend: str,
    checkpointing: bool,
    shared: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = Policy.load(str(write_checkpoint(tmp_path, "llama")), backend=backend)  # type: ignore[arg-type]
    if checkpointing:
        policy.model.recompute()
    monkeypatch.setattr(portions, "tokens_kept", lambda *_: ALLOWED)
    config = Config(gradient_accumulation_steps=1, gradient_checkpointing=checkpointing)
    prompts, written = batch(shared)
    rows = torch.arange(COUNT * GROUP)
    found = list(portions.portions_of(policy, prompts, written, rows, config))
    assert torch.cat(found).tolist() == rows.tolist()
    read = []
    policy.model.embedding.register_forward_hook(lambda *given: read.append(given[1][0].numel()))
    for part in found:
        read.clear()
        policy.score(prompts, written, part, Drawing(ANSWER))
        assert sum(read) <= ALLOWED
    if backend == "builtin":  # and not far fewer: a prompt is read once
        assert len(found) <= (3 if shared else 4)


def test_what_is_shared_counts_with_every_row_that_keeps_it(tmp_path: Path) -> None:
    """In passes without a gradient, too, 90 positions of the cache are each row's own."""
    policy = Policy.load(str(write_checkpoint(tmp_path, "llama")), backend="transformers")
    prompts, written = batch(90)
    passes: list[torch.Size] = []
    policy.model.embedding.register_forward_hook(lambda *given: passes.append(given[1][0].shape))
    rows = torch.arange(COUNT * GROUP)
    with torch.no_grad():
        for part in policy.model.parts(prompts, written, rows, ALLOWED):
            part.states()
    assert passes[0] == (1, 90)
    assert all(count * (90 + width) <= ALLOWED for count, width in passes[1:])
