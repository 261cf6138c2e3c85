"""Tokens as they come to text that may be shown: whole characters, and nothing of a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_PART = "\ufffd"  # shown for the bytes of a part of a character
_LONGEST = 4  # bytes of a character, and so at most as many tokens

Decode = Callable[[Sequence[int]], str]


class WrittenText:
    """The text of an answer while its tokens are drawn.

    stop: strings that end the answer; blanks before it are no end, as in
    `models.stop_strings.text_before`. held: strings from which on nothing is shown before the
    answer has ended, such as the beginning of a call of a tool; a text that begins with one of
    held_first is held as a whole.
    """

    def __init__(
        self,
        decode: Decode,
        stop: Sequence[str] = (),
        held: Sequence[str] = (),
        held_first: Sequence[str] = (),
    ) -> None:
        self.ids: list[int] = []
        self.text = ""  # all that is known, but for parts of characters
        self.shown = 0  # how many characters of it were given out
        self.stopped = False  # a stop string came: the text ends before it
        self.stopped_by = ""
        self._decode, self._stop = decode, tuple(filter(None, stop))
        self._held, self._held_first = tuple(held), tuple(held_first)
        self._longest = max(map(len, self._stop), default=0)
        self._holds_rest = False
        # Tokens are decoded from `_from` on; the text of those before `_read` is known.
        self._from = self._read = 0

    def add(self, token: int) -> str:
        """Take a token; returns the text that may be shown now."""
        assert not self.stopped, "the answer has ended"
        self.ids.append(token)
        self._decoded(self._whole_until())
        return self._given(self._free())

    def end(self) -> str:
        """The rest of the text, where nothing more comes. A part of a character is left out."""
        if not self.stopped:
            self._decoded(len(self.ids))
            if not self.stopped:
                self.text = self.text[: max(self.shown, len(self.text.rstrip(_PART)))]
        return self._given(len(self.text))

    def _whole_until(self) -> int:
        """Up to which token the text ends in whole characters."""
        if not self._decode(self.ids[self._from :]).endswith(_PART):
            return len(self.ids)
        # Bytes that no character begins with are shown as what they are, once that is certain.
        return max(self._read, len(self.ids) - _LONGEST + 1)

    def _decoded(self, until: int) -> None:
        """Take the text of the tokens before a place."""
        if until == self._read:
            return
        # Decoders treat the first token of a text on its own, so one before is always read along.
        known = self._decode(self.ids[self._from : self._read])
        now = self._decode(self.ids[self._from : until])
        before, self.text = len(self.text), self.text + now[len(known) :]
        self._from, self._read = self._read, until
        self._look_for_stop(before)

    def _look_for_stop(self, before: int) -> None:
        begins = len(self.text) - len(self.text.lstrip())
        start = max(begins, before - self._longest + 1)
        places = [(self.text.find(each, start), each) for each in self._stop]
        if found := [(place, each) for place, each in places if place >= 0]:
            place, self.stopped_by = min(found)
            self.text, self.stopped = self.text[:place], True

    def _free(self) -> int:
        """How many characters may be shown."""
        if self.stopped:
            return len(self.text)
        begun = self.text.lstrip()
        if self._held_first and (not begun or begun.startswith(self._held_first)):
            return self.shown
        for each in self._held:
            if (place := self.text.find(each, max(0, self.shown))) >= 0:
                return max(place, self.shown)
        begins = len(self.text) - len(begun)
        first = max(begins, self.shown)
        return len(self.text) - _begun(self.text[first:], (*self._stop, *self._held))

    def _given(self, until: int) -> str:
        new = self.text[self.shown : until]
        self.shown = max(self.shown, until)
        return new


def _begun(text: str, strings: Sequence[str]) -> int:
    """How many characters at the end of a text may be the beginning of one of some strings.

    >>> _begun("so it is 7\\nQ", ["\\nQ:", "x"])
    2
    """
    longest = max(map(len, strings), default=1) - 1
    for count in range(min(longest, len(text)), 0, -1):
        if any(each.startswith(text[-count:]) for each in strings):
            return count
    return 0
