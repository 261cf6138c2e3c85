"""What a body may be: its size, encoding, depth and pace."""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.door.wire import (
    CHAT,
    JSON,
    call,
    chat_body,
    connect,
    head,
    rest_of,
    until,
)
from tests.gateway.serving import WAIT, Served, serving
from understudy.gateway.door.bodies import is_deeper

LIMIT = 4096


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving({"max_body_bytes": LIMIT}) as found:
        yield found


@pytest.fixture(scope="module")
def impatient() -> Iterator[Served]:
    """What is sent whole at once may still be late here, on a busy machine."""
    with serving({"body_seconds": 0.3, "head_seconds": 0.3}) as found:
        yield found


def depth_of(value: object) -> int:
    """The obvious way."""
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


NESTED = st.recursive(
    st.none() | st.text('[]{}"\\x', max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('[{"\\', max_size=2), inner)
    ),
)


@given(NESTED, st.integers(0, 6))
def test_the_depth_is_that_of_the_obvious_way(value: object, most: int) -> None:
    assert is_deeper(json.dumps(value).encode(), most) == (depth_of(value) > most)


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", JSON, 400, "invalid_json"),
        (b"", JSON, 400, "invalid_json"),
        (b"[]", JSON, 400, "invalid_json"),
        (b'"x"', JSON, 400, "invalid_json"),
        (b'{"a": NaN}', JSON, 400, "invalid_json"),
        (b'{"a": "\xff"}', JSON, 400, "invalid_json"),
        (b'{"a": "\\ud800"}', JSON, 400, "invalid_json"),
        (b"\xef\xbb\xbf{}", JSON, 400, "invalid_json"),
        ("{}".encode("utf-16"), JSON, 400, "invalid_json"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, JSON, 400, "too_deep"),
        (b"[" * 4000, JSON, 400, "invalid_json"),
        (b"x" * (LIMIT + 1), JSON, 413, "request_too_large"),
        (b"{}", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        (b"{}", {}, 415, "unsupported_media_type"),
        (
            b"{}",
            {"content-type": "application/json; charset=utf-16"},
            415,
            "unsupported_media_type",
        ),
        (b"{}", JSON | {"content-encoding": "br"}, 415, "unsupported_encoding"),
        (b"{}", JSON | {"content-encoding": "gzip"}, 400, "invalid_encoding"),
        (
            gzip.compress(b"{}", mtime=0)[:-4],
            JSON | {"content-encoding": "gzip"},
            400,
            "invalid_encoding",
        ),
        (
            gzip.compress(b" " * 10**7, mtime=0),
            JSON | {"content-encoding": "gzip"},
            413,
            "request_too_large",
        ),
    ],
)
def test_a_body_that_is_none_is_refused(
    served: Served, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    if len(body) > LIMIT and status != 413:
        pytest.fail("the case tests something else")
    answer = call(served, "POST", CHAT, body, headers)
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["x-request-id"]


def test_utf_8_may_be_said_among_others(served: Served) -> None:
    for said in ('application/json; charset="UTF-8"; profile=x', "application/x+json;charset=utf8"):
        assert call(served, "POST", CHAT, chat_body(), {"content-type": said}).status == 200


@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_read(served: Served, name: str, pack: object) -> None:
    assert callable(pack)
    answer = call(served, "POST", CHAT, pack(chat_body()), JSON | {"content-encoding": name})
    assert answer.status == 200


def test_a_body_that_does_not_say_its_length_is_bounded_too(served: Served) -> None:
    with connect(served) as stream:
        stream.sendall(head(transfer_encoding="chunked"))
        part = b"1000\r\n" + b" " * 4096 + b"\r\n"
        stream.sendall(part * 2)
        assert stream.recv(65536).startswith(b"HTTP/1.1 413")


def test_a_body_that_does_not_end_is_given_up(impatient: Served) -> None:
    with connect(impatient) as stream:
        stream.sendall(head(length=100) + b'{"model"')
        assert rest_of(stream).startswith(b"HTTP/1.1 408")


def test_a_head_that_does_not_end_is_given_up(impatient: Served) -> None:
    with connect(impatient) as stream:
        stream.sendall(head(length=10)[:-2])
        assert rest_of(stream).startswith(b"HTTP/1.1 408")
    with connect(impatient) as stream:  # nor is a connection that says nothing kept
        assert rest_of(stream) == b""


def test_a_head_that_is_too_large_is_refused(served: Served) -> None:
    answer = call(served, "POST", CHAT, b"{}", JSON | {"x-long": "x" * 40000})
    assert (answer.status, answer.code) == (431, "headers_too_large")
    with connect(served) as stream:
        stream.sendall(b"GET /health HTTP/1.1\r\n")
        stream.sendall(b"x-a: b\r\n" * 20000)
        assert b"431" in stream.recv(100)


@pytest.mark.parametrize("path", [CHAT, "/nowhere"])
def test_a_client_that_sends_all_before_it_reads_sees_the_refusal(
    served: Served, path: str
) -> None:
    """It wants the connection closed after the answer, as urllib does: closed before everything was
    received, the refusal would be lost."""
    url = f"{served.url}{path}"
    large = urllib.request.Request(url, data=b"x" * (8 * 2**20), headers=JSON)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(large, timeout=WAIT)
    assert caught.value.code == (413 if path == CHAT else 404)
    assert b'"error"' in caught.value.read()


def test_a_client_that_waits_to_be_told_to_go_on_is_told_not_to(served: Served) -> None:
    with connect(served) as stream:
        stream.sendall(head(length=2**40, expect="100-continue", connection="close"))
        assert rest_of(stream).startswith(b"HTTP/1.1 413")


def test_a_refused_body_leaves_the_connection_open(served: Served) -> None:
    """Its rest is read and dropped: closing at once could lose the refusal on its way."""
    body = b"x" * (LIMIT + 1)
    with connect(served) as stream:
        stream.sendall(head(length=len(body)) + body)
        assert until(stream, b"}}").startswith(b"HTTP/1.1 413")
        stream.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert stream.recv(65536).startswith(b"HTTP/1.1 200")
