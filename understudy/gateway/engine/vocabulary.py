"""The tokens of one base as its rows need them: ends, the request, and the bytes of each."""

from __future__ import annotations

import re

from understudy.gateway.engine import TokenLogprob
from understudy.gateway.engine.draws import Drawn
from understudy.models.tokens import Tokens

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_PART = "\ufffd"


class Vocabulary:
    """Looked up while answers are written, so nothing here changes the tokenizer's state."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.ends = frozenset(tokens.ends)
        self.request_tail = 0  # tokens at an answer's end in which a request in words is found
        if tokens.request and tokens.writes_request:
            self.request_tail = 2 * len(tokens.encode_plain(tokens.request)) + 8
        self._known: dict[int, tuple[str, bytes]] = {}

    def logprob(self, drawn: Drawn) -> TokenLogprob:
        """A drawn token as clients are told of it; the request for help is none of its others."""
        text, utf8 = self._token(drawn.token)
        others = ((*self._token(token), logprob) for token, logprob in drawn.top)
        top = tuple((other, logprob, own) for other, own, logprob in others)
        return TokenLogprob(text, drawn.logprob, utf8, top)

    def _token(self, token: int) -> tuple[str, bytes]:
        if token not in self._known:
            self._known[token] = self._read(token)
        return self._known[token]

    def _read(self, token: int) -> tuple[str, bytes]:
        bare = self.tokens.tokenizer.id_to_token(token) or ""
        text = str(self.tokens.tokenizer.decode([token], skip_special_tokens=False))
        if bare.startswith("\u2581"):  # a blank at the beginning is lost where it stands alone
            text = bare.replace("\u2581", " ")
        if _PART not in text:
            return text, text.encode()
        if byte := _BYTE.fullmatch(bare):
            return text, bytes([int(byte[1], 16)])
        if all(character in _BYTES for character in bare):
            return text, bytes(_BYTES[character] for character in bare)
        return text, text.encode()


def _byte_characters() -> dict[str, int]:
    """The characters that byte-level tokenizers write bytes as, as GPT-2 chose them."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    named = {chr(byte): byte for byte in plain}
    return named | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES = _byte_characters()
