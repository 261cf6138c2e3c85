"""What describes an endpoint: refused before any call, in one line that repeats no secret."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clouds.endpoint_server import completion, serving
from tests.clouds.http_client import ask_one
from understudy.clouds.building import build_cloud
from understudy.clouds.endpoint import Endpoint, chat_url, read_key
from understudy.clouds.openai import OpenAICloud
from understudy.clouds.prices import Prices, load_prices
from understudy.clouds.settings import CloudSettings
from understudy.errors import ConfigError
from understudy.offload.config import Config
from understudy.settings import check_settings
from understudy.types import Question

FREE = {"prompt": 0, "cached_prompt": 0, "completion": 0}
TABLE = {"big": {"prompt": 2.0, "cached_prompt": 0.5, "completion": 10}, "local": FREE}
SECRET = "sk-live-0123456789abcdef"


def table_file(folder: Path, content: Any) -> Path:
    path = folder / "prices.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_prices_are_read_from_yaml_and_from_json(tmp_path: Path) -> None:
    for text in (yaml.safe_dump(TABLE), json.dumps(TABLE)):
        path = table_file(tmp_path, text)
        assert load_prices(path, "big") == Prices(2.0, 0.5, 10.0)
        assert load_prices(path, "local") == Prices(0.0, 0.0, 0.0)


def test_prices_may_stand_in_the_settings_themselves() -> None:
    given = {"prompt": 2, "completion": 10}
    assert Endpoint(prices=given).load_prices() == Prices(2.0, 2.0, 10.0)
    assert Endpoint(prices=given | {"cached_prompt": 0.5}).load_prices() == Prices(2.0, 0.5, 10.0)


def test_cached_tokens_are_part_of_the_prompt_and_have_a_price_of_their_own() -> None:
    assert Prices(2.0, 0.5, 10.0).dollars(1000, 400, 100) == pytest.approx(
        (600 * 2 + 400 * 0.5 + 100 * 10) / 1e6
    )


def test_what_a_cache_takes_has_a_price_of_its_own_or_that_of_the_prompt(tmp_path: Path) -> None:
    prices = load_prices(table_file(tmp_path, {"big": TABLE["big"] | {"cache_write": 2.5}}), "big")
    assert prices.dollars(1000, 400, 100, 500) == pytest.approx(
        (100 * 2 + 400 * 0.5 + 500 * 2.5 + 100 * 10) / 1e6
    )
    assert prices.at_most(1000, 100) == pytest.approx((1000 * 2.5 + 100 * 10) / 1e6)
    assert Prices(2.0, 0.5, 10.0).dollars(1000, 0, 0, 500) == pytest.approx(1000 * 2 / 1e6)
    assert not Prices(0.0, 0.0, 0.0, 1.0).is_free


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (TABLE | {}, ["model=small", "big, local", "prices.yaml"]),
        ({}, ["model=small", "none"]),
        ("- big\n", ["mapping"]),
        ("{big: [", ["not valid YAML"]),
        ({"small": {"prompt": 1, "completion": 2}}, ["small needs", "cached_prompt"]),
        ({"small": FREE | {"input": 1}}, ["small needs", "nothing else"]),
        ({"small": 3}, ["small needs"]),
        ({"small": FREE | {"prompt": -1}}, ["prompt=-1"]),
        ({"small": FREE | {"prompt": "1"}}, ["prompt='1'"]),
        ({"small": FREE | {"prompt": True}}, ["prompt=True"]),
        ({"small": FREE | {"prompt": None}}, ["prompt=None"]),
        ({"small": FREE | {"completion": float("inf")}}, ["completion=inf"]),
        ({"small": FREE | {"completion": float("nan")}}, ["completion=nan"]),
    ],
)
def test_a_price_that_is_not_written_down_is_not_guessed(
    tmp_path: Path, content: Any, parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_prices(table_file(tmp_path, content), "small")
    assert [part for part in parts if part not in str(refused.value)] == []
    assert "\n" not in str(refused.value)


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load_prices(tmp_path / "none.yaml", "big")


@pytest.mark.parametrize(
    "base",
    [
        "http://localhost:8000/v1",
        " http://localhost:8000/v1/ ",
        "http://localhost:8000/v1/chat/completions",
    ],
)
def test_an_address_is_completed(base: str) -> None:
    assert chat_url(base) == "http://localhost:8000/v1/chat/completions"


@pytest.mark.parametrize(
    "base",
    ["localhost:8000/v1", "ftp://x/v1", "http://", "http://x:99999/v1", "https://x/v1?key=a", "x"],
)
def test_what_is_no_address_is_refused(base: str) -> None:
    with pytest.raises(ConfigError, match=r"cloud\.http\.base_url"):
        chat_url(base)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as refused:
        chat_url(f"https://user:{SECRET}@api.example.com/v1")
    assert SECRET not in str(refused.value)


def test_keys_come_from_the_environment_or_a_file_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    monkeypatch.setenv("EXAMPLE_KEY", SECRET)
    assert read_key("EXAMPLE_KEY", None) == read_key(None, file) == SECRET
    assert read_key(None, None) is None
    with pytest.raises(ConfigError, match="both"):
        read_key("EXAMPLE_KEY", file)


@pytest.mark.parametrize("content", ["", " \n", f"{SECRET}\nsecond line", f"Bearer {SECRET}", "é"])
def test_a_key_file_holds_one_word(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content)
    with pytest.raises(ConfigError, match="api_key_file") as refused:
        read_key(None, tmp_path / "key")
    assert SECRET not in str(refused.value)


def test_a_key_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"api_key_file={tmp_path}: cannot be read"):
        read_key(None, tmp_path)


def test_a_key_given_in_place_of_its_file_or_address_is_not_repeated() -> None:
    with pytest.raises(ConfigError, match="api_key_file: cannot be read") as refused:
        read_key(None, Path(SECRET))
    assert SECRET not in str(refused.value)
    with pytest.raises(ConfigError, match="api_key_file: cannot be read") as refused:
        read_key(None, Path(SECRET * 20))  # longer than a file's name may be
    assert SECRET not in str(refused.value)
    for address in (f"https://api.example.com/v1?key={SECRET}", SECRET, f"user:{SECRET}@host/v1"):
        with pytest.raises(ConfigError, match="base_url") as refused:
            chat_url(address)
        assert SECRET not in str(refused.value)


def test_a_key_given_in_place_of_its_variable_is_not_repeated() -> None:
    with pytest.raises(ConfigError, match="not the key") as refused:
        read_key(SECRET, None)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "extra", [{"model": "x"}, {"stream": True}, {"messages": []}, {"stop": {1}}, {"p": 1e999}]
)
def test_what_cannot_be_passed_through_is_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="extra_body"):
        Endpoint(base_url="http://localhost/v1", model="big", prices="x", extra_body=extra).check()


def nobody(question: Question) -> None:
    """The answer key of a cloud that has none."""


def settings(folder: Path, url: str, **http: Any) -> CloudSettings:
    given = {"base_url": url, "model": "big", "prices": str(table_file(folder, TABLE))} | http
    return check_settings(Config, {"cloud": {"kind": "openai", "http": given}}).cloud


def test_the_settings_make_a_cloud_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiohttp import web

    from tests.clouds.endpoint_server import Call

    async def script(call: Call) -> web.StreamResponse:
        return web.json_response(completion())

    monkeypatch.setenv("EXAMPLE_KEY", SECRET)
    with serving(script) as server:
        config = settings(
            tmp_path,
            server.url,
            api_key_env="EXAMPLE_KEY",
            temperature=0.5,
            extra_body={"reasoning_effort": "low"},
            max_concurrency=2,
        )
        cloud = build_cloud(config, nobody)
        assert isinstance(cloud, OpenAICloud)
        reply = ask_one(cloud)
    (call,) = server.calls
    assert (reply.text, reply.dollars) == ("four", pytest.approx(310 / 1e6))
    assert call.headers["authorization"] == f"Bearer {SECRET}"
    assert call.body["max_tokens"] == 1024
    assert (call.body["temperature"], call.body["reasoning_effort"]) == (0.5, "low")
    assert "stream" not in call.body
    assert SECRET not in config.model_dump_json() + repr(config) + repr(vars(cloud))


def test_every_setting_reaches_the_endpoint(tmp_path: Path) -> None:
    given = {
        "max_tokens": 7,
        "temperature": 0.25,
        "stream": True,
        "extra_body": {"top_p": 0.5},
        "max_concurrency": 3,
        "timeout_seconds": 11.0,
        "connect_timeout_seconds": 2.5,
        "max_retries": 6,
        "circuit_failures": 5,
        "circuit_pause_seconds": 1.5,
    }
    cloud = build_cloud(settings(tmp_path, "http://localhost:8000/v1", **given), nobody)
    assert isinstance(cloud, OpenAICloud)
    assert {name: getattr(cloud.http.endpoint, name) for name in given} == given


@pytest.mark.parametrize("name", ["base_url", "model", "prices"])
def test_what_an_endpoint_needs_is_asked_for(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"cloud\.http\.{name} is empty"):
        build_cloud(settings(tmp_path, "http://localhost:8000/v1", **{name: ""}), nobody)


@pytest.mark.parametrize("name", ["accuracy", "faults", "latency_seconds"])
def test_settings_of_the_simulated_cloud_are_not_for_one_that_is_paid(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"cloud\.{name}: is a setting of cloud simulated"):
        check_settings(Config, {"cloud": {"kind": "openai", name: 0.5}})


def test_an_endpoint_is_described_without_what_loads_slowly() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


LIGHT = """
import sys
import understudy.clouds.openai, understudy.clouds.fallback, understudy.clouds.simulated
print(sorted({"torch", "numpy", "aiohttp", "transformers", "matplotlib"} & {*sys.modules}))
"""
