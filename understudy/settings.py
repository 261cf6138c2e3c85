"""Settings of any part: read from defaults, a file and overrides, checked, described, compared."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from understudy.errors import ConfigError
from understudy.registry import Registry


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Kind = TypeVar("Kind", bound=Section)


class KindSection(Section):
    """The settings of one kind of a seam, declared beside the code that reads them.

    A kind is a class with `Settings`, a subclass of this; `kind` is the name it is found by.
    """

    kind: str


class Kinds:
    """Marks a field whose settings are those of the kind that it names:

        cloud: Annotated[KindSection, Kinds(CLOUDS, "simulated")] = ...

    `cloud: simulated` is short for `cloud: {kind: simulated}`. A setting that belongs to another
    kind is refused by name.
    """

    def __init__(self, registry: Registry, default: str) -> None:
        self.registry, self.default = registry, default

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            self.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda section, info: section.model_dump(mode=info.mode), info_arg=True
            ),
        )

    def parse(self, value: Any) -> KindSection:
        if isinstance(value, KindSection):
            return value
        given = {"kind": value} if isinstance(value, str) else value
        if not isinstance(given, Mapping):
            raise ValueError(f"give the name of a kind, or its settings with kind: {value!r}")
        given = {"kind": self.default, **given}
        settings: type[KindSection] = self.registry.load(str(given["kind"])).Settings
        try:
            return settings.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise PydanticCustomError(
                "kind", "{reason}", {"reason": first["msg"], "first": dict(first), "where": where}
            ) from None


def resolve_settings(
    kind: type[Kind], defaults: Mapping[str, Any], file: Path | None, overrides: list[str]
) -> Kind:
    """Defaults, then the YAML file, then `key=value` overrides, checked as one."""
    settings: dict[str, Any] = merged({}, defaults)
    if file is not None:
        settings = merged(settings, _read(file))
    for override in overrides:
        key, mark, value = override.partition("=")
        if not mark:
            raise ConfigError(f"--set {override}: write it as key=value")
        try:
            parsed = _number(yaml.safe_load(value))
        except yaml.YAMLError:
            raise ConfigError(f"--set {override}: {value!r} is not a YAML value") from None
        nested: Any = parsed
        for part in reversed(key.split(".")):
            nested = {part: nested}
        settings = merged(settings, nested)
    return check_settings(kind, settings)


def check_settings(kind: type[Kind], settings: Mapping[str, Any]) -> Kind:
    """The settings as a section, or one line that names the key, the value and the mend."""
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "kind":  # within the settings of a kind
            context = first["ctx"]
            first, key = context["first"], f"{key}.{context['where']}".rstrip(".")
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{key}: there is no such setting{_nearest(kind, key)}") from None
        where = f"{key}={first['input']}: " if key else ""
        hint = "; an advantage needs at least two responses" if key == "num_generations" else ""
        raise ConfigError(f"{where}{reason}{hint}") from None


def described_settings(section: type[BaseModel], prefix: str = "") -> list[list[str]]:
    """[key, type, default, meaning] of every setting, nested keys with dots."""
    rows = []
    for name, setting in section.model_fields.items():
        kind = setting.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            rows += described_settings(kind, f"{prefix}{name}.")
            continue
        if words := _choices(kind):
            shown = " | ".join(words)
        else:
            shown = kind.__name__ if isinstance(kind, type) else str(kind)
            shown = shown.replace("typing.", "").replace("NoneType", "None")
        default = yaml.safe_dump(setting.default, default_flow_style=True).split("\n")[0]
        rows.append([f"{prefix}{name}", shown, default, setting.description or ""])
    return rows


def _choices(kind: Any) -> list[str]:
    """The words of a Literal, or of several joined; none of any other type."""
    if get_origin(kind) is Literal:
        return [str(word) for word in get_args(kind)]
    parts = [_choices(part) for part in get_args(kind)]
    return [word for part in parts for word in part] if all(parts) else []


def check_unchanged(kept: Section, asked: Section, where: Path, free: Collection[str] = ()) -> None:
    """Refuse to go on with a run under other settings than it has, but for those that are free."""
    for key, was, wanted in differences(kept, asked):
        if key not in free:
            raise ConfigError(
                f"{key}={wanted}, but {where} has {was}; "
                "resume it without that setting, or give a new --out"
            )


def differences(
    first: Section, second: Section, prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """(key, first's value, second's value) of every setting in which two sections differ."""
    for name in type(first).model_fields:
        one, other = getattr(first, name), getattr(second, name)
        if isinstance(one, Section):
            yield from differences(one, other, f"{prefix}{name}.")
        elif one != other:
            yield f"{prefix}{name}", one, other


def _nearest(kind: type[Section], key: str) -> str:
    known = [row[0] for row in described_settings(kind)]
    found = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {found[0]}?" if found else "; the command's --help lists all"


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML ({error})".replace("\n", " ")) from None
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path}: a configuration is a mapping of settings")
    return content


def merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """`high` over `low`, section by section."""
    result = dict(low)
    for key, value in high.items():
        below = result.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        result[key] = merged(below, value) if both else value  # type: ignore[arg-type]
    return result


def _number(value: Any) -> Any:
    """YAML reads 2e-4 as text; people write it as a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
