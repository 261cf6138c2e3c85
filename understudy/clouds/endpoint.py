"""Where questions are sent, and on which terms."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field

from understudy.clouds.prices import Prices, PriceSettings, load_prices
from understudy.errors import ConfigError
from understudy.settings import PATH, Section

_OWN_SETTINGS = ("model", "messages", "stream", "stream_options", "max_tokens", "temperature")


class Endpoint(Section):
    """An OpenAI-compatible endpoint: where it is, what is sent there, how long it is waited for.

    It says where the key is found; the key itself is read when the cloud is built and kept nowhere
    else.
    """

    base_url: str = Field("", description="its address up to /v1, as http://localhost:8000/v1")
    model: str = Field("", description="the model's name there")
    api_key_env: str | None = Field(
        None, description="name of the environment variable that holds the key"
    )
    api_key_file: Annotated[str | None, PATH] = Field(
        None, description="file that holds the key; neither: no key is sent"
    )
    prices: Annotated[PriceSettings | str, PATH] = Field(
        "",
        description="dollars per million tokens, {prompt: 1, completion: 4}; or your price table, "
        "YAML or JSON, that has the model",
    )
    max_tokens: int | None = Field(1024, ge=1, description="longest answer; null: not sent")
    temperature: float | None = Field(None, ge=0, description="of the answer; null: not sent")
    stream: bool = Field(False, description="receive answers as server-sent events")
    extra_body: dict[str, Any] = Field({}, description="more of the request, sent as it is")
    max_concurrency: int = Field(8, ge=1, description="calls in flight at most")
    timeout_seconds: float = Field(120.0, gt=0, description="of a call, its retries included")
    connect_timeout_seconds: float = Field(10.0, gt=0, description="of one connection")
    max_retries: int = Field(4, ge=0, description="of a call, where no answer can be on its way")
    circuit_failures: int = Field(
        10, ge=1, description="calls failed in a row after which none is made for a while"
    )
    circuit_pause_seconds: float = Field(30.0, ge=0, description="that while")

    @property
    def url(self) -> str:
        """Of chat completions."""
        return chat_url(self.base_url)

    def check(self) -> None:
        """Refuse what cannot be asked, in words that repeat no secret."""
        for name in ("base_url", "model", "prices"):
            if not getattr(self, name):
                raise ConfigError(f"cloud.http.{name} is empty; cloud.kind=openai needs it")
        chat_url(self.base_url)
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

    def read_key(self) -> str | None:
        file = Path(self.api_key_file) if self.api_key_file is not None else None
        return read_key(self.api_key_env, file)

    def load_prices(self) -> Prices:
        if isinstance(self.prices, PriceSettings):
            return self.prices.prices()
        return load_prices(Path(self.prices), self.model)


def chat_url(base_url: str, section: str = "cloud.http") -> str:
    """The address of chat completions under a base such as http://localhost:8000/v1.

    section: the settings that it stands in.
    """
    try:
        parts = urlsplit(base_url.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable, parts = False, urlsplit("")
    if parts.username is not None or parts.password is not None:  # not shown: it is a secret
        raise ConfigError(
            f"{section}.base_url holds a user or a password; give the key by "
            f"{section}.api_key_env or {section}.api_key_file"
        )
    if parts.query or parts.fragment:  # where some endpoints want a key
        raise ConfigError(
            f"{section}.base_url ends in a query (?...) or a fragment (#...); give it without, and "
            f"a key by {section}.api_key_env or {section}.api_key_file"
        )
    if not usable:  # not shown either: it may be a key in the address's place
        raise ConfigError(
            f"{section}.base_url: is no address of an endpoint; "
            "give a base such as http://localhost:8000/v1"
        )
    return base_url.strip().rstrip("/").removesuffix("/chat/completions") + "/chat/completions"


def read_key(variable: str | None, file: Path | None, section: str = "cloud.http") -> str | None:
    """The secret to send, if any. Nothing here repeats it, nor what may be it by mistake.

    section: the settings that name its place.
    """
    if variable is not None and file is not None:
        raise ConfigError(f"{section} has both api_key_env and api_key_file; give one of them")
    if variable is not None:
        key = os.environ.get(variable, "").strip()
        source = f"{section}.api_key_env"
        if not key:
            raise ConfigError(
                f"{source}: no environment variable of that name is set; "
                "export it (the setting is the variable's name, not the key)"
            )
    elif file is not None:
        # A key given in place of its file's name is no file that exists.
        source = f"{section}.api_key_file" + (f"={file}" if os.path.exists(file) else "")
        try:
            key = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise ConfigError(f"{source}: cannot be read ({reason})") from None
        if not key:
            raise ConfigError(f"{source}: is empty; put the key there")
    else:
        return None
    return checked_key(key, source)


def checked_key(key: str, source: str) -> str:
    """source: where it was found, which is told in its place."""
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError(f"{source}: holds more than a key; it must be one word")
    return key
