"""A prompt and the completions of its group as one sequence that branches where the prompt ends:
a token tree, whose tokens attend to their own branch and to the prompt alone.

The prompt is computed once, nothing is padded to the longest completion, and one pass through
the blocks serves all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Attention compares every branch with every other for nothing, at the square of the length.
LONGEST = 256


class Tree:
    """One prompt (branch 0) and some completions (branches 1, 2, ...), each following it."""

    def __init__(self, prompt: list[int]) -> None:
        self.prompt = len(prompt)
        self.tokens, self.branches = list(prompt), [0] * len(prompt)
        self.positions = list(range(len(prompt)))
        self.reads: list[int] = []  # where in this sequence each scored token is predicted,
        self.rows: list[int] = []  # whose it is,
        self.columns: list[int] = []  # its place in its completion,
        self.taken: list[int] = []  # and the token itself

    def add(self, row: int, completion: list[int]) -> None:
        """Append a completion; its last token is predicted, never read."""
        start, fed = len(self.tokens), len(completion) - 1
        self.tokens += completion[:-1]
        self.positions += range(self.prompt, self.prompt + fed)
        self.branches += [(self.branches[-1] + 1)] * fed
        self.reads += [self.prompt - 1, *range(start, start + fed)]
        self.rows += [row] * len(completion)
        self.columns += range(len(completion))
        self.taken += completion


@dataclass(frozen=True, slots=True)
class TreeBatch:
    """Trees side by side, right-padded: (trees, positions); the rest is per scored token."""

    tokens: Tensor
    positions: Tensor
    visible: Tensor  # (trees, 1, queries, keys)
    reads: Tensor  # into the flattened (trees * positions)
    rows: Tensor
    columns: Tensor
    taken: Tensor


def trees_of(
    prompts: Sequence[list[int]],
    completions: Sequence[list[int]],
    owners: Sequence[int],
    longest: int = LONGEST,
) -> list[Tree]:
    """Trees of completions, each under the prompt that owns it, shortest tree first.

    A tree that would grow beyond `longest`, or beyond twice its prompt, is followed by another.
    """
    open_trees: dict[int, Tree] = {}
    trees: list[Tree] = []
    for row, (owner, completion) in enumerate(zip(owners, completions, strict=True)):
        if not completion:
            continue  # nothing to score
        tree = open_trees.get(owner)
        room = max(longest, 2 * len(prompts[owner]))
        if tree is None or (tree.rows and len(tree.tokens) + len(completion) - 1 > room):
            tree = open_trees[owner] = Tree(prompts[owner])
            trees.append(tree)
        tree.add(row, completion)
    return sorted(trees, key=lambda tree: len(tree.tokens))


def packed(lengths: Sequence[int], tokens_at_once: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of parts of ascending lengths that, padded, hold at most so many tokens.

    A sequence longer than that is a part of its own. No sequence is padded to far beyond its
    length where a part is not full of short ones.
    """
    start = 0
    for stop in range(1, len(lengths) + 1):
        if stop == len(lengths) or (stop + 1 - start) * lengths[stop] > tokens_at_once:
            yield start, stop
            start = stop


def batch_of(trees: Sequence[Tree], device: torch.device) -> TreeBatch:
    width = max(len(tree.tokens) for tree in trees)

    def padded(rows: list[list[int]], padding: int) -> Tensor:
        full = [row + [padding] * (width - len(row)) for row in rows]
        return torch.tensor(full, device=device)

    def joined(rows: list[list[int]]) -> Tensor:
        return torch.tensor([value for row in rows for value in row], device=device)

    positions = padded([tree.positions for tree in trees], 0)
    # Padding is a branch that no token sees; at position 0 it sees the first token, so that
    # no softmax is empty.
    branches = padded([tree.branches for tree in trees], -1)
    earlier = positions[:, None, :] <= positions[:, :, None]
    related = (branches[:, None, :] == 0) | (branches[:, None, :] == branches[:, :, None])
    reads = [[i * width + place for place in tree.reads] for i, tree in enumerate(trees)]
    return TreeBatch(
        tokens=padded([tree.tokens for tree in trees], 0),
        positions=positions,
        visible=(earlier & related)[:, None],
        reads=joined(reads),
        rows=joined([tree.rows for tree in trees]),
        columns=joined([tree.columns for tree in trees]),
        taken=joined([tree.taken for tree in trees]),
    )
