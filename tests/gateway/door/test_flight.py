"""How many at once, what happens when a client goes away, and when the gateway stops."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading

import pytest

from tests.gateway.door.wire import Answer, ask, call, chat_body, connect, head, rest_of, until
from tests.gateway.served import ROOT, child_environment
from tests.gateway.serving import WAIT, Served, eventually, serving


def send(to: socket.socket, prompt: str, **fields: object) -> None:
    body = chat_body(prompt, **fields)
    to.sendall(head(length=len(body)) + body)


def test_one_more_than_may_be_in_flight_is_told_when_to_come_back() -> None:
    with serving({"max_in_flight": 1}) as served, connect(served) as stream:
        send(stream, "wait")
        eventually(lambda: served.door.flight.running == 1)
        answer = ask(served)
        assert (answer.status, answer.code) == (429, "too_many_requests")
        assert answer.headers["retry-after"] == "1"
        assert call(served, "GET", "/health").status == 200
        served.call(served.core.go_on.set)
        until(stream, b"wait")
        eventually(lambda: served.door.flight.running == 0)
        assert ask(served).status == 200


def test_a_client_that_hangs_up_is_not_answered_any_longer() -> None:
    with serving() as served:
        with connect(served) as stream:
            send(stream, "wait")
            eventually(lambda: len(served.core.calls) == 1)
        eventually(lambda: served.core.cancelled == 1)
        with connect(served) as stream:
            send(stream, "hold on", stream=True)
            until(stream, b"hold")
        eventually(lambda: served.core.cancelled == 2)
        eventually(lambda: served.door.flight.running == 0)


def test_an_answer_takes_so_long_and_no_longer() -> None:
    with serving({"request_seconds": 0.3}) as served:
        answer = ask(served, "wait")
        assert (answer.status, answer.code) == (504, "timeout")
        broken = ask(served, "hold on", stream=True)
        assert broken.status == 200
        assert b'"code":"timeout"' in broken.content
        assert broken.content.endswith(b"data: [DONE]\n\n")
        assert served.core.cancelled == 2


def test_a_silent_stream_shows_that_it_lives() -> None:
    """Before anything is known of its answer, and between two of its words."""
    for words, told in (("wait", True), ("hold on", False)):
        with serving({"quiet_seconds": 0.05}) as served, connect(served) as stream:
            send(stream, words, stream=True)
            begun = until(stream, b": still here\n\n") + until(stream, b": still here\n\n")
            assert begun.count(b"HTTP/1.1 200 OK") == 1
            assert (b"x-understudy-answered-by: undecided" in begun) == told
            assert (b"data: " in begun) != told
            served.call(served.core.go_on.set)
            rest = until(stream, b"data: [DONE]")
            assert (b"\n: x-understudy-answered-by: local\n" in rest) == told


def test_a_refusal_after_long_silence_is_an_event_of_the_stream() -> None:
    with serving({"quiet_seconds": 0.05, "request_seconds": 0.5}) as served:
        answer = ask(served, "wait", stream=True)
        assert answer.status == 200
        assert b'"code":"timeout"' in answer.content
        assert answer.content.endswith(b"data: [DONE]\n\n")
        assert ask(served, "refuse", stream=True).status == 429


def test_a_gateway_that_stops_finishes_what_runs_and_refuses_what_is_new() -> None:
    with serving() as served, connect(served) as stream:
        send(stream, "hold on", stream=True)
        until(stream, b"hold")
        served.call(served.server.drain.stop)
        eventually(lambda: served.door.flight.draining)
        assert call(served, "GET", "/ready").status == 503
        assert call(served, "GET", "/health").status == 200
        answer = ask(served)
        assert (answer.status, answer.code) == (503, "draining")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["connection"] == "close"
        served.call(served.core.go_on.set)
        assert b"data: [DONE]" in rest_of(stream)


def test_what_does_not_end_in_time_is_cancelled() -> None:
    with serving({"drain_seconds": 0.2}) as served, connect(served) as stream:
        send(stream, "wait")
        eventually(lambda: len(served.core.calls) == 1)
        served.call(served.server.drain.stop)
        assert b"cut_off" in rest_of(stream)
    assert served.core.cancelled == 1


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


LOADING = """
import asyncio, contextlib
from tests.gateway.echo import EchoCore
from understudy.gateway.app import create_app
from understudy.gateway.door.door import Door
from understudy.gateway.door.settings import DoorSettings
from understudy.gateway.serving import serve

@contextlib.asynccontextmanager
async def lifespan(app):
    print("loading", flush=True)
    await asyncio.sleep(600)
    yield

door = Door(EchoCore(), DoorSettings(port=0))
serve(create_app(door, lifespan=lifespan), door)
"""


def test_a_signal_before_it_listens_ends_it_at_once() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LOADING],
        cwd=ROOT,
        env=child_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT) == -signal.SIGTERM
    process.stdout.close()


SERVE = """
import sys
from tests.gateway.echo import EchoCore
from understudy.gateway.app import create_app
from understudy.gateway.door.door import Door
from understudy.gateway.door.settings import DoorSettings
from understudy.gateway.serving import serve

door = Door(EchoCore(), DoorSettings(port=int(sys.argv[1]), server=sys.argv[2]))
serve(create_app(door), door, lambda url: print(url, flush=True))
print("ended well", flush=True)
"""


@pytest.mark.parametrize("server", ["uvicorn", "granian"])
def test_sigterm_ends_the_process_well(server: str) -> None:
    if server == "granian":
        pytest.importorskip("granian")
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(free_port() if server == "granian" else 0), server],
        cwd=ROOT,
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    port = int(process.stdout.readline().rpartition(":")[2])
    found: list[Answer] = []

    class There(Served):
        def __init__(self) -> None:
            self.port = port

    asking = threading.Thread(target=lambda: found.append(ask(There(), "one", stream=True)))
    asking.start()
    asking.join(WAIT)
    process.send_signal(signal.SIGTERM)
    printed, log = process.communicate(timeout=WAIT)
    assert process.returncode == 0, log
    assert printed == "ended well\n"
    assert found[0].content.endswith(b"data: [DONE]\n\n")
    assert '"event":"draining"' in log
    assert '"answered_by":"local"' in log
