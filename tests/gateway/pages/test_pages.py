"""The pages over a real socket: who may look, what is escaped, what is live."""

from __future__ import annotations

import hmac
import json
import re
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.gateway.pages.board import HOSTILE, Board
from understudy.gateway.pages import sessions
from understudy.store.caps import Cap
from understudy.store.events import Event
from understudy.types import Cost

ESCAPED = "&lt;script&gt;alert(&#39;xss&#39;)&lt;/script&gt;"
PLACES = ("/", "/dashboard/decisions", "/dashboard/versions", "/dashboard/playground")
OURS = {"hx-request": "true", "sec-fetch-site": "same-origin"}


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    board = Board(tmp_path, caps=[Cap.of("total", "dollars", 5, "day")])
    yield board
    board.close()


def sent(
    port: int, path: str, method: str = "GET", form: dict[str, str] | None = None, **headers: str
) -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if form is not None:
        given["content-type"] = "application/x-www-form-urlencoded"
    connection.request(method, path, urlencode(form) if form is not None else None, given)
    return connection.getresponse()


def read(port: int, path: str, **headers: str) -> str:
    response = sent(port, path, **headers)
    assert response.status == 200, (path, response.status)
    return response.read().decode()


def asked(board: Board, number: int, **more: Any) -> Event:
    event = Event(
        **{
            "id": f"e{number}",
            "at": board.now - number,
            "key": "ann",
            "answered_by": "local",
            "why": "sure of it",
            "model": "tiny@3",
            "seconds": 0.5,
            **more,
        }
    )
    board.writer.add(event)
    board.writer.flush()
    return event


def test_every_page_renders_where_nothing_happened(board: Board) -> None:
    with board.served() as gateway:
        for path in (*PLACES, "/?span=day", "/?span=week", "/dashboard/figures"):
            assert "<" in read(gateway.port, path)
        assert "playground</a>" in read(gateway.port, "/")


def test_htmx_begins_when_all_scripts_have_run(board: Board) -> None:
    """It waits for that only where it comes while the page is read: without `defer`."""
    with board.served() as gateway:
        page = read(gateway.port, "/")
    scripts = re.findall(r'<script src="[^"]*/([\w.-]+)\?v=\w+"( defer)?>', page)
    assert [name for name, deferred in scripts if not deferred] == [
        "theme.js",
        "htmx.min.js",
        "hx-sse.min.js",
    ]
    assert [name for name, deferred in scripts if deferred] == [
        "uplot.min.js",
        "charts.js",
        "dashboard.js",
    ]


def test_whatever_was_asked_and_answered_is_escaped(board: Board) -> None:
    content = [{"type": HOSTILE}, {"type": "text", "text": HOSTILE}, HOSTILE]
    event = asked(
        board,
        1,
        id=f"id {HOSTILE}",
        **dict.fromkeys(("key", "why", "model", "task", "conversation", "cloud"), HOSTILE),
        signals={HOSTILE: HOSTILE},
        request={"messages": [{"role": HOSTILE, "content": content}]},
        answer={"choices": [{"message": {"content": HOSTILE}}]},
    )
    board.versions.add(HOSTILE, 1, Path("x"), HOSTILE, {HOSTILE: HOSTILE})
    board.versions.promote(f"{HOSTILE}@1", HOSTILE)
    with board.served() as gateway:
        query = urlencode({"id": event.id})
        key = urlencode({"key": HOSTILE})
        for path in (
            "/",
            "/dashboard/decisions",
            f"/dashboard/decisions?{key}",
            f"/dashboard/decision?{query}",
            "/dashboard/versions",
        ):
            page = read(gateway.port, path)
            assert ESCAPED in page, path
            for raw in ("<script>alert", "<img src=x", "onerror=alert(1)>"):
                assert raw not in page, (path, raw)
            assert "{{ 7 * 7 }}" in page


def test_pages_load_nothing_from_outside_and_run_nothing_inline(board: Board) -> None:
    board.fill(20, 600, ["ann"])
    with board.served() as gateway:
        for path in PLACES:
            response = sent(gateway.port, path)
            policy = response.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert response.headers["x-frame-options"] == "DENY"
            assert response.headers["cache-control"] == "no-store"
            page = response.read().decode()
            assert "http://" not in page
            assert "https://" not in page
            assert 'style="' not in page
            assert "<script>" not in page
        static = sent(gateway.port, "/dashboard/static/htmx.min.js")
        assert static.headers["content-type"].startswith("text/javascript")
        for path in ("/dashboard/static/..%2froutes.py", "/dashboard/static/nothing.js"):
            assert sent(gateway.port, path).status == 404


def test_whoever_has_no_session_signs_in_first(board: Board) -> None:
    _, secret = board.key("ann", "dashboard")
    _, other = board.key("bob")
    with board.served(with_keys=True) as gateway:
        port = gateway.port
        for path in PLACES:
            response = sent(port, path)
            assert response.status == 303
            assert response.headers["location"].startswith("/dashboard/sign-in?next=%2F")
        assert sent(port, "/dashboard/live").status == 303
        assert sent(port, "/dashboard/live", hx_request="true").status == 401
        assert sent(port, "/dashboard/ask", "POST", {"question": "x"}, **OURS).status == 401
        for wrong, words in ((other, "lacks the scope"), ("us-wrong", "unknown, revoked")):
            response = sent(port, "/dashboard/sign-in", "POST", {"key": wrong})
            assert response.status == 403
            assert words in response.read().decode()
            assert response.headers["set-cookie"] is None
        response = sent(port, "/dashboard/sign-in", "POST", {"key": secret, "next": "/?span=day"})
        assert (response.status, response.headers["location"]) == (303, "/")
        cookie = response.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert secret not in cookie
        session = cookie.partition(";")[0]
        assert "Overview" in read(port, "/", cookie=session)
        assert sent(port, "/", cookie=f"{session[:-1]}0x").status == 303
        board.keys.revoke("ann")
        assert sent(port, "/", cookie=session).status == 303


def test_whoever_reads_the_database_cannot_make_a_session(board: Board) -> None:
    _, secret = board.key("ann", "admin")
    with board.ledger_database.reading() as connection:
        row = connection.exec_driver_sql("SELECT id, hash FROM keys").one()
    with board.served(with_keys=True) as gateway:
        form = {"key": secret}
        response = sent(gateway.port, "/dashboard/sign-in", "POST", form)
        session = response.headers["set-cookie"].partition(";")[0]
        assert sent(gateway.port, "/", cookie=session).status == 200
        for sealing in (row.hash.encode(), hmac.digest(b"", row.hash.encode(), "sha256")):
            forged = sessions.opened(row.id, sealing, time.time())
            assert sent(gateway.port, "/", cookie=f"{sessions.COOKIE}={forged}").status == 303


@pytest.mark.parametrize("place", ["//evil.example", "/v1/models", "https://evil.example/", "/\\e"])
def test_signing_in_leads_nowhere_else(board: Board, place: str) -> None:
    _, secret = board.key("ann", "dashboard")
    with board.served(with_keys=True) as gateway:
        form = {"key": secret, "next": place}
        response = sent(gateway.port, "/dashboard/sign-in", "POST", form)
        assert response.headers["location"] == "/"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"hx_request": "true", "origin": "http://evil.example"},
        {"hx_request": "true", "origin": "null"},
        {"hx_request": "true", "sec_fetch_site": "cross-site"},
    ],
)
def test_a_page_of_somebody_else_can_ask_nothing(board: Board, headers: dict[str, str]) -> None:
    with board.served() as gateway:
        for path in ("/dashboard/ask", "/dashboard/feedback"):
            form = {"question": "x", "answer": "e1", "thumb": "up"}
            assert sent(gateway.port, path, "POST", form, **headers).status == 403
        assert gateway.core.calls == []


def test_the_playground_shows_the_answer_and_who_gave_it(board: Board) -> None:
    with board.served() as gateway:
        form = {
            "question": f"say {HOSTILE}",
            "dial": "0.5",
            "max_tokens": "64",
            "system": "be kind",
        }
        response = sent(gateway.port, "/dashboard/ask", "POST", form, **OURS)
        assert response.headers["content-type"].startswith("text/event-stream")
        text = response.read().decode()
        assert "echo@7" in text
        assert "the local model is sure “enough”" in text
        assert "&lt;script&gt;" in text
        assert "<script>" not in text
        request, caller = gateway.core.calls[0]
        assert caller.dial == 0.5
        assert request.max_tokens == 64
        assert [each["role"] for each in request.messages] == ["system", "user"]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"question": "  "}, "Write a question first."),
        ({"question": "x", "dial": "2"}, "The dial is a number from 0 to 1."),
        ({"question": "x", "max_tokens": "many"}, "is a number from 1 to 100,000."),
        ({"question": "refuse this"}, "the budget of today is spent"),
        ({"question": "fail now"}, "The gateway failed; its log says why."),
    ],
)
def test_the_playground_says_what_is_wrong(board: Board, form: dict[str, str], words: str) -> None:
    with board.served() as gateway:
        response = sent(gateway.port, "/dashboard/ask", "POST", form, **OURS)
        assert response.status == 200
        assert words in response.read().decode()


def test_feedback_is_kept_beside_its_answer(board: Board) -> None:
    asked(board, 1, request={"messages": []}, answer={"choices": []})
    with board.served() as gateway:
        for form, words in (
            ({"answer": "e1", "thumb": "down"}, "Thank you"),
            ({"answer": "e1", "correction": f"42 {HOSTILE}"}, "Your correction is kept"),
            ({"answer": "e9", "thumb": "up"}, "not kept"),
            ({"answer": "e1"}, "Write how"),
        ):
            response = sent(gateway.port, "/dashboard/feedback", "POST", form, **OURS)
            assert words in response.read().decode()
        page = read(gateway.port, "/dashboard/decision?id=e1")
        assert "Judged: <strong>wrong</strong>" in page
        assert "Was this right?" not in page  # again
        assert f"42 {ESCAPED}" in page


def test_a_key_reads_its_own_questions_and_answers_only(board: Board) -> None:
    """Of another's it sees who answered and why."""
    (ann, mine), (_, other) = board.key("ann", "dashboard"), board.key("bob", "dashboard")
    _, root = board.key("root", "admin")
    said = {"choices": [{"message": {"role": "assistant", "content": "the answer"}}]}
    question = {"messages": [{"role": "user", "content": "the question"}]}
    asked(board, 1, key=ann.id, request=question, answer=said, version="tiny@9")
    with board.served(with_keys=True) as gateway:
        for secret, reads in ((mine, True), (other, False), (root, True)):
            response = sent(gateway.port, "/dashboard/sign-in", "POST", {"key": secret})
            session = response.headers["set-cookie"].partition(";")[0]
            page = read(gateway.port, "/dashboard/decision?id=e1", cookie=session)
            assert "tiny@9" in page
            assert ("the question" in page, "the answer" in page) == (reads, reads)
            assert ("another key’s" in page) != reads


def test_decisions_are_filtered_and_paged(board: Board) -> None:
    for number in range(60):
        asked(board, number, key="ann" if number % 2 else "bob")
    asked(board, 99, answered_by="refused", why="nothing left")
    with board.served() as gateway:
        page = read(gateway.port, "/dashboard/decisions")
        assert page.count('<li id="d-') == 50
        more = page.partition('hx-get="/dashboard/decisions?')[2].partition('"')[0]
        rest = read(
            gateway.port, f"/dashboard/decisions?{more.replace('&amp;', '&')}", hx_request="true"
        )
        assert rest.count('<li id="d-') == 11
        assert "<html" not in rest
        assert read(gateway.port, "/dashboard/decisions?who=refused").count('<li id="d-') == 1
        assert read(gateway.port, "/dashboard/decisions?key=ann").count('<li id="d-') == 31
        assert "No recent decision" in read(gateway.port, "/dashboard/decisions?who=cloud")


def events(response: HTTPResponse) -> Iterator[tuple[str, str]]:
    """The server-sent events of a stream: name and data."""
    name, data = "", []
    while line := response.readline():
        text = line.decode().rstrip("\n")
        if text.startswith("event: "):
            name = text[7:]
        elif text.startswith("data: "):
            data.append(text[6:])
        elif not text and data:
            yield name, "\n".join(data)
            name, data = "", []


def test_what_happens_comes_over_the_stream(board: Board) -> None:
    with board.served() as gateway:
        response = sent(gateway.port, "/dashboard/live?span=hour", hx_request="true")
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = events(response)
        name, page = next(stream)
        assert name == ""
        assert 'hx-target="#tiles"' in page
        name, charts = next(stream)
        assert name == "charts"
        found = json.loads(charts)
        assert sum(found["answers"]["local"]) == 0
        assert len(found["times"]) == len(found["whole"]["p50"]) == 60
        assert found["spend"][0]["allowed"] == [5.0] * 60
        asked(board, 0, at=time.time(), answered_by="cloud", asked=True, cost=Cost(1, dollars=1.0))
        found = json.loads(next(data for name, data in stream if name == "charts"))
        assert sum(found["answers"]["cloud"]) == 1
        assert found["whole"]["p50"][-2:] != [None, None]


def test_a_stream_ends_when_the_gateway_stops(board: Board) -> None:
    with board.served() as gateway:
        response = sent(gateway.port, "/dashboard/live?span=week", hx_request="true")
        next(events(response))
        ended = threading.Thread(target=response.read)
        ended.start()
        gateway.call(gateway.server.drain.stop)
        ended.join(60)
        assert not ended.is_alive()
