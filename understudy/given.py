"""Settings as they are given: defaults, a YAML file and overrides, as one unchecked mapping."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from understudy.errors import ConfigError


class FileText(str):
    """A text that stands in a settings file. folder: the file's, from which its paths start."""

    __slots__ = ("folder",)

    def __new__(cls, text: str, folder: Path) -> FileText:
        found = super().__new__(cls, text)
        found.folder = folder
        return found

    folder: Path


def anchored(value: Any) -> Any:
    """A path, or paths, so that they mean the same wherever they are read later.

    A relative one of a settings file starts from that file's folder; if nothing is there, or it
    was given otherwise, from the current folder. What is nowhere stays as it is: a name of the hub,
    of a kind or of a module, and a mistake. `file.py:Name` and patterns as `train-*.jsonl` count.
    """
    if isinstance(value, list | tuple):
        return [anchored(each) for each in value]
    if not isinstance(value, str) or not value:
        return value
    file, mark, name = value.rpartition(":")
    place = Path(file if file.endswith(".py") else value).expanduser()
    after = f"{mark}{name}" if file.endswith(".py") else ""
    for folder in (getattr(value, "folder", None), Path.cwd()):
        if folder is not None and _is_there(folder / place):
            return f"{os.path.abspath(folder / place)}{after}"
    return str(value)


def _is_there(path: Path) -> bool:
    try:
        pattern = any(character in path.name for character in "*?[")
        return any(path.parent.glob(path.name)) if pattern else path.exists()
    except (OSError, ValueError):  # too long for a path
        return False


class RepeatedKeyError(yaml.YAMLError):
    """A key that stands twice in one mapping: YAML's reader would keep the last one silently. Its
    words name the line and the key, and no value."""


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else key
            if name in seen:
                line = key.start_mark.line + 1
                raise RepeatedKeyError(f"line {line}: {key.value} is given twice; keep one")
            seen.add(name)
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> Any:
    """The content of a YAML text; JSON is YAML too. A key that stands twice is no YAML here."""
    return yaml.load(text, _Loader)


def gathered_settings(
    defaults: Mapping[str, Any], file: Path | None, overrides: Sequence[str] | Mapping[str, Any]
) -> dict[str, Any]:
    """Defaults, then the YAML file, then overrides, as one mapping; not yet checked.

    overrides: `key=value` each, or values by key. Everywhere the parts of a nested key may stand
    between dots.
    """
    settings = merged({}, _nested(defaults.items()))
    if file is not None:
        settings = merged(settings, _nested(_read(file).items()))
    return merged(settings, _nested(_by_key(overrides)))


def _nested(settings: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Values by keys whose parts stand between dots, as mappings in each other."""
    found: dict[str, Any] = {}
    for key, value in settings:
        parts = str(key).split(".")
        if not all(parts):
            raise ConfigError(f"{str(key)!r} is no setting's name; write it as key or section.key")
        nested: Any = value
        for part in reversed(parts):
            nested = {part: nested}
        found = merged(found, nested)
    return found


def _by_key(overrides: Sequence[str] | Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(overrides, Mapping):
        yield from overrides.items()
        return
    for override in overrides:
        key, mark, value = override.partition("=")
        if not mark or not key:
            raise ConfigError(f"--set {override}: write it as key=value")
        try:
            yield key, load_yaml(value)
        except RepeatedKeyError as error:
            raise ConfigError(f"--set {override}: {error}") from None
        except yaml.YAMLError:
            raise ConfigError(f"--set {override}: {value!r} is not a YAML value") from None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = load_yaml(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML ({error})".replace("\n", " ")) from None
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path}: a configuration is a mapping of settings")
    found: Mapping[str, Any] = _of_file(content, path.absolute().parent)
    return found


def _of_file(value: Any, folder: Path) -> Any:
    """The same with every text as one of a file in that folder."""
    if isinstance(value, str):
        return FileText(value, folder)
    if isinstance(value, Mapping):
        return {key: _of_file(each, folder) for key, each in value.items()}
    return [_of_file(each, folder) for each in value] if isinstance(value, list) else value


def merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """`high` over `low`, section by section.

    Where a kind is chosen anew, the settings of the one before go with it. `router: own` is
    `router: {kind: own}`.
    """
    result = dict(low)
    for key, value in high.items():
        if isinstance(value, Mapping):
            value = merged(_section_below(result.get(key), value), value)
        result[key] = value
    return result


def _section_below(below: Any, value: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the settings of a section are laid over: nothing where they choose another kind."""
    if isinstance(below, str):
        below = {"kind": below}
    if not isinstance(below, Mapping):
        return {}
    other = "kind" in value and value["kind"] != below.get("kind", value["kind"])
    return {} if other else below
