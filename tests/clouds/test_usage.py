"""What an endpoint counted, under the names that endpoints have for it."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.clouds.completions import Usage, read_usage

COUNTED = {"prompt_tokens": 1000, "completion_tokens": 5}


@pytest.mark.parametrize(
    "more",
    [
        {"cache_creation_input_tokens": 300},  # LiteLLM, Anthropic
        {"prompt_tokens_details": {"cache_creation_tokens": 300}},  # LiteLLM
        {"prompt_tokens_details": {"cache_write_tokens": 300}},  # OpenRouter
    ],
)
def test_what_a_cache_takes_is_part_of_the_prompt(more: dict[str, Any]) -> None:
    assert read_usage(COUNTED | more) == Usage(1000, 5, 0, 300)


def test_what_a_cache_takes_may_be_left_out_of_the_prompt() -> None:
    """Ten new tokens, 600 found in the cache and 700 put there: 1300 at least were read."""
    details = {"cached_tokens": 600, "cache_write_tokens": 700}
    usage = {"prompt_tokens": 610, "completion_tokens": 5, "total_tokens": 1315}
    assert read_usage(usage | {"prompt_tokens_details": details}) == Usage(1300, 15, 600, 700)


@pytest.mark.parametrize("odd", [-3, "300", None, True, 1.5])
def test_what_is_no_count_is_none(odd: object) -> None:
    details = {"cached_tokens": odd, "cache_write_tokens": odd}
    assert read_usage(COUNTED | {"prompt_tokens_details": details}) == Usage(1000, 5)
    assert read_usage({"prompt_tokens": odd, "completion_tokens": 5}) == Usage(completion=5)
