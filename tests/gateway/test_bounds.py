"""What a call costs at most, worked by hand."""

from __future__ import annotations

import pytest

from understudy.clouds.prices import Prices
from understudy.gateway.upstreams.bounds import (
    MOST_TOKENS,
    bounded,
    completion_tokens_least,
    completion_tokens_wanted,
    cost_at_most,
    passes,
    prompt_tokens_at_most,
)
from understudy.gateway.upstreams.calls import UpstreamError
from understudy.gateway.upstreams.unbounded import refuse_unbounded

ASKED = {"messages": [{"role": "user", "content": "hi"}]}


def test_a_prompt_has_no_more_tokens_than_bytes_and_a_template() -> None:
    assert prompt_tokens_at_most(ASKED, 100) == 100 + 64
    assert prompt_tokens_at_most(ASKED | {"tools": [{}]}, 100) == 100 + 64 + 512


def test_a_picture_given_by_its_address_has_few_bytes_and_many_tokens() -> None:
    parts = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {}}]
    parts += [{"type": "file", "file": {"file_id": "f"}}, {"type": "audio_url"}]
    spoken = {"role": "assistant", "audio": {"id": "a"}}
    body = {"messages": [{"content": parts}, spoken]}
    assert prompt_tokens_at_most(body, 100, 25_000) == 100 + 64 + 4 * 25_000


def test_the_answer_is_what_is_asked_for_or_the_default_of_each() -> None:
    assert completion_tokens_wanted(ASKED, 1024) == 1024
    assert completion_tokens_wanted(ASKED | {"max_tokens": 10}, 1024) == 10
    assert completion_tokens_wanted(ASKED | {"max_completion_tokens": 20, "n": 3}, 1024) == 60
    assert completion_tokens_wanted(ASKED | {"max_tokens": 10**40}, 1024) == MOST_TOKENS


def test_the_least_is_for_each_of_the_answers() -> None:
    """So that a small remainder is not held for one answer and spent by all of them."""
    assert completion_tokens_least(ASKED | {"n": 128}, 1024, 16) == 128 * 16
    assert completion_tokens_least(ASKED | {"n": 128, "max_tokens": 3}, 1024, 16) == 128 * 3


def test_a_cache_may_be_dearer_than_the_prompt() -> None:
    prices = Prices(prompt=1.0, cached_prompt=2.0, completion=10.0)
    assert cost_at_most(prices, 1_000_000, 100_000).dollars == pytest.approx(2.0 + 1.0)
    prices = Prices(prompt=1.0, cached_prompt=0.1, completion=10.0, cache_write=1.25)
    assert cost_at_most(prices, 1_000_000, 100_000).dollars == pytest.approx(1.25 + 1.0)


def test_an_answer_is_bounded_to_what_is_paid_for() -> None:
    assert bounded(ASKED, 50, "max_tokens") == ASKED | {"max_tokens": 50}
    assert bounded(ASKED, 50, "max_completion_tokens") == ASKED | {"max_completion_tokens": 50}
    assert bounded(ASKED | {"max_tokens": 10}, 50, "max_tokens") == ASKED | {"max_tokens": 10}
    large = ASKED | {"max_tokens": 100, "n": 2}
    assert bounded(large, 50, "max_tokens") == large | {"max_tokens": 25}


def test_an_endpoint_gets_the_bound_by_the_name_that_it_knows() -> None:
    newer = ASKED | {"max_completion_tokens": 40}
    assert bounded(newer, 50, "max_tokens") == ASKED | {"max_tokens": 40}
    both = newer | {"max_tokens": 100}
    assert bounded(both, 50, "max_completion_tokens") == newer


def test_an_answer_passes_its_bound_only_beyond_doubt() -> None:
    assert not passes(100, pieces=400, size=450)  # a chunk for every letter
    assert not passes(100, pieces=10, size=1500)  # ten tokens in a chunk
    assert passes(100, pieces=270, size=1000)
    assert passes(100, pieces=1, size=3000)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_predict", 10**6),
        ("service_tier", "priority"),
        ("models", ["dearer/model"]),
        ("plugins", [{"id": "web"}]),
        ("web_search_options", {"search_context_size": "high"}),
        ("prediction", {"type": "content", "content": "a"}),
        ("tools", [{"type": "web_search"}]),
    ],
)
def test_what_no_number_of_tokens_bounds_is_refused_or_allowed(field: str, value: object) -> None:
    body = ASKED | {field: value}
    with pytest.raises(UpstreamError, match="nothing bounds what it costs") as caught:
        refuse_unbounded("big", body, (), None)
    assert (caught.value.status, caught.value.at_fault) == (400, False)
    assert caught.value.body["error"]["param"] == field  # type: ignore[index]
    refuse_unbounded("big", body, (field,), None)


@pytest.mark.parametrize(
    "harmless",
    [
        {"service_tier": "auto", "prediction": None, "modalities": ["text"], "plugins": []},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "user": "u", "seed": 1},
    ],
)
def test_other_fields_pass(harmless: dict[str, object]) -> None:
    refuse_unbounded("big", ASKED | harmless, (), None)


def test_an_image_needs_a_number_of_tokens() -> None:
    body = {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}
    with pytest.raises(UpstreamError, match="give the cloud part_tokens"):
        refuse_unbounded("big", body, (), None)
    refuse_unbounded("big", body, (), 25_000)
