"""What a call costs at most, worked by hand."""

from __future__ import annotations

import pytest

from understudy.clouds.prices import Prices
from understudy.gateway.upstreams.bounds import (
    bounded,
    completion_tokens_wanted,
    cost_at_most,
    prompt_tokens_at_most,
)

ASKED = {"messages": [{"role": "user", "content": "hi"}]}


def test_a_prompt_has_no_more_tokens_than_bytes_and_a_template() -> None:
    assert prompt_tokens_at_most(ASKED, 100) == 100 + 64
    assert prompt_tokens_at_most(ASKED | {"tools": [{}]}, 100) == 100 + 64 + 512


def test_a_picture_given_by_its_address_has_few_bytes_and_many_tokens() -> None:
    parts = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {}}]
    assert prompt_tokens_at_most({"messages": [{"content": parts}]}, 100) == 100 + 64 + 4096


def test_the_answer_is_what_is_asked_for_or_the_default_of_each() -> None:
    assert completion_tokens_wanted(ASKED, 1024) == 1024
    assert completion_tokens_wanted(ASKED | {"max_tokens": 10}, 1024) == 10
    assert completion_tokens_wanted(ASKED | {"max_completion_tokens": 20, "n": 3}, 1024) == 60


def test_a_cache_may_be_dearer_than_the_prompt() -> None:
    prices = Prices(prompt=1.0, cached_prompt=2.0, completion=10.0)
    assert cost_at_most(prices, 1_000_000, 100_000).dollars == pytest.approx(2.0 + 1.0)


def test_an_answer_is_bounded_to_what_is_paid_for() -> None:
    assert bounded(ASKED, 50, "max_tokens") == ASKED | {"max_tokens": 50}
    assert bounded(ASKED, 50, "max_completion_tokens") == ASKED | {"max_completion_tokens": 50}
    small = ASKED | {"max_tokens": 10}
    assert bounded(small, 50, "max_tokens") is small
    large = ASKED | {"max_tokens": 100, "n": 2}
    assert bounded(large, 50, "max_tokens") == large | {"max_tokens": 25}
    both = ASKED | {"max_tokens": 100, "max_completion_tokens": 30}
    assert bounded(both, 50, "max_tokens") == both | {"max_tokens": 50}
