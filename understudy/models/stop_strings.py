"""Texts that end a completion, found while it is drawn: a line break, or any other string."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from understudy.models.tokens import Tokens


class StopStrings:
    """What ends each row of a drawing beside tokens.

    by_row: the strings of every row. A string ends a row in the token that completes it. Only
    tokens that hold the last character of a string are looked at, so most steps decode no text.
    """

    def __init__(self, tokens: Tokens, by_row: Sequence[tuple[str, ...]], vocabulary: int) -> None:
        self.tokens, self.by_row = tokens, by_row
        last = frozenset(string[-1] for strings in by_row for string in strings)
        self._completing = tokens.holding_any(last, vocabulary)

    def completing(self, drawn: Tensor) -> Tensor:
        """Which of some tokens may complete a string; a mask of their shape."""
        return self._completing.to(drawn.device)[drawn]

    def ends(self, row: int, ids: list[int]) -> bool:
        """Whether a row's tokens so far hold one of its strings."""
        strings = self.by_row[row]
        return bool(strings) and text_before(self.tokens.decode(ids), strings) is not None

    def found(self, tokens: Tensor, mask: Tensor, start: int = 0) -> Iterator[tuple[int, int]]:
        """(row, length) of every row that a string ends, that string's last token included.

        tokens, mask: (rows, positions); start: positions before it have been looked at.
        """
        suspects = self.completing(tokens[:, start:]) & mask[:, start:]
        for row, column in suspects.nonzero().tolist():
            length = start + column + 1
            if self.ends(row, tokens[row, :length].tolist()):
                yield row, length


def text_before(text: str, strings: Sequence[str]) -> str | None:
    """The text before the first of some strings; None where none of them stands in it.

    Blanks before an answer are no end of it, whatever the strings: models like to begin with a
    line break.
    """
    begins = len(text) - len(text.lstrip())
    places = [place for string in strings if (place := text.find(string, begins)) >= 0]
    return text[: min(places)] if places else None


def stop_strings(
    tokens: Tokens, by_prompt: Sequence[tuple[str, ...]], group: int, vocabulary: int
) -> StopStrings | None:
    """The strings of every row, `group` of them for each prompt; None where there is none."""
    if not any(by_prompt):
        return None
    rows = [strings for strings in by_prompt for _ in range(group)]
    return StopStrings(tokens, rows, vocabulary)
