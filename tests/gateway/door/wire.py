"""HTTP by hand: what no client library would send, and answers as they come."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any

from tests.gateway.serving import WAIT, Served

CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def code(self) -> Any:
        """Of an error in OpenAI's shape."""
        return self.json["error"]["code"]


def call(
    served: Served,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=WAIT)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


def chat_body(prompt: str = "one two", **fields: Any) -> bytes:
    messages = [{"role": "user", "content": prompt}]
    return json.dumps({"model": "auto", "messages": messages, **fields}).encode()


def ask(served: Served, prompt: str = "one two", key: str = "", **fields: Any) -> Answer:
    headers = JSON | ({"authorization": f"Bearer {key}"} if key else {})
    return call(served, "POST", CHAT, chat_body(prompt, **fields), headers)


def connect(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=WAIT)


def head(path: str = CHAT, length: int | None = None, **headers: str) -> bytes:
    """The head of a POST as bytes."""
    lines = [f"POST {path} HTTP/1.1", "host: localhost", "content-type: application/json"]
    if length is not None:
        lines.append(f"content-length: {length}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def rest_of(stream: socket.socket) -> bytes:
    """Everything until the other side closes."""
    found = b""
    while part := stream.recv(65536):
        found += part
    return found


def until(stream: socket.socket, words: bytes) -> bytes:
    """Everything until those words have come."""
    found = b""
    while words not in found:
        part = stream.recv(65536)
        assert part, found
        found += part
    return found
