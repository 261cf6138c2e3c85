"""What a call costs at most, before it is made; and about how many tokens a text has."""

from __future__ import annotations

from understudy.types import Cloud, Cost, Question

# Tokens of an answer whose length nothing bounds.
UNKNOWN_LENGTH = 4096

_TOKENS_OF_A_TURN = 8  # its role and its marks
SIZE_OF_A_TOKEN = 4  # characters of English, or bytes


def about_tokens(size: int) -> int:
    """Of a text whose tokens nobody counted: ceil(size / 4), in characters or bytes.

    >>> about_tokens(8), about_tokens(9)
    (2, 3)
    """
    return -(-size // SIZE_OF_A_TOKEN)


def prompt_tokens_at_most(question: Question) -> int:
    """No tokenizer in use has a token shorter than a byte."""
    texts = (message.content.encode() for message in question.messages)
    return sum(len(text) + _TOKENS_OF_A_TURN for text in texts)


def estimated_cost(cloud: Cloud, question: Question) -> Cost:
    """The cloud's own estimate, where it makes one; prices are known only to a cloud."""
    estimate = getattr(cloud, "estimate", None)
    if estimate is not None:
        cost: Cost = estimate(question)
        return cost
    longest = question.options.max_tokens or UNKNOWN_LENGTH
    return Cost(1, prompt_tokens_at_most(question), longest)
