"""Bodies are held against a model of their known fields; what is unknown stays as it came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from understudy.gateway.door.errors import invalid
from understudy.gateway.requests import Refused
from understudy.gateway.upstreams.bounds import MOST_TOKENS


class Body(BaseModel):
    """The fields of a body that the gateway reads. Others are allowed, for the cloud."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


ModelName = Annotated[str, Field(min_length=1, max_length=512)]
FunctionName = Annotated[str, Field(min_length=1, max_length=128)]
TokenCount = Annotated[int, Field(ge=1, le=MOST_TOKENS)]  # of one answer
Stop = Annotated[str, Field(min_length=1, max_length=256)]
Stops = Annotated[list[Stop], Field(max_length=16)]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]


def check(kind: type[Body], body: Mapping[str, Any]) -> None:
    """Refuse a body that does not fit, with the field that is wrong and what it should be."""
    try:
        kind.model_validate(body)
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> Refused:
    """Of several faults that of the deepest field: where a field may be of several types, that is
    the type that was meant."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    first = faults[0]["loc"][:1]
    found = max((each for each in faults if each["loc"][:1] == first), key=_depth)
    param = _param(found["loc"])
    if found["type"] == "missing":
        return invalid(f"{param} is required", param, "missing_required_parameter")
    reason = found["msg"].removeprefix("Value error, ")
    return invalid(f"{param}: {reason[:1].lower()}{reason[1:]}", param, "invalid_value")


def _depth(fault: Any) -> int:
    return len(fault["loc"])


def _param(path: tuple[int | str, ...]) -> str:
    """As OpenAI writes it: messages[0].content. Names of types within a union are left out."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        elif not _is_type(part):
            shown += f".{part}" if shown else part
    return shown or "body"


def _is_type(part: str) -> bool:
    """Whether a part of a fault's place names a type that was tried, not a field."""
    named = part in ("str", "int", "float", "bool", "none") or part.startswith("constrained-")
    return named or "[" in part or part[:1].isupper()
