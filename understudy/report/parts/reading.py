"""The files of a run as the records that a page is made from."""

from __future__ import annotations

from typing import Any, TypeVar

from understudy.errors import RunError

Record = TypeVar("Record")


def read(kind: type[Record], content: Any, file: object) -> Record:
    """JSON as a dataclass; keys that the dataclass does not have are left out."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunError(
            f"{file}: cannot be read ({where}: {first['msg']}); finish the run with --resume"
        ) from error
