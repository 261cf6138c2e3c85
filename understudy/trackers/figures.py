"""What trackers are given: the numbers of a line, and settings without secrets."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

HIDDEN = "***"

# Names of settings that hold a secret; one that ends in _env or _file says where it is.
_SECRET = re.compile(
    r"((^|[_-]|api)key|(^|[_-])(secret|token|passw(or)?d|passphrase|authorization|auth|bearer))$",
    re.I,
)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.I)


def figures(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of metrics.jsonl under its own keys.

    Of a list, such as one of seeds and their agents, it is the mean. Keys of a mapping follow a
    slash. Text, and what is not measured, is left out; so is the step, which is told apart.

    >>> figures({"step": 3, "task": "facts", "reward": 0.5, "kl": None, "floats": [2, 4]})
    {'reward': 0.5, 'floats': 3.0}
    >>> figures({"terms": [[{"task": 1.0, "pull": 3.0}, {"task": 2.0}]]})
    {'terms/task': 1.5, 'terms/pull': 3.0}
    """
    found: dict[str, list[float]] = {}
    for name, value in line.items():
        if name != "step":
            for key, number in _numbers(name, value):
                found.setdefault(key, []).append(number)
    return {key: sum(numbers) / len(numbers) for key, numbers in found.items()}


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _numbers(f"{name}/{key}", each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _numbers(name, each)
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        yield name, value


def without_secrets(value: Any) -> Any:
    """Settings as they may be shown to others.

    >>> without_secrets({"api_key": "sk-1", "api_key_env": "KEY", "max_tokens": 4})
    {'api_key': '***', 'api_key_env': 'KEY', 'max_tokens': 4}
    >>> without_secrets({"base_url": "https://me:word@example.com/v1?key=1"})
    {'base_url': 'https://***@example.com/v1?***'}
    """
    if isinstance(value, Mapping):
        return {
            key: HIDDEN
            if isinstance(each, str) and each and _SECRET.search(str(key))
            else without_secrets(each)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(each) for each in value]
    if isinstance(value, str):
        return _ADDRESS.sub(lambda found: _bare(found[0]), value)
    return value


def _bare(address: str) -> str:
    """An address without the user, the password and the query in it."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return HIDDEN
    _, mark, host = parts.netloc.rpartition("@")
    shown = f"{HIDDEN}@{host}" if mark else host
    return urlunsplit(
        (
            parts.scheme,
            shown,
            parts.path,
            HIDDEN if parts.query else "",
            HIDDEN if parts.fragment else "",
        )
    )


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings on one level; the parts of a key stand between dots.

    >>> flat({"lora": {"rank": 16}, "data": {}, "seeds": [0, 1]})
    {'lora.rank': 16, 'data': {}, 'seeds': [0, 1]}
    """
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
