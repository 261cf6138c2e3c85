"""Who may do what, and how often."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.door.wire import CHAT, JSON, Answer, ask, call, chat_body, connect, head, until
from tests.gateway.kept import kept
from tests.gateway.serving import WAIT, Served, eventually, serving
from understudy.errors import ConfigError
from understudy.gateway.door.limits import Bucket, expected_tokens, level_at, seconds_until
from understudy.gateway.door.settings import DoorSettings
from understudy.store.database import open_database
from understudy.store.keys import Keys


@dataclass
class Secrets:
    """Of keys that differ in what they may."""

    keys: Keys
    plain: str
    watch: str
    slow: str
    few: str
    late: str


@pytest.fixture
def secrets(tmp_path: Path) -> Iterator[Secrets]:
    database = open_database(tmp_path / "keys.db")
    keys = Keys(database)
    yield Secrets(
        keys,
        plain=keys.create("plain", team="red", dial=0.25)[1],
        watch=keys.create("watch", scopes=("metrics",))[1],
        slow=keys.create("slow", requests_per_minute=2)[1],
        few=keys.create("few", tokens_per_minute=100)[1],
        late=keys.create("late", expires=1.0)[1],
    )
    database.engine.dispose()


@pytest.fixture
def served(secrets: Secrets) -> Iterator[Served]:
    async def metrics() -> tuple[bytes, str]:
        return b"up 1\n", "text/plain"

    with serving(keys=secrets.keys, metrics=metrics) as found:
        yield found


def test_a_question_needs_a_key(served: Served, secrets: Secrets) -> None:
    answer = ask(served)
    assert (answer.status, answer.code) == (401, "missing_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert ask(served, key="us-other").code == "invalid_api_key"
    assert ask(served, key=secrets.late).code == "invalid_api_key"
    assert ask(served, key=secrets.plain).status == 200
    assert served.core.calls[0][1].team == "red"
    assert served.core.calls[0][1].dial == 0.25


def test_a_key_may_come_as_anthropics_clients_send_it(served: Served, secrets: Secrets) -> None:
    headers = JSON | {"x-api-key": secrets.plain}
    assert call(served, "POST", CHAT, chat_body(), headers).status == 200
    refused = call(served, "POST", "/v1/messages", b"{}", JSON)
    assert refused.json["error"]["type"] == "authentication_error"


def test_a_key_does_only_what_its_scopes_say(served: Served, secrets: Secrets) -> None:
    answer = ask(served, key=secrets.watch)
    assert (answer.status, answer.code) == (403, "insufficient_scope")
    watching = {"authorization": f"Bearer {secrets.watch}"}
    assert call(served, "GET", "/metrics", headers=watching).content == b"up 1\n"
    assert call(served, "GET", "/metrics", headers={"x-api-key": secrets.plain}).status == 403
    assert call(served, "GET", "/health").status == 200
    assert call(served, "GET", "/ready").status == 200


def test_so_many_requests_a_minute(served: Served, secrets: Secrets) -> None:
    first, second, third = (ask(served, key=secrets.slow) for _ in range(3))
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert second.status == 200
    assert (third.status, third.code) == (429, "rate_limit_exceeded")
    assert 0 < int(third.headers["retry-after"]) <= 30
    assert third.headers["x-ratelimit-remaining-requests"] == "0"
    assert ask(served, key=secrets.plain).status == 200


def test_whoever_reads_the_metrics_has_a_limit_too(secrets: Secrets) -> None:
    async def metrics() -> tuple[bytes, str]:
        return b"up 1\n", "text/plain"

    chosen: Any = {"scopes": ("metrics",), "requests_per_minute": 1}
    reading = {"authorization": f"Bearer {secrets.keys.create('reads', **chosen)[1]}"}
    with serving({"max_in_flight": 1}, keys=secrets.keys, metrics=metrics) as served:
        served.door.flight.running = 1  # a full house is when they are read
        assert call(served, "GET", "/metrics", headers=reading).status == 200
        answer = call(served, "GET", "/metrics", headers=reading)
        assert (answer.status, answer.code) == (429, "rate_limit_exceeded")
        served.door.flight.running = 0


def left(answer: Answer) -> int:
    return int(answer.headers["x-ratelimit-remaining-tokens"])


def test_tokens_are_expected_before_and_settled_after(served: Served, secrets: Secrets) -> None:
    """The answer says 17 tokens, however many were expected."""
    assert ask(served, key=secrets.few, max_tokens=50).status == 200
    assert 83 <= left(ask(served, key=secrets.few, max_tokens=1000)) + 100 <= 200  # 83 are not 100
    assert ask(served, key=secrets.few, max_tokens=1000).status == 429


def test_tokens_of_a_stream_are_counted_unasked(served: Served, secrets: Secrets) -> None:
    """The usage chunk that this takes is kept from a caller who did not ask for it."""
    answer = ask(served, key=secrets.few, stream=True)
    assert b"usage" not in answer.content
    assert served.core.calls[-1][0].include_usage
    assert 80 <= left(ask(served, key=secrets.few, max_tokens=1000)) <= 84


def test_a_stream_that_is_left_took_its_tokens(served: Served, secrets: Secrets) -> None:
    """Three times twelve tokens of the question, and a word; what else was expected comes back."""
    words = f"break {'x ' * 30}"
    for _ in range(2):
        assert ask(served, words, key=secrets.few, stream=True).status == 200
    body = chat_body(f"hold {'x ' * 8}", stream=True)
    with connect(served) as stream:
        stream.sendall(head(length=len(body), authorization=f"Bearer {secrets.few}") + body)
        until(stream, b"hold")
    eventually(lambda: served.door.flight.running == 0)
    assert 58 <= left(ask(served, key=secrets.few, max_tokens=1000)) <= 63


def test_of_usage_that_is_added_up_the_last_counts(served: Served, secrets: Secrets) -> None:
    answer = ask(served, "sum b c d", key=secrets.few, stream=True)
    assert answer.content.count(b'"usage"') == 4
    assert 82 <= left(ask(served, key=secrets.few, max_tokens=1000)) <= 85  # 16 were taken
    body = {"prompt": "sum b c d", "stream": True, "stream_options": {"include_usage": True}}
    headers = JSON | {"authorization": f"Bearer {secrets.plain}"}
    old = call(served, "POST", "/v1/completions", json.dumps(body).encode(), headers)
    assert b'"total_tokens":17' in old.content


def test_a_refused_request_takes_no_tokens(served: Served, secrets: Secrets) -> None:
    for _ in range(3):
        assert ask(served, "refuse", key=secrets.few, max_tokens=50).code == "budget_exceeded"
    assert ask(served, "fail", key=secrets.few, max_tokens=50).status == 500
    assert ask(served, key=secrets.few, max_tokens=50).status == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/models", None),
        ("GET", "/v1/models/auto", None),
        ("GET", CHAT, None),
        ("GET", f"{CHAT}/chatcmpl-0", None),
        ("GET", f"{CHAT}/chatcmpl-0/messages", None),
        ("POST", f"{CHAT}/chatcmpl-0", {"metadata": {}}),
        ("DELETE", f"{CHAT}/chatcmpl-0", None),
        ("POST", "/v1/messages/count_tokens", {"model": "auto", "messages": []}),
    ],
)
def test_every_route_of_a_key_counts(tmp_path: Path, method: str, path: str, body: Any) -> None:
    with kept(tmp_path) as store:
        _, secret = store.keys.create("slow", requests_per_minute=1)
        headers = JSON | {"authorization": f"Bearer {secret}"}
        with serving({"max_in_flight": 1}, **store.parts) as gateway:
            content = None if body is None else json.dumps(body).encode()
            assert call(gateway, method, path, content, headers).status in (200, 400, 404)
            answer = call(gateway, method, path, content, headers)
            assert answer.status == 429
            assert b"rate_limit" in answer.content
            with connect(gateway) as stream:
                asked = chat_body("wait")
                bearer = f"Bearer {store.secrets['root']}"
                stream.sendall(head(length=len(asked), authorization=bearer) + asked)
                eventually(lambda: gateway.door.flight.running == 1)
                headers = JSON | {"authorization": bearer}
                full = call(gateway, method, path, content, headers)
                assert full.status == 429
                assert b"as many as it may" in full.content


def test_keys_are_read_while_every_other_thread_is_busy(secrets: Secrets) -> None:
    go_on = threading.Event()

    async def find() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, go_on.wait)
        try:
            async with asyncio.timeout(WAIT):
                assert await secrets.keys.find(secrets.plain) is not None
        finally:
            go_on.set()
            await busy

    asyncio.run(find())


def test_a_bucket_by_hand() -> None:
    """60 a minute: 10 are left, a second later 11, after a minute 60."""
    bucket = Bucket(10, at=100.0)
    assert level_at(bucket, 60, 101.0) == 11
    assert level_at(bucket, 60, 200.0) == 60
    assert seconds_until(15, 10, 60) == 5
    assert seconds_until(5, 10, 60) == 0
    assert expected_tokens(30, 100, 2) == 210


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0", "keys": "off"}, "keys=off with host=0.0.0.0"),
        ({"tls_key": "key.pem"}, "tls_certificate and tls_key"),
    ],
)
def test_settings_that_leave_the_door_open_are_refused(
    settings: dict[str, str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        DoorSettings.model_validate(settings, strict=False)


def test_a_network_needs_keys(secrets: Secrets) -> None:
    from tests.gateway.echo import EchoCore
    from understudy.gateway.door.door import Door
    from understudy.gateway.serving import check_exposure

    open_to_all = DoorSettings(host="0.0.0.0")
    with pytest.raises(ConfigError, match="understudy keys create"):
        check_exposure(Door(EchoCore(), open_to_all))
    check_exposure(Door(EchoCore(), open_to_all, keys=secrets.keys))
    check_exposure(Door(EchoCore(), DoorSettings(host="::1")))


def models_by(served: Served, host: str, key: str = "") -> int:
    headers = {"host": host} | ({"authorization": f"Bearer {key}"} if key else {})
    return call(served, "GET", "/v1/models", headers=headers).status


def test_keys_are_needed_from_the_first_one_on_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "keys.db"
    keys, elsewhere = Keys(open_database(file)), Keys(open_database(file))
    with serving(keys=keys) as served:
        assert ask(served).status == 200
        assert models_by(served, "elsewhere.example") == 421
        secret = elsewhere.create("one")[1]
        eventually(lambda: ask(served).status == 401)
        assert ask(served, key=secret).status == 200
        assert models_by(served, "elsewhere.example", secret) == 200
        elsewhere.revoke("one")
        eventually(lambda: ask(served, key=secret).status == 401)
    with serving(keys=Keys(open_database(file))) as served:
        assert ask(served).status == 401
    with serving({"keys": "required"}, keys=Keys(open_database(tmp_path / "none.db"))) as served:
        assert ask(served).status == 401
