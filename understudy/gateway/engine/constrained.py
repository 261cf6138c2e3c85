"""Answers that are JSON, or JSON of a schema: which tokens may come next, by llguidance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy.gateway.engine import EngineError, JobRefused
from understudy.models.tokens import Tokens

_ANY_OBJECT = {"type": "object"}
_KEPT = 64  # grammars that are kept compiled
# Blanks where the model likes them, but not for ever, as small ones do.
_BLANKS = {"whitespace_flexible": True, "whitespace_pattern": r"\n?[ ]{0,8}"}


class Grammars:
    """Grammars over the tokens of one model."""

    def __init__(self, tokens: Tokens, vocabulary: int) -> None:
        self.tokens, self.vocabulary = tokens, vocabulary
        self._compiled = lru_cache(maxsize=_KEPT)(self._compile)
        self._known: Any = None

    def check(self) -> None:
        """Refuse a vocabulary that cannot write JSON. It is read at the first time, while nothing
        else is encoded."""
        if self._known is None:
            self._known = self._tokenizer(_llguidance())

    def of(self, schema: Mapping[str, Any]) -> Grammar:
        """A grammar at its beginning; an empty schema: any JSON object. For any thread, after
        `check`; a schema that was not compiled lately may take a second."""
        matcher = self._compiled(json.dumps(schema or _ANY_OBJECT))
        return Grammar(matcher.deep_copy(), self.vocabulary)

    def _compile(self, schema: str) -> Any:
        llguidance = _llguidance()
        try:
            grammar = llguidance.LLMatcher.grammar_from_json_schema(schema, overrides=_BLANKS)
            wrong = llguidance.LLMatcher.validate_grammar(grammar, self._known)
        except ValueError as error:
            wrong = str(error)
        if wrong and not wrong.startswith("WARNING"):
            raise JobRefused(
                f"this JSON schema cannot be followed: {' '.join(wrong.split())[:300]}",
                param="response_format",
            )
        matcher = llguidance.LLMatcher(self._known, grammar, log_level=0)
        if matcher.is_error():
            reason = " ".join(str(matcher.get_error()).split())[:300]
            raise JobRefused(f"this JSON schema cannot be followed: {reason}", "response_format")
        return matcher

    def _tokenizer(self, llguidance: Any) -> Any:
        written = self.tokens.decode(self.tokens.encode_plain('{"a": [1]}'))
        if "".join(written.split()) != '{"a":[1]}':
            raise JobRefused(
                "this model's vocabulary cannot write JSON; ask for text, or let the cloud answer",
                param="response_format",
            )
        text, ends = self.tokens.tokenizer.to_str(), list(self.tokens.ends)
        try:
            return llguidance.LLTokenizer(text, n_vocab=self.vocabulary, eos_token=ends)
        except Exception as error:  # bare errors of its own
            reason = " ".join(str(error).split())[:200]
            raise JobRefused(
                f"JSON cannot be enforced with this model's tokenizer ({reason})",
                param="response_format",
            ) from error


class Grammar:
    """Where one answer stands in its grammar."""

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        self._matcher, self._vocabulary = matcher, vocabulary

    def allowed(self) -> Tensor:
        """(vocabulary,) the tokens that may come next."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        flags = np.unpackbits(bits, bitorder="little", count=self._vocabulary)
        return torch.from_numpy(flags.astype(bool))

    def take(self, tokens: Sequence[int]) -> None:
        """Go on by what was drawn."""
        for token in tokens:
            if not self._matcher.consume_token(token):
                reason = " ".join(str(self._matcher.get_error()).split())[:200]
                raise EngineError(f"the answer left its grammar: {reason}")

    @property
    def ended(self) -> bool:
        """Whether nothing may follow."""
        return bool(self._matcher.is_stopped())


def _llguidance() -> Any:
    try:
        import llguidance
    except ImportError as error:
        raise JobRefused(
            "JSON and forced tools need llguidance; pip install 'understudy[gateway]'",
            param="response_format",
        ) from error
    return llguidance
