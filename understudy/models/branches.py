"""A prompt and the completions of its group as one sequence that branches where the prompt ends:
a token tree, whose tokens attend to their own branch and to the prompt alone.

The prompt is computed once, nothing is padded to the longest completion, and one pass through
the blocks serves all of them. What many trees begin with, such as the instruction of a task, is
left out of them and computed once for all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from understudy.models.prefix import Prefix, pays

# Attention compares every branch with every other for nothing, at the square of the length.
LONGEST = 256


class Tree:
    """One prompt (branch 0) and some completions (branches 1, 2, ...), each following it.

    The prompt's first `start` tokens are left out: they are computed for many trees at once.
    """

    def __init__(self, prompt: list[int], start: int = 0, owner: int = 0) -> None:
        self.owner = owner
        self.prompt, self.own = len(prompt), len(prompt) - start
        self.tokens, self.branches = prompt[start:], [0] * self.own
        self.positions = list(range(start, len(prompt)))
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
        self.reads += [self.own - 1, *range(start, start + fed)]
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
    starts: Mapping[int, int] | None = None,
) -> list[Tree]:
    """Trees of completions, each under the prompt that owns it, shortest tree first.

    A tree that would grow beyond `longest`, or beyond twice its prompt, is followed by another.
    starts: of owners, where their prompts begin in the trees; 0 where none is named.
    """
    open_trees: dict[int, Tree] = {}
    trees: list[Tree] = []
    for row, (owner, completion) in enumerate(zip(owners, completions, strict=True)):
        if not completion:
            continue  # nothing to score
        tree, start = open_trees.get(owner), (starts or {}).get(owner, 0)
        room = max(longest, 2 * (len(prompts[owner]) - start))
        if tree is None or (tree.rows and len(tree.tokens) + len(completion) - 1 > room):
            tree = open_trees[owner] = Tree(prompts[owner], start, owner)
            trees.append(tree)
        tree.add(row, completion)
    return sorted(trees, key=lambda tree: len(tree.tokens))


@dataclass(frozen=True, slots=True)
class Family:
    """Trees that leave out the same tokens at their beginning."""

    prefix: Prefix | None
    trees: list[Tree]


def families_of(
    prompts: Sequence[list[int]],
    completions: Sequence[list[int]],
    owners: Sequence[int],
    common: int = 0,
) -> list[Family]:
    """The trees of completions. All leave out the `common` tokens that their prompts begin with;
    those of a prompt with several trees leave out the prompt, but for its last token, where that
    pays."""
    starts = dict.fromkeys(owners, common)
    trees = trees_of(prompts, completions, owners, starts=starts)
    for owner, count in Counter(tree.owner for tree in trees).items():
        if pays(len(prompts[owner]) - 1 - common, count):
            starts[owner] = len(prompts[owner]) - 1
    trees = trees_of(prompts, completions, owners, starts=starts)
    root = Prefix(prompts[owners[0]][:common]) if common else None
    found = [Family(root, [tree for tree in trees if starts[tree.owner] == common])]
    for owner, start in starts.items():
        if start > common:
            trunk = Prefix(prompts[owner][common:start], root)
            found.append(Family(trunk, [tree for tree in trees if tree.owner == owner]))
    return [family for family in found if family.trees]


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
