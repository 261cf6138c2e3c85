"""OpenAI's stored completions: those that were asked with store=true."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from understudy.gateway.dialects.checking import Body, Metadata
from understudy.gateway.door.errors import invalid

MOST = 100  # on one page
_PAGE = 20
_NUMBER = re.compile(r"[0-9]{1,6}")
_METADATA = re.compile(r"metadata\[([^\]]{1,64})\]")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which stored completions, and how many."""

    model: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    after: str = ""  # the id of the last one that was seen
    limit: int = _PAGE
    newest_first: bool = False


class MetadataBody(Body):
    """A stored completion's new metadata."""

    metadata: Metadata


def wanted_of(query: bytes) -> Wanted:
    """The query of a list, as `metadata[topic]=pens&limit=5&order=desc`."""
    metadata: dict[str, str] = {}
    given: dict[str, str] = {}
    for name, value in _pairs(query):
        if found := _METADATA.fullmatch(name):
            if '"' in found[1]:  # no path into JSON can hold one
                raise invalid(f"{name}: leave out the double quote", name)
            metadata[found[1]] = value
        else:
            given[name] = value
    order = given.get("order", "asc")
    if order not in ("asc", "desc"):
        raise invalid("order: use asc or desc", "order")
    return Wanted(
        model=given.get("model", ""),
        metadata=metadata,
        after=given.get("after", ""),
        limit=limit_of(given),
        newest_first=order == "desc",
    )


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=64)
    except ValueError:
        raise invalid("the query has more than 64 parts") from None


def limit_of(given: Mapping[str, str]) -> int:
    text = given.get("limit", str(_PAGE))
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MOST:
        raise invalid(f"limit: use a whole number from 1 to {MOST}", "limit")
    return int(text)


def page_of(items: Sequence[Mapping[str, Any]], has_more: bool) -> dict[str, Any]:
    return {
        "object": "list",
        "data": list(items),
        "first_id": items[0].get("id") if items else None,
        "last_id": items[-1].get("id") if items else None,
        "has_more": has_more,
    }
