"""Prices are the user's or the log's; an unknown model is refused by name, never free."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gateway.shadow.logged import call, stored
from understudy.errors import ConfigError
from understudy.gateway.shadow.formats import logged_call
from understudy.gateway.shadow.money import load_table, paid


def test_a_table_prices_tokens_and_cached_ones_apart() -> None:
    table = load_table("{gpt-x: {prompt: 2, completion: 10, cached_prompt: 1}}")
    calls = [call(prompt_tokens=10, completion_tokens=4, cached_tokens=6)]
    assert paid(calls, table).dollars == [pytest.approx((4 * 2 + 6 * 1 + 4 * 10) / 1e6)]


def test_tokens_that_a_cache_took_have_their_price_in_a_log_too() -> None:
    table = load_table("{gpt-x: {prompt: 2, completion: 10, cached_prompt: 1, cache_write: 3}}")
    row = stored("why?", "so")
    row["usage"]["prompt_tokens_details"] |= {"cached_tokens": 5, "cache_write_tokens": 3}
    found = paid([logged_call(row, "log:1")], table)
    assert found.dollars == [pytest.approx((2 * 2 + 5 * 1 + 3 * 3 + 4 * 10) / 1e6)]
    left_out = call(prompt_tokens=2, completion_tokens=4, cached_tokens=5, written_tokens=3)
    assert paid([left_out], table).dollars == [pytest.approx((5 * 1 + 3 * 3 + 4 * 10) / 1e6)]


def test_the_logs_own_cost_counts_where_there_is_no_table() -> None:
    found = paid([call(dollars=0.5), call(dollars=0.0, free=True)], None)
    assert (found.dollars, found.logged) == ([0.5, 0.0], 1)


@pytest.mark.parametrize("dollars", [None, 0.0])
def test_an_unknown_price_is_refused_by_the_models_name(dollars: float | None) -> None:
    with pytest.raises(ConfigError, match=r"no price for gpt-x \(2 calls\) and the log says no"):
        paid([call(dollars=dollars)] * 2, None)
    with pytest.raises(ConfigError, match=r"gpt-x \(1 calls\) in the table \(the table has other"):
        paid([call()], load_table("{other: {prompt: 1, completion: 1}}"))


def test_a_model_is_found_without_its_provider_and_by_a_pattern() -> None:
    table = load_table("{gpt-x: {prompt: 1, completion: 0}, 'big-*': {prompt: 2, completion: 0}}")
    calls = [
        call(model=name, prompt_tokens=10, completion_tokens=1)
        for name in ("openai/gpt-x", "big-2026-01-01")
    ]
    assert paid(calls, table).dollars == pytest.approx([1e-5, 2e-5])


def test_two_numbers_are_prices_of_every_model() -> None:
    found = paid([call(prompt_tokens=10, completion_tokens=4)], load_table("0.5/2"))
    assert found.dollars == [pytest.approx((10 * 0.5 + 4 * 2) / 1e6)]


def test_a_stream_without_usage_is_reckoned_and_counted() -> None:
    found = paid(
        [call("12345678", "1234", prompt_tokens=0, completion_tokens=0)], load_table("1/1")
    )
    assert found.dollars == [pytest.approx(3e-6)]
    assert found.reckoned == 1


@pytest.mark.parametrize(
    "text",
    [
        *("{gpt-x: 3}", "{gpt-x: {prompt: -1, completion: 1}}", "[1]: 2"),
        *("{gpt-x: {prompt: 1}}", "{}", "{a: {prompt: 1, completion: 1, prompt: 2}}"),
    ],
)
def test_what_is_no_table_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="prices"):
        load_table(str(path))
