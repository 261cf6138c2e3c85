"""The rows of a batch in portions, each with a backward pass of its own: less memory."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from understudy.models.activations import tokens_kept
from understudy.models.policy import Policy
from understudy.models.prefix import worthwhile_prefix
from understudy.models.sampling import Completions, Prompts, Written
from understudy.offload.config import Config


def portions_of(
    policy: Policy, prompts: Prompts, given: Completions | Written, rows: Tensor, config: Config
) -> Iterator[Tensor]:
    """Some rows of given completions in `gradient_accumulation_steps` portions; in more where a
    portion of them would be too large."""
    at_once = tokens_kept(policy.model, config.gradient_checkpointing)
    for part in rows.chunk(config.gradient_accumulation_steps):
        if len(part):
            yield from _split(prompts, given, part, at_once, policy.model.reads_prompts_once)


def _split(
    prompts: Prompts, given: Completions | Written, rows: Tensor, at_once: int, once: bool
) -> Iterator[Tensor]:
    """Rows side by side of at most so many tokens, or one alone.

    once: in each portion a prompt counts once, and so does what all prompts begin with; else all
    of its prompt counts with every row.
    """
    group = len(given.tokens) // len(prompts.ids)
    shared = worthwhile_prefix(prompts.ids, prompts.mask) if once else 0
    questions = (prompts.mask.sum(dim=1) - shared).tolist()
    answers = given.mask.sum(dim=1)[rows].tolist()
    start, tokens, seen = 0, shared, set[int]()
    for stop, row in enumerate(rows.tolist()):
        prompt = row // group
        more = answers[stop] + (0 if once and prompt in seen else questions[prompt])
        if stop > start and tokens + more > at_once:
            yield rows[start:stop]
            start, tokens, seen = stop, shared, set()
            more = answers[stop] + questions[prompt]
        tokens += more
        seen.add(prompt)
    yield rows[start:]
