"""What is wrong with a cloud is said as the gateway starts, and it serves all the same."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.gateway.served import Process, serving
from tests.gateway.upstream import Behaviour, MockUpstream
from understudy.gateway.cloud_check import check_clouds
from understudy.gateway.clouds import open_clouds
from understudy.gateway.settings import ServeSettings
from understudy.gateway.upstreams import listing

KEY, WRONG = "sk-right-key-0123456789", "sk-wrong-key-0123456789"


def closed_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


async def said_of(*urls: str, model: str = "mock", **more: Any) -> list[str]:
    """The warnings about clouds at these addresses, called c0, c1, ..."""
    price = {"prompt": 1, "completion": 4}
    clouds = {
        f"c{number}": {"base_url": url, "model": model, "prices": price, **more}
        for number, url in enumerate(urls)
    }
    given = {"local": {"path": "none"}, "clouds": clouds}
    choice = open_clouds(ServeSettings.model_validate(given), lambda text: None)
    said: list[str] = []
    await check_clouds(choice, said.append)
    await choice.close()
    return said


def test_a_cloud_that_is_well_is_not_spoken_of_and_paid_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EXAMPLE_KEY", KEY)

    async def go() -> None:
        async with MockUpstream(key=KEY, models=("models/mock", "other")) as cloud:
            assert await said_of(cloud.url, api_key_env="EXAMPLE_KEY") == []
            assert cloud.bodies == []

    asyncio.run(go())


def test_an_address_where_nobody_listens_is_named_once_for_all_its_clouds() -> None:
    url = f"http://127.0.0.1:{closed_port()}/v1"
    (line,) = asyncio.run(said_of(url, url))
    assert line.startswith(f"clouds.c0, clouds.c1: nobody answers at {url} (connection refused);")
    assert "check its base_url" in line


def test_a_cloud_that_never_answers_is_waited_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "SECONDS", 0.1)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        (line,) = asyncio.run(said_of(url))
    assert f"nobody answers at {url} (no answer in time)" in line


def test_a_refused_key_is_said_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_KEY", WRONG)

    async def go() -> list[str]:
        async with MockUpstream(key=KEY) as cloud:
            return await said_of(cloud.url, api_key_env="EXAMPLE_KEY")

    (line,) = asyncio.run(go())
    assert "answers HTTP 401: its key is refused; check api_key_env" in line
    assert WRONG not in line


@pytest.mark.parametrize(
    ("path", "model", "words"),
    [
        ("/v1", "big", "lists no model big, but mock; check its setting model"),
        ("/v2", "mock", "does not say which models it has (HTTP 404)"),
    ],
)
def test_a_model_or_a_path_that_is_not_there_is_said(path: str, model: str, words: str) -> None:
    async def go() -> list[str]:
        async with MockUpstream() as cloud:
            return await said_of(cloud.url.removesuffix("/v1") + path, model=model)

    (line,) = asyncio.run(go())
    assert words in line


def warnings_of(gateway: Process) -> list[str]:
    return [line for line in gateway.log if line.startswith("warning: clouds.main: nobody answers")]


def test_the_gateway_starts_with_a_warning_and_answers_locally(tmp_path: Path) -> None:
    dead = f"http://127.0.0.1:{closed_port()}/v1"
    cloud = ("--cloud", dead, "--cloud-model", "big", "--prices", "1/4", "--max-dollars", "1/day")
    body = {"model": "cloud", "messages": [{"role": "user", "content": "hello"}]}

    def served(local: str, *more: str) -> list[str]:
        with serving("--local", local, *cloud, *more, store=tmp_path / "g.db") as gateway:
            answer = httpx2.post(f"{gateway.url}/chat/completions", json=body, timeout=60)
            assert answer.headers["x-understudy-answered-by"] == "local"
            assert "connection refused" in answer.headers["x-understudy-why"]
            assert gateway.stop() == 0
        return warnings_of(gateway)

    async def go() -> None:
        async with MockUpstream.of(Behaviour(words=2)) as near:
            assert len(await asyncio.to_thread(served, near.url)) == 1
            assert await asyncio.to_thread(served, near.url, "--no-check") == []

    asyncio.run(go())
