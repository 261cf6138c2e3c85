"""What every local model offers: training draws and scores with it, a server keeps sessions open.

    session = model.open()
    states = session.admit(prompts.ids, prompts.mask)   # some rows begin
    tokens = session.logits(states).argmax(dim=1)
    states = session.step(tokens)                       # each row reads its own next token
    session.admit(others.ids, others.mask)              # others join beside them
    session.drop(torch.tensor([0]))                     # and any of them may leave

A session may also hold a part of the model's blocks, for those who cut a model in two:
`model.open(0, 8)` reads tokens and gives hidden states, `model.open(8)` reads these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from understudy.models.sampling import Completions, Drawing, Prompts, Stops, Written


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens of given completions that are scored in one pass: (tokens,) each, and their states."""

    taken: Tensor  # the tokens,
    rows: Tensor  # the completion that each belongs to, as counted in the rows asked for,
    columns: Tensor  # and its place there
    states: Callable[[], Tensor]  # (tokens, hidden size): the final states that predict them
    # (tokens, vocabulary) in float32, where logits are more than the head's product with states.
    logits: Callable[[], Tensor] | None = None


class Session(Protocol):
    """Rows in the middle of decoding, each at a position of its own, in some blocks of a model.

    A session that begins with the first block reads tokens; any other reads the hidden states that
    the session before it gave. `open(0, 0)` gives embeddings, which the first block reads in place
    of tokens. A session that ends with the last block gives final states, past the final norm,
    which `logits` turns into logits; any other gives hidden states. `open(n, n)`, n being the
    number of blocks, makes final states of the hidden states of any block.

    Rows are counted in the order in which they were admitted. What a row gives does not depend on
    the rows beside it, within rounding. The caller keeps every row below the model's `longest`.
    """

    @property
    def lengths(self) -> Tensor:
        """(rows,) how many tokens each row has read."""
        ...

    def admit(self, given: Tensor, mask: Tensor) -> Tensor:
        """Let rows begin with their left-padded prompts; they come after the rows there are.

        given: tokens (new rows, positions) or hidden states (new rows, positions, hidden size);
        mask: (new rows, positions). Gives the final states of their last tokens, (new rows, ...),
        or the hidden states (new rows, positions, hidden size).
        """
        ...

    def step(self, given: Tensor) -> Tensor:
        """Let every row read one more token: (rows,), or hidden states (rows, hidden size).

        Gives final states (rows, ...) or hidden states (rows, hidden size).
        """
        ...

    def drop(self, rows: Tensor) -> None:
        """Forget some rows, by their places; the rows after them move up."""
        ...

    def logits(self, states: Tensor) -> Tensor:
        """Logits (some rows, vocabulary) of the final states of some rows."""
        ...


class LocalModel(Protocol):
    """A causal language model on this machine."""

    @property
    def network(self) -> nn.Module:
        """What is trained, adapted and saved."""
        ...

    @property
    def reads_prompts_once(self) -> bool:
        """Whether `parts` keeps a prompt once for all its completions, and what all prompts begin
        with once for all, rather than with every completion."""
        ...

    @property
    def embedding(self) -> nn.Embedding: ...

    @property
    def head(self) -> nn.Linear: ...

    @property
    def vocabulary(self) -> int:
        """How many logits a position has."""
        ...

    @property
    def longest(self) -> int:
        """Positions that the model was made for, prompt and completion together."""
        ...

    @property
    def blocks(self) -> int:
        """How many blocks lie between the embedding and the head."""
        ...

    @property
    def device(self) -> torch.device: ...

    def sample(
        self,
        prompts: Prompts,
        group: int,
        stops: Stops,
        drawing: Drawing,
        uniforms: Tensor | None = None,
    ) -> Completions:
        """Draw `group` completions for every prompt, decoding all rows side by side.

        uniforms: (prompts * group, longest completion), float64 in (0, 1]: what decides at each
        position of each sample, whatever else is in the batch. Temperature 0 needs none.
        """
        ...

    def parts(
        self,
        prompts: Prompts,
        completions: Completions | Written,
        rows: Tensor,
        tokens_at_once: int,
    ) -> Iterator[Part]:
        """The named rows of completions, those of similar length together, to be scored."""
        ...

    def open(self, first: int = 0, last: int | None = None) -> Session:
        """A session without rows in the blocks from `first` up to but without `last`."""
        ...

    @property
    def projections(self) -> Sequence[str]:
        """The last names of the linear layers that an adapter may change."""
        ...

    def separate(self) -> None:
        """Keep projections that are computed as one apart, as adapters want them."""
        ...

    def set_head(self, head: nn.Linear) -> None: ...

    def transformers_name(self, name: str) -> str:
        """The name that transformers gives one of the network's modules or parameters."""
        ...

    def recompute(self) -> None:
        """In training, compute each block again rather than keep it."""
        ...

    def resize(self, count: int) -> None:
        """Give the vocabulary more rows, in the embedding and in the head."""
        ...

    def save(self, folder: Path, source: Path, adapted: bool) -> None:
        """Write a whole checkpoint that transformers loads, an adapter folded into its weights;
        or left out, where not adapted. source: the checkpoint that the model was read from."""
        ...
