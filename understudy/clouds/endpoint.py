"""Where questions are sent, and on which terms."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from understudy.clouds.prices import Prices
from understudy.errors import ConfigError

_OWN_SETTINGS = ("model", "messages", "stream", "stream_options", "max_tokens", "temperature")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible endpoint: what is sent there, and how long it is waited for."""

    url: str  # of chat completions, as chat_url gives it
    model: str
    prices: Prices
    api_key: str | None = field(default=None, repr=False)
    max_tokens: int | None = None  # None: not sent, so the endpoint's own limit
    temperature: float | None = None  # None: not sent
    stream: bool = False
    extra_body: Mapping[str, Any] = field(default_factory=dict, hash=False)
    max_concurrency: int = 8
    timeout_seconds: float = 120.0  # of a call from its first byte sent, its retries included
    connect_timeout_seconds: float = 10.0  # of one connection
    max_retries: int = 4
    circuit_failures: int = 10  # calls failed in a row that open the circuit
    circuit_pause_seconds: float = 30.0
    largest_reply: int = 16 * 2**20  # bytes; what is longer is no answer

    def __post_init__(self) -> None:
        for name in _OWN_SETTINGS:
            if name in self.extra_body:
                raise ConfigError(
                    f"cloud.http.extra_body holds {name}, which is not passed through; "
                    "see the settings cloud.http"
                )
        try:
            json.dumps(self.extra_body, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"cloud.http.extra_body cannot be sent as JSON ({error})") from None


def chat_url(base_url: str) -> str:
    """The address of chat completions under a base such as http://localhost:8000/v1."""
    try:
        parts = urlsplit(base_url.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable, parts = False, urlsplit("")
    if parts.username is not None or parts.password is not None:  # not shown: it is a secret
        raise ConfigError(
            "cloud.http.base_url holds a user or a password; give the key by "
            "cloud.http.api_key_env or cloud.http.api_key_file"
        )
    if parts.query or parts.fragment:  # where some endpoints want a key
        raise ConfigError(
            "cloud.http.base_url ends in a query (?...) or a fragment (#...); give it without, and "
            "a key by cloud.http.api_key_env or cloud.http.api_key_file"
        )
    if not usable:  # not shown either: it may be a key in the address's place
        raise ConfigError(
            "cloud.http.base_url: is no address of an endpoint; "
            "give a base such as http://localhost:8000/v1"
        )
    return base_url.strip().rstrip("/").removesuffix("/chat/completions") + "/chat/completions"


def read_key(variable: str | None, file: Path | None) -> str | None:
    """The secret to send, if any. Nothing here repeats it, nor what may be it by mistake."""
    if variable is not None and file is not None:
        raise ConfigError("cloud.http has both api_key_env and api_key_file; give one of them")
    if variable is not None:
        key = os.environ.get(variable, "").strip()
        source = "cloud.http.api_key_env"
        if not key:
            raise ConfigError(
                f"{source}: no environment variable of that name is set; "
                "export it (the setting is the variable's name, not the key)"
            )
    elif file is not None:
        # A key given in place of its file's name is no file that exists.
        source = "cloud.http.api_key_file" + (f"={file}" if os.path.exists(file) else "")
        try:
            key = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise ConfigError(f"{source}: cannot be read ({reason})") from None
        if not key:
            raise ConfigError(f"{source}: is empty; put the key there")
    else:
        return None
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError(f"{source}: holds more than a key; it must be one word")
    return key
