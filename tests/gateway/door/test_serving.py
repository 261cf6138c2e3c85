"""Where it listens: over TLS, at a free port, and not where somebody else does."""

from __future__ import annotations

import contextlib
import http.client
import logging
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.echo import EchoCore
from tests.gateway.serving import WAIT, serving
from understudy.errors import ConfigError
from understudy.gateway.app import create_app
from understudy.gateway.door.door import Door
from understudy.gateway.door.settings import DoorSettings
from understudy.gateway.serving import serve


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Serving sets the package's log up for its whole process."""
    package = logging.getLogger("understudy")
    before = package.handlers[:], package.level, package.propagate
    yield
    package.handlers[:], package.propagate = before[0], before[2]
    package.setLevel(before[1])


def served_by(settings: dict[str, Any]) -> None:
    """Refused before anything is opened."""
    door = Door(EchoCore(), DoorSettings.model_validate(settings))

    @asynccontextmanager
    async def opened(app: object) -> AsyncIterator[None]:
        raise AssertionError("a model would have been loaded in vain")
        yield

    serve(create_app(door, lifespan=opened), door)


@pytest.mark.parametrize("server", ["uvicorn", "granian"])
def test_a_port_that_is_taken_is_said_in_one_line(server: str) -> None:
    pytest.importorskip(server)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = f"host=127.0.0.1 port={port}: cannot listen there .*in use.*use another port"
        with pytest.raises(ConfigError, match=said):
            served_by({"port": port, "server": server})


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("192.0.2.1", "Cannot assign requested address.*an address of this machine"),
        ("a..b", "cannot listen there"),
    ],
)
def test_the_system_s_own_reason_is_said(host: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"host={host} port=8000: .*{why}"):
        served_by({"host": host, "keys": "off", "hosts": ["here"]})


def test_a_name_is_listened_on_at_all_the_addresses_that_it_has_here() -> None:
    here = set()
    for family, kind, _, _, address in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM):
        with contextlib.suppress(OSError), socket.socket(family, kind) as one:
            one.bind(address)
            here.add(address[0])
    with serving({"host": "localhost"}) as served:
        listening = {each.sockets[0].getsockname()[0] for each in served.server.servers}
    assert listening == here


def test_what_goes_wrong_while_it_opens_is_not_taken_for_an_address() -> None:
    door = Door(EchoCore(), DoorSettings(port=0))

    @asynccontextmanager
    async def opened(app: object) -> AsyncIterator[None]:
        raise ZeroDivisionError
        yield

    with pytest.raises(ConfigError, match="could not start"):
        serve(create_app(door, lifespan=opened), door)


def test_a_certificate_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    files = {"tls_certificate": tmp_path / "a.pem", "tls_key": tmp_path / "b.pem"}
    with pytest.raises(ConfigError, match=r"a\.pem: there is no such file"):
        served_by({"port": 0, **files})


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate")
def test_it_speaks_tls(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    wanted = "req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", key, "-out", certificate]
    command = ["openssl", *wanted.split(), *named, *files]
    subprocess.run(command, check=True, capture_output=True)
    with serving({"tls_certificate": certificate, "tls_key": key}) as served:
        assert served.url.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(certificate))
        connection = http.client.HTTPSConnection(
            "localhost", served.port, timeout=WAIT, context=trusting
        )
        connection.request("GET", "/health")
        response = connection.getresponse()
        assert response.status == 200
        assert response.headers["strict-transport-security"] == "max-age=31536000"
        connection.close()
