"""Drawing completions with any model, finished rows leaving the batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Protocol

import torch
from torch import Tensor

from understudy.models.drawing import choose
from understudy.models.logprobs import shifted_logits
from understudy.models.stop_strings import StopStrings

# Rows leave the batch once so few would be left: copying what is kept of them has a price.
COMPACT_BELOW = 0.8
_GLANCES = 8  # positions between looks at who is done, where a look makes the device wait
_LOGITS = 1 << 23  # held at once while drawing: 32 MB in float32
_CHOSEN = (
    1 << 19
)  # of them tokens are chosen from at once: so few that a processor's cache has them
TOKENS_AT_ONCE = 4096  # through the blocks, padding included


@dataclass(frozen=True, slots=True)
class Prompts:
    """Left-padded prompts: ids and mask, each (prompts, positions).

    stop: the strings that end a completion of each prompt; () where no prompt has any.
    """

    ids: Tensor
    mask: Tensor
    stop: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Stops:
    """The tokens, and the strings, that end a completion."""

    end: int
    ask: int
    ends: tuple[int, ...] = ()  # others that end one like `end`
    strings: StopStrings | None = None

    def ending(self, tokens: Tensor) -> Tensor:
        """Which of some tokens are an end; the request is none."""
        found = tokens == self.end
        for other in self.ends:
            found = found | (tokens == other)
        return found


@dataclass(frozen=True, slots=True)
class Written:
    """Completions not drawn here: right-padded tokens and mask, each (samples, positions)."""

    tokens: Tensor
    mask: Tensor


@dataclass(frozen=True, slots=True)
class Completions:
    """What was drawn, a row per sample, the samples of a prompt side by side.

    tokens, mask, logprobs, ask_logprobs, ask_margins, entropy: (samples, positions);
    the mask covers every drawn token, its end or request included. logprobs are those of the
    tokens drawn, ask_logprobs those of asking at each position. ask_margins is the raw logit of
    asking less the best other logit: what a threshold on asking is held against.
    """

    tokens: Tensor
    mask: Tensor
    logprobs: Tensor
    ask_logprobs: Tensor
    ask_margins: Tensor
    entropy: Tensor
    asked: Tensor  # (samples,) the last token is the request for help
    finished: Tensor  # (samples,) ended by itself, not by the length limit
    in_words: Tensor | None = None  # (samples,) asked in words, not by the token; None: none did

    def copied(self) -> Completions:
        """The same in tensors of their own, which a loss may read whatever mode they came from."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(
            self, **{name: part.clone() for name, part in own.items() if part is not None}
        )

    @property
    def ask_chances(self) -> Tensor:
        """(drawn tokens,) the probability of asking instead. Who asked in words did so with
        certainty: no shift of the token moves it, and so the shift makes room for it."""
        chances = self.ask_logprobs.exp()
        if self.in_words is not None:
            spoken = self.in_words.nonzero().squeeze(1)
            chances[spoken, self.mask.sum(dim=1)[spoken] - 1] = 1.0
        return chances[self.mask]


@dataclass(frozen=True, slots=True)
class Drawing:
    """How tokens are drawn. Temperature 0 is greedy; a shift of -inf never asks."""

    max_completion_length: int
    temperature: float = 1.0
    ask_shift: float = 0.0

    def uniforms(self, rows: int, seed: int) -> Tensor:
        """A number in (0, 1] per row and position: what a row draws depends on no other row."""
        generator = torch.Generator().manual_seed(seed)
        size = (rows, self.max_completion_length)
        return 1 - torch.rand(size, dtype=torch.float64, generator=generator)


_NOTED = ("logprobs", "ask_logprobs", "ask_margins", "entropy")  # of every token drawn
_CUT = ("tokens", "mask", *_NOTED, "asked", "finished")  # what changes where a row is cut


class Decoding(Protocol):
    """Rows that began together and all read their next token at once."""

    vocabulary: int

    def read(self, tokens: Tensor) -> Tensor:
        """Final states (rows, ...) after one more token (rows,) per row."""
        ...

    def logits(self, states: Tensor) -> Tensor:
        """Logits (some rows, vocabulary) of some rows' states; the caller overwrites them."""
        ...

    def keep(self, going: Tensor) -> Tensor | None:
        """Forget rows that are done, going: (rows,), if that pays; then the rows kept, in order."""
        ...


def draw(
    decoding: Decoding,
    tokens: Tensor,
    stops: Stops,
    drawing: Drawing,
    uniforms: Tensor | None = None,
    glances: int | None = None,
) -> Completions:
    """Let rows decode; tokens: (rows,), the last of each row's prompt.

    Rows that are done are looked for every `glances` positions; no completion depends on it.
    """
    rows, device = len(tokens), tokens.device
    glances = glances or (1 if device.type == "cpu" else _GLANCES)
    record = _Record(rows, stops, drawing, uniforms, device)
    slots = torch.arange(rows, device=device)
    for position in range(drawing.max_completion_length):
        tokens = record.draw(slots, position, decoding, decoding.read(tokens))
        going = ~stops.ending(tokens) & (tokens != stops.ask) & (slots < rows)
        slots = torch.where(going, slots, rows)
        if (position + 1) % glances:
            continue
        if stops.strings is not None:
            slots = record.cut(slots, position + 1)
            going = slots < rows
        if not going.any():
            break
        kept = decoding.keep(going)
        if kept is not None:
            slots, tokens = slots[kept], tokens[kept]
    return record.completions()


class _Record:
    """The growing record of what was drawn, indexed by sample whatever row it decodes in.

    A row that is done and still in the batch writes into the spare last sample.
    """

    def __init__(
        self,
        rows: int,
        stops: Stops,
        drawing: Drawing,
        uniforms: Tensor | None,
        device: torch.device,
    ) -> None:
        length = drawing.max_completion_length
        self.stops, self.drawing, self.uniforms = stops, drawing, None
        self.tokens = torch.full((rows + 1, length), stops.end, device=device)
        self.mask = torch.zeros(rows + 1, length, dtype=torch.bool, device=device)
        self.values = torch.zeros(4, rows + 1, length, device=device)
        self.stopped = torch.zeros(rows + 1, dtype=torch.bool, device=device)
        self.read = 0  # positions in which stop strings have been looked for
        if drawing.temperature != 0:
            assert uniforms is not None, "a temperature above 0 draws by uniform numbers"
            assert uniforms.shape == (rows, length), "one for each position of each sample"
            spare = uniforms.new_ones(1, length)
            self.uniforms = torch.cat((uniforms, spare)).to(device, torch.float64)

    def draw(self, slots: Tensor, position: int, decoding: Decoding, states: Tensor) -> Tensor:
        """Choose the next token of every row and note it; some rows' logits at a time."""
        drawing, chosen, noted = self.drawing, [], []
        vocabulary = decoding.vocabulary
        few = max(1, _CHOSEN // vocabulary)
        for place, part in _parts(states, max(1, _LOGITS // vocabulary)):
            for start, logits in _parts(decoding.logits(part), few):
                some = slots[place + start : place + start + len(logits)]
                uniforms = None if self.uniforms is None else self.uniforms[some, position]
                tokens, values = choose(
                    logits.float(), self.stops.ask, drawing.temperature, drawing.ask_shift, uniforms
                )
                chosen.append(tokens)
                noted.append(values)
        tokens = torch.cat(chosen)
        self.tokens[slots, position] = tokens
        self.mask[slots, position] = True
        self.values[:, slots, position] = torch.cat(noted, dim=1)
        return tokens

    def cut(self, slots: Tensor, position: int) -> Tensor:
        """End rows at their stop strings, in what was drawn before a position; slots are left
        with the rows that go on."""
        if self.stops.strings is None:
            return slots
        for row, length in self.stops.strings.found(self.tokens[:-1], self.mask[:-1], self.read):
            if not self.stopped[row]:
                self.stopped[row] = True
                _forget(row, length, self.stops.end, self.tokens, self.mask, *self.values)
        self.read = position
        return torch.where(self.stopped[slots], len(self.tokens) - 1, slots)

    def completions(self) -> Completions:
        self.cut(torch.zeros(0, dtype=torch.long, device=self.mask.device), self.mask.shape[1])
        lengths = self.mask[:-1].sum(dim=1)
        kept = int(lengths.max())
        tokens, mask = self.tokens[:-1, :kept], self.mask[:-1, :kept]
        last = tokens.gather(1, lengths[:, None] - 1).squeeze(1)
        asked = last == self.stops.ask
        logprobs, ask_logprobs, margins, entropy = self.values[:, :-1, :kept].unbind(0)
        finished = asked | self.stops.ending(last) | self.stopped[:-1]
        noted = (logprobs, ask_logprobs, margins, entropy)
        return Completions(tokens, mask, *noted, asked, finished)


def cut(drawn: Completions, strings: StopStrings | None, end: int) -> Completions:
    """Completions that something else drew, without what follows their stop strings."""
    if strings is None:
        return drawn
    own = {name: getattr(drawn, name).clone() for name in _CUT}
    ended: set[int] = set()
    for row, length in strings.found(drawn.tokens, drawn.mask):
        if row in ended:
            continue
        ended.add(row)
        own["asked"][row] &= length == int(drawn.mask[row].sum())
        own["finished"][row] = True
        _forget(row, length, end, own["tokens"], own["mask"], *(own[name] for name in _NOTED))
    return replace(drawn, **own) if ended else drawn


def _forget(row: int, length: int, end: int, tokens: Tensor, mask: Tensor, *noted: Tensor) -> None:
    """Leave nothing of a row behind so many tokens, in tensors (rows, positions)."""
    tokens[row, length:] = end
    mask[row, length:] = False
    for values in noted:
        values[row, length:] = 0.0


def shifted_logprobs(logits: Tensor, ask: int, drawing: Drawing) -> Tensor:
    """log softmax of the logits at a temperature, asking shifted. Temperature 0 is taken as 1.

    logits: (..., vocabulary). The shift is on the scale of log-probabilities, after temperature.
    """
    return shifted_logits(logits, ask, drawing.temperature, drawing.ask_shift).log_softmax(dim=-1)


def _parts(x: Tensor, most: int) -> Iterator[tuple[int, Tensor]]:
    """Rows in equal parts of at most so many, each with the place of its first."""
    size = -(-len(x) // -(-len(x) // most))
    for start in range(0, len(x), size):
        yield start, x[start : start + size]
