"""Settings of any part: read from defaults, a file and overrides, checked, described, compared."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from understudy.errors import ConfigError, RunError
from understudy.given import anchored
from understudy.given import gathered_settings as gathered_settings
from understudy.given import merged as merged
from understudy.registry import Registry

# Of a field that holds a path, or several; see `anchored`.
PATH = BeforeValidator(anchored)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic, and Python, take true for 1."""
        if _holds_truth(value) and _is_of_numbers(
            cls.model_fields[str(info.field_name)].annotation
        ):
            raise ValueError("true and false are no numbers; give a number")
        return value


def _holds_truth(value: Any) -> bool:
    if isinstance(value, Mapping | list | tuple):
        return any(map(_holds_truth, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, bool)


def _is_of_numbers(kind: Any) -> bool:
    """Whether a type has numbers and no truth values in it, nor anything that checks its own."""
    parts = [part for part in get_args(kind) if part is not Ellipsis]
    if get_origin(kind) is Annotated:
        return _is_of_numbers(parts[0])
    if get_origin(kind) in (dict, Mapping):
        parts = parts[1:]
    if parts and get_origin(kind) is not Literal:
        plain = [part for part in parts if part not in (str, type(None))]
        return bool(plain) and all(map(_is_of_numbers, plain))
    return kind in (int, float)


Kind = TypeVar("Kind", bound=Section)


class _Open:
    """Lets a field be null; see `Chosen`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.nullable_schema(handler(source))


Value = TypeVar("Value")
# A field that may be left open: a run chooses its value before anything reads it, and keeps it.
# Its type is that of the value; its default is OPEN.
Chosen = Annotated[Value, _Open()]
OPEN: Any = None


def open_settings(section: Section, prefix: str = "") -> Iterator[str]:
    """The keys that are still to be chosen; nested ones have dots."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from open_settings(value, f"{prefix}{name}.")
        elif value is None and any(isinstance(each, _Open) for each in field.metadata):
            yield f"{prefix}{name}"


def with_values(section: Kind, values: Mapping[str, Any]) -> Kind:
    """A section with some settings changed, by their keys, and checked as a whole."""
    given = gathered_settings(section.model_dump(mode="json"), None, values)
    return check_settings(type(section), given)


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
        if isinstance(given["kind"], str) and given["kind"] not in self.registry.known:
            given["kind"] = anchored(given["kind"])
        settings = self.settings(str(given["kind"]))
        try:
            return settings.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            where = _key_at(first["loc"])
            others = (
                (f"{self.registry.what} {name}", self.registry.load(name).Settings)
                for name in self.registry
            )
            context = {"reason": first["msg"], "first": dict(first), "where": where}
            context["unknown"] = _unknown(settings, where, others)
            raise PydanticCustomError("kind", "{reason}", context) from None

    def settings(self, name: str) -> type[KindSection]:
        found = getattr(self.registry.load(name), "Settings", None)
        if not (isinstance(found, type) and issubclass(found, KindSection)):
            raise ConfigError(
                f"{self.registry.what}={name}: is no {self.registry.what}: it needs a class "
                "Settings within it, a subclass of understudy.settings.KindSection"
            )
        return found


Others = Callable[[], Iterable[tuple[str, type[BaseModel]]]]


def resolve_settings(
    kind: type[Kind], defaults: Mapping[str, Any], file: Path | None, overrides: Sequence[str]
) -> Kind:
    """Defaults, then the YAML file, then `key=value` overrides, checked as one."""
    return check_settings(kind, gathered_settings(defaults, file, overrides))


def check_settings(
    kind: type[Kind], settings: Mapping[str, Any], others: Others = lambda: ()
) -> Kind:
    """The settings as a section, or one line that names the key, the value and the remedy.

    others: (name, section) of whatever else may have a setting that this section has not.
    """
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = _key_at(first["loc"])
        while first["type"] == "kind":  # within the settings of a kind
            context = first["ctx"]
            first, key = context["first"], f"{key}.{context['where']}".rstrip(".")
            if first["type"] == "extra_forbidden":
                prefix = key.removesuffix(context["where"])
                unknown = context["unknown"].replace("did you mean ", f"did you mean {prefix}")
                raise ConfigError(f"{key}: {unknown}") from None
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] in ("model_type", "dict_type"):
            reason = "a mapping of settings is wanted here"
        if first["type"] in ("list_type", "tuple_type"):
            reason = "a list is wanted here, as [..., ...]"
        if first["type"] == "extra_forbidden":
            key = _first_leaf(key, first["input"])
            raise ConfigError(f"{key}: {_unknown(kind, key, others())}") from None
        if first["type"] == "missing":
            raise ConfigError(f"{key}: this setting is needed") from None
        where = f"{key}={first['input']}: " if key else ""
        if isinstance(first["input"], Mapping) and first["type"] == "value_error":
            where = f"{key}: " if key else ""  # the reason names the values that clash
        hint = "; an advantage needs at least two responses" if key == "num_generations" else ""
        raise ConfigError(f"{where}{reason}{hint}") from None


def _key_at(place: tuple[int | str, ...]) -> str:
    """The key of a fault's place, without the types that were tried where it may be of several."""
    return ".".join(str(part) for part in place if not _is_type(part))


def _is_type(part: int | str) -> bool:
    named = str(part)
    return named in ("str", "int", "float", "bool", "none") or named.endswith(("Settings", "]"))


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting for a reader; nested keys have dots."""

    key: str
    type: str
    default: str
    meaning: str
    owner: str = ""  # the kind that has it, as 'router calibrated'; '': the section itself


_ANY_KIND = "module:Name or file.py:Name"


def described_settings(
    section: type[BaseModel], prefix: str = "", owner: str = ""
) -> list[Setting]:
    """Every setting, those of the kinds that a field names included."""
    rows = []
    for name, field in section.model_fields.items():
        key, kind = f"{prefix}{name}", field.annotation
        kinds = next((each for each in field.metadata if isinstance(each, Kinds)), None)
        if kinds is None and isinstance(kind, type) and issubclass(kind, Section):
            rows += described_settings(kind, f"{key}.", owner)
            continue
        if kinds is not None:
            shown = " | ".join([*kinds.registry, "module:Name", "file.py:Name"])
        elif any(isinstance(each, Kinds) for part in get_args(kind) for each in _metadata(part)):
            listed = get_origin(kind) is list
            shown = f"list of {_ANY_KIND}" if listed else f"settings of {_ANY_KIND} | None"
        elif words := _choices(kind):
            shown = " | ".join(words)
        else:
            shown = _type_name(kind)
        if any(isinstance(each, _Open) for each in field.metadata):
            shown = f"{shown} | None"
        default = "" if field.is_required() else _in_yaml(field.default)
        rows.append(Setting(key, shown, default, field.description or "", owner))
        if kinds is not None:
            rows += _settings_of_kinds(kinds, key)
    return rows


def _metadata(kind: Any) -> tuple[Any, ...]:
    return getattr(kind, "__metadata__", ())


def _settings_of_kinds(kinds: Kinds, key: str) -> Iterator[Setting]:
    """What all kinds have in the same way, then what each has of its own."""
    by_kind = {
        f"{kinds.registry.what} {name}": [
            row
            for row in described_settings(kinds.settings(name), f"{key}.")
            if row.key != f"{key}.kind"
        ]
        for name in kinds.registry
    }
    first, *others = by_kind.values()
    common = [row for row in first if all(row in rows for rows in others)]
    yield from common
    for owner, rows in by_kind.items():
        yield from (replace(row, owner=owner) for row in rows if row not in common)


def _type_name(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        return _type_name(get_args(kind)[0])
    if get_origin(kind) is list:
        return f"list[{_type_name(get_args(kind)[0])}]"
    shown = kind.__name__ if isinstance(kind, type) else str(kind)
    return shown.replace("typing.", "").replace("NoneType", "None")


def _in_yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).split("\n")[0]


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
        one, other = getattr(first, name), getattr(second, name, None)
        if isinstance(one, KindSection) and type(one) is not type(other):
            yield f"{prefix}{name}", one.kind, getattr(other, "kind", None)
        elif isinstance(one, Section) and isinstance(other, Section):
            yield from differences(one, other, f"{prefix}{name}.")
        elif one != other:
            yield f"{prefix}{name}", one, other


def _first_leaf(key: str, value: Any) -> str:
    """The dotted key of the first setting within a section that is given."""
    while isinstance(value, Mapping) and value:
        name, value = next(iter(value.items()))
        key = f"{key}.{name}"
    return key


def _unknown(
    section: type[BaseModel], key: str, others: Iterable[tuple[str, type[BaseModel]]]
) -> str:
    """Why there is no such setting: it belongs elsewhere, or is written wrongly."""
    known = [row.key for row in described_settings(section)]
    owners = [
        name
        for name, other in others
        if any(f"{row.key}.".startswith(f"{key}.") for row in described_settings(other))
    ]
    if owners:
        return f"is a setting of {', '.join(owners)}, and has no effect here; leave it out"
    before, _, name = key.rpartition(".")
    first = key.partition(".")[0]
    if before and first in section.model_fields:  # by its own name: what it begins with is right
        inner = _section_at(section, before.split("."))
        near = difflib.get_close_matches(name, inner.model_fields, n=1)
        found = [f"{before}.{each}" for each in near]
    else:
        found = difflib.get_close_matches(key, known, n=1)
        found += difflib.get_close_matches(first, section.model_fields, n=1)
    hint = f"did you mean {found[0]}?" if found else "the command's --help lists all"
    return f"there is no such setting; {hint}"


def _section_at(section: type[BaseModel], parts: Iterable[str]) -> type[BaseModel]:
    """That a key leads to. A part that names no field is a place in a list, or in a mapping."""
    for part in parts:
        if field := section.model_fields.get(part):
            section = _section_in(field.annotation) or section
    return section


def _section_in(kind: Any) -> type[BaseModel] | None:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next(filter(None, map(_section_in, get_args(kind))), None)


def check_complete(kept: Mapping[str, Any], section: Section, where: Path) -> None:
    """Refuse saved settings that lack one: the file was cut short, or is older than the program.

    kept: as they were read; section: what became of them, with today's defaults.
    """
    if missing := next(_missing(section.model_dump(mode="json"), kept), None):
        raise RunError(f"{where}: {missing} is missing; restore the file, or start a new run")


def _missing(
    wanted: Mapping[str, Any], given: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """The keys of a whole configuration that a given one lacks."""
    for key, value in wanted.items():
        if key not in given:
            yield f"{prefix}{key}"
        elif isinstance(value, Mapping) and isinstance(given[key], Mapping):
            yield from _missing(value, given[key], f"{prefix}{key}.")
