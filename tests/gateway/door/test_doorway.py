"""What every answer has, who may call from where, and what the log says."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from tests.gateway.door.wire import CHAT, JSON, ask, call, chat_body, connect, rest_of
from tests.gateway.serving import Served, eventually, serving
from understudy.gateway.door.exchange import Exchange
from understudy.gateway.door.log import LOGGER, JsonFormatter

SECRET = "sk-never-shown"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving({"log_requests": True}) as found:
        yield found


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """The log's lines, as they are written."""
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(self.format(record))

    keep = Keep()
    keep.setFormatter(JsonFormatter())
    LOGGER.addHandler(keep)
    LOGGER.setLevel(logging.INFO)
    yield found
    LOGGER.removeHandler(keep)


def test_a_request_is_one_line_of_json_without_its_words(served: Served, lines: list[str]) -> None:
    headers = JSON | {"authorization": f"Bearer {SECRET}", "x-request-id": "r-1"}
    call(served, "POST", CHAT + "?secret=words", chat_body("my words"), headers)
    eventually(lambda: len(lines) == 1)
    (line,) = lines
    found = json.loads(line)
    assert found["event"] == "request"
    assert found["request_id"] == "r-1"
    assert (found["path"], found["status"], found["tokens"]) == (CHAT, 200, 17)
    assert found["answered_by"] == "local"
    assert found["milliseconds"] > 0
    assert "words" not in line
    assert SECRET not in line


def test_questions_are_logged_where_that_is_switched_on(lines: list[str]) -> None:
    with serving({"log_requests": True, "log_text": True}) as served:
        ask(served, "fail my words")
        eventually(lambda: len(lines) == 3)
    _, fault, request = map(json.loads, lines)
    assert request["question"] == "fail my words"
    assert "fail my words" in fault["message"]


def test_a_fault_is_logged_by_its_place_not_its_words(served: Served, lines: list[str]) -> None:
    ask(served, f"fail {SECRET}")
    eventually(lambda: len(lines) == 2)
    fault, request = map(json.loads, lines)
    assert (fault["event"], fault["error"]) == ("fault", "RuntimeError")
    assert any("echo.py" in place for place in fault["where"])
    assert fault["request_id"] == request["request_id"]
    assert request["status"] == 500
    assert SECRET not in "".join(lines)


def test_who_answered_is_logged_though_the_head_did_not_know(
    served: Served, lines: list[str]
) -> None:
    answer = ask(served, "doubt it", stream=True)
    assert answer.headers["x-understudy-answered-by"] == "undecided"
    eventually(lambda: len(lines) == 1)
    assert json.loads(lines[0])["answered_by"] == "local"


def test_who_watches_breaks_nothing(lines: list[str]) -> None:
    def watch(exchange: Exchange) -> None:
        raise RuntimeError(exchange.route)

    with serving(finished=watch) as served:
        assert ask(served).status == 200
        eventually(lambda: any("RuntimeError" in line for line in lines))


def test_whoever_watches_is_heard_whatever_its_id(served: Served) -> None:
    for given in ("caf\xe9", "x" * 257):
        answer = call(served, "GET", "/health", headers={"x-request-id": given})
        assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("given", [f"{'0' * 36}#7", "two words", '{"a": 1}', "x" * 256])
def test_a_request_keeps_the_id_that_a_proxy_gave_it(
    served: Served, lines: list[str], given: str
) -> None:
    answer = call(served, "POST", CHAT, chat_body(), JSON | {"x-request-id": given})
    assert (answer.status, answer.headers["x-request-id"]) == (200, given)
    # A line of the test before may still come in between.
    eventually(lambda: given in [json.loads(line)["request_id"] for line in lines])


def test_every_answer_is_made_safe(served: Served) -> None:
    for answer in (ask(served), call(served, "GET", "/nowhere"), ask(served, "fail")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


def test_what_there_is_not_is_told_in_the_shape_of_the_dialect(served: Served) -> None:
    answer = call(served, "GET", "/nowhere")
    assert (answer.status, answer.code) == (404, "unknown_url")
    assert call(served, "GET", "/health/").status == 404  # nor is anybody sent elsewhere
    answer = call(served, "PUT", CHAT, b"{}", JSON)
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    answer = call(served, "GET", "/v1/messages")
    assert answer.json["type"] == "error"


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/chat/completions", CHAT),
        ("/v1/v1/messages", "/v1/messages"),
        ("/models", "/v1/models"),
        ("/v1/nowhere", ""),
        ("/v1", ""),
    ],
)
def test_a_base_url_without_or_with_too_much_of_v1_is_told(
    served: Served, path: str, meant: str
) -> None:
    answer = call(served, "POST", path, chat_body(), JSON)
    assert answer.status == 404
    error = answer.json["error"]
    assert (f"; {meant} is here" in error["message"]) if meant else (" is here" not in str(error))


def test_what_is_insisted_on_is_yes_or_no(served: Served) -> None:
    for said, meant in {"true": True, "1": True, "YES": True, "false": False, "": False}.items():
        call(served, "POST", CHAT, chat_body(), JSON | {"x-understudy-insist": said})
        assert served.core.calls[-1][1].insist is meant


def test_without_keys_only_this_machines_names_are_heard(served: Served) -> None:
    """A page of evil.example could make its name point here."""
    answer = call(served, "GET", "/v1/models", headers={"host": "evil.example"})
    assert (answer.status, answer.code) == (421, "unknown_host")
    for host in ("localhost:99", "127.0.0.1", "[::1]:80"):
        assert call(served, "GET", "/v1/models", headers={"host": host}).status == 200


def test_other_hosts_are_heard_where_they_are_named() -> None:
    with serving({"hosts": ["gateway.example"]}) as served:
        headers = {"host": "Gateway.Example:443"}
        assert call(served, "GET", "/v1/models", headers=headers).status == 200
        assert call(served, "GET", "/v1/models").status == 421
        assert call(served, "GET", "/ready").status == 200


def test_pages_of_other_origins_are_let_in_where_they_are_named(served: Served) -> None:
    wanted = {
        "origin": "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    assert call(served, "OPTIONS", CHAT, headers=wanted).status == 405
    with serving({"cors_origins": ["https://app.example"]}) as open_to_app:
        answer = call(open_to_app, "OPTIONS", CHAT, headers=wanted)
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        body = chat_body("refuse")
        answer = call(open_to_app, "POST", CHAT, body, JSON | {"origin": "https://app.example"})
        assert answer.status == 429
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-understudy-why" in answer.headers["access-control-expose-headers"]
        other = call(open_to_app, "POST", CHAT, body, JSON | {"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-deadline-ms", "soon"),
        ("x-deadline-ms", "-5"),
        ("x-deadline-ms", "0"),
        ("x-deadline-ms", "9" * 5000),
        ("x-conversation-id", "x" * 300),
        ("x-understudy-insist", "maybe"),
        ("x-request-id", "caf\xe9"),
        ("x-request-id", "x" * 257),
    ],
)
def test_a_header_that_says_nothing_is_refused_by_name(
    served: Served, header: str, value: str
) -> None:
    answer = call(served, "POST", CHAT, chat_body(), JSON | {header: value})
    assert answer.status == 400
    assert answer.json["error"]["param"] == header


def test_what_is_no_http_is_refused(served: Served) -> None:
    for said in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"x" * 10**5):
        with connect(served) as stream:
            stream.sendall(said + b"\r\n\r\n")
            assert b" 4" in rest_of(stream)[:14]
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    assert call(served, "GET", "/health", headers=upgrade).status == 200
