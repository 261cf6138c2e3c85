"""The settings of the door."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from understudy.settings import Section


class DoorSettings(Section):
    """Where the gateway listens, whom it lets in, and the most that a request may take."""

    host: str = Field("127.0.0.1", description="the address to listen on")
    port: int = Field(
        8000, ge=0, le=65535, description="the port to listen on; 0: any that is free"
    )
    hosts: list[str] = Field(
        [],
        description="names by which clients may call it, as in their Host header; none: any, but "
        "on a loopback address without keys only that machine's own names",
    )
    keys: Literal["auto", "required", "off"] = Field(
        "auto",
        description="whether a request needs an API key; auto: unless the address is loopback "
        "and no key was ever made",
    )
    cors_origins: list[str] = Field(
        [], description="pages of these origins may call it; none: none"
    )
    tls_certificate: Path | None = Field(None, description="PEM file with the certificate chain")
    tls_key: Path | None = Field(None, description="PEM file with the certificate's private key")
    trusted_proxies: list[str] = Field(
        [], description="addresses of proxies whose X-Forwarded headers are believed"
    )
    server: Literal["uvicorn", "granian"] = Field("uvicorn", description="which server runs it")
    max_body_bytes: int = Field(8 * 2**20, ge=1024, description="most bytes of a request's body")
    max_header_bytes: int = Field(32 * 2**10, ge=1024, description="most bytes of its headers")
    max_json_depth: int = Field(64, ge=4, le=500, description="how deep its JSON may be nested")
    max_in_flight: int = Field(
        512, ge=1, description="requests that are answered at once; one more is told 429"
    )
    head_seconds: float = Field(10.0, gt=0, description="seconds in which the headers must arrive")
    body_seconds: float = Field(30.0, gt=0, description="seconds in which the body must arrive")
    request_seconds: float = Field(600.0, gt=0, description="most seconds that an answer may take")
    quiet_seconds: float = Field(
        15.0,
        gt=0,
        description="a stream that is silent for so long gets a comment, so that no proxy cuts it; "
        "its head goes with the first, though nobody knows yet who answers",
    )
    drain_seconds: float = Field(
        30.0, ge=0, description="seconds that running answers have to end after SIGTERM"
    )
    open_metrics: bool = Field(False, description="whether /metrics needs no key")
    log_requests: bool = Field(True, description="whether each request is a line of the log")
    log_text: bool = Field(
        False, description="whether the log has what was asked, and the words of faults"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together: give both or none")
        if self.keys == "off" and not self.is_loopback and not self.hosts:
            raise ValueError(
                f"keys=off with host={self.host}: anyone who reaches it could spend your budget; "
                "create a key, or name the hosts by which it is called"
            )
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def is_everywhere(self) -> bool:
        """Whether it listens on all addresses of the machine, and none that one can call."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_unspecified
        except ValueError:
            return False

    @property
    def where(self) -> str:
        """Its address as it is set."""
        return f"host={self.host} port={self.port}"

    def address(self, port: int) -> str:
        """The URL at which it is called."""
        scheme = "https" if self.tls_certificate else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{port}"
