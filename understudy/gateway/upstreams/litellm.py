"""LiteLLM's config.yaml, read as it is: its model_list becomes clouds of this gateway.

What else such a file sets (routing, callbacks, its own budgets and keys) is LiteLLM's, and is named
in a warning rather than dropped in silence. Settings of a cloud that LiteLLM has no word for may
stand in an entry's model_info, which LiteLLM leaves to whoever reads it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from understudy.clouds.endpoint import checked_key
from understudy.errors import ConfigError
from understudy.gateway.upstreams import UpstreamSettings
from understudy.gateway.upstreams.openai import OpenAIUpstream
from understudy.given import RepeatedKeyError, load_yaml
from understudy.settings import check_settings

# Providers of LiteLLM that speak OpenAI's chat completions, and where they are if the file does not
# say. All others need a translation that LiteLLM makes and this gateway does not.
PROVIDERS = {
    "openai": "https://api.openai.com/v1",
    "custom_openai": "",
    "openai_like": "",
    "litellm_proxy": "",
    "hosted_vllm": "",
    "vllm": "",
    "lm_studio": "http://localhost:1234/v1",
    "llamafile": "http://localhost:8080/v1",
    "deepseek": "https://api.deepseek.com/v1",
    "groq": "https://api.groq.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "together_ai": "https://api.together.xyz/v1",
    "fireworks_ai": "https://api.fireworks.ai/inference/v1",
    "xai": "https://api.x.ai/v1",
}
_READ = {"model", "api_base", "base_url", "api_key", "max_tokens", "timeout"}
_PRICES = {
    "input_cost_per_token": "prompt",
    "output_cost_per_token": "completion",
    "cache_read_input_token_cost": "cached_prompt",
    "cache_creation_input_token_cost": "cache_write",
}
_OURS = ("part_tokens", "allow", "forward", "max_tokens_field", "usage_url", "train_on_replies")
# What stands here for a setting of LiteLLM's.
_INSTEAD = {
    "master_key": "make keys with `understudy keys create`",
    "fallbacks": "clouds are tried in the order of the list",
    "model_group_alias": "set policy.models",
    "max_budget": "set store.caps",
    "budget_duration": "set store.caps",
    "database_url": "set store.url",
}
_ENVIRONMENT = "os.environ/"


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of a model_list."""

    name: str  # of the cloud, unlike all others
    alias: str  # model_name, which several entries may share
    settings: UpstreamSettings
    key: str | None

    def __repr__(self) -> str:
        return f"Listed({self.name!r})"  # the key stays out of logs


def read_model_list(
    path: Path, prices: Mapping[str, Any], warn: Callable[[str], None]
) -> list[Listed]:
    """The clouds of a file. prices: of models whose entry has none, by model_name or model, in
    dollars per million tokens."""
    content = _content(path)
    entries = content.get("model_list")
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path}: has no model_list; is it LiteLLM's config.yaml?")
    if others := list(_others(content)):
        warn(f"{path}: of LiteLLM, and not read here: {', '.join(others)}")
    found = content.get("environment_variables")
    given = {str(k): str(v) for k, v in found.items()} if isinstance(found, Mapping) else {}
    reader = _Reader(path, prices, given, warn)
    found = [reader.listed(number, entry) for number, entry in enumerate(entries)]
    return [each for each in found if each is not None]


def _others(content: Mapping[str, Any]) -> Iterator[str]:
    """What else the file sets, each by its name and with what stands here for it."""
    for section, value in content.items():
        if section in ("model_list", "environment_variables"):
            continue
        inner = value if isinstance(value, Mapping) else {}
        for name in inner or (None,):
            instead = _INSTEAD.get(str(name))
            full = str(section) if name is None else f"{section}.{name}"
            yield f"{full} ({instead})" if instead else full


class _Reader:
    def __init__(
        self,
        path: Path,
        prices: Mapping[str, Any],
        environment: Mapping[str, str],
        warn: Callable[[str], None],
    ) -> None:
        self.path, self.prices, self.environment, self.warn = path, prices, environment, warn
        self._names: set[str] = set()

    def listed(self, number: int, entry: Any) -> Listed | None:
        where = f"{self.path}: model_list[{number}]"
        params = entry.get("litellm_params") if isinstance(entry, Mapping) else None
        alias = entry.get("model_name") if isinstance(entry, Mapping) else None
        if not isinstance(params, Mapping) or not alias or not params.get("model"):
            raise ConfigError(f"{where}: needs model_name, and litellm_params with a model")
        where = f"{where} ({alias})"
        if "*" in f"{alias}{params['model']}":
            self.warn(
                f"{where}: a pattern of models is left out: each model needs an entry with its "
                "price; for other names of those see policy.models"
            )
            return None
        info = entry.get("model_info") if isinstance(entry.get("model_info"), Mapping) else {}
        base, model = self._place(where, params)
        if unread := sorted(set(params) - _READ - set(_PRICES)):
            self.warn(f"{where}: {', '.join(unread)}: not read here")
        if dearer := sorted(name for name in info if "cost" in str(name) and name not in _PRICES):
            self.warn(
                f"{where}: model_info: {', '.join(map(str, dearer))}: not read here, so calls that "
                "they make dearer are charged too little"
            )
        given = {name: info[name] for name in _OURS if info.get(name) is not None}
        for name, ours in (("timeout", "timeout_seconds"), ("max_tokens", "max_tokens")):
            if params.get(name) is not None:
                given[ours] = self._number(f"{where}: {name}", params[name])
        given |= {"base_url": base, "model": model}
        given["prices"] = self._prices(where, str(alias), str(params["model"]), {**info, **params})
        try:
            settings = check_settings(OpenAIUpstream.Settings, given)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        secret = None
        if (key := params.get("api_key")) is not None:
            secret = checked_key(self._value(where, key).strip(), f"{where}: api_key")
        return Listed(self._name(str(alias)), str(alias), settings, secret)

    def _place(self, where: str, params: Mapping[str, Any]) -> tuple[str, str]:
        """The address and the model's name there."""
        provider, mark, model = str(params["model"]).partition("/")
        base = params.get("api_base") or params.get("base_url")
        if not mark:  # LiteLLM guesses the provider by the model's name
            provider, model = "openai", provider
        if provider not in PROVIDERS:
            known = ", ".join(PROVIDERS)
            raise ConfigError(
                f"{where}: model {params['model']}: this provider does not speak OpenAI's chat "
                f"completions; use one of {known}, or openai/NAME with the api_base of an "
                "endpoint that does"
            )
        base = self._value(where, base) if base else PROVIDERS[provider]
        if not base:
            raise ConfigError(f"{where}: {provider} needs an api_base")
        return base, model

    def _prices(
        self, where: str, alias: str, model: str, said: Mapping[str, Any]
    ) -> dict[str, float]:
        """Of the entry, per token there; or of our own table."""
        for name in (alias, model, model.partition("/")[2]):
            if isinstance(row := self.prices.get(name), Mapping):
                return dict(row)
        found = {
            ours: float(self._number(f"{where}: {name}", said[name]) * 1e6)
            for name, ours in _PRICES.items()
            if said.get(name) is not None
        }
        if not {"prompt", "completion"} <= set(found):
            raise ConfigError(
                f"{where}: no price for {model}; give input_cost_per_token and "
                "output_cost_per_token in its litellm_params or model_info, or the model in the "
                "table of --prices; 0 where it is free"
            )
        return found

    def _number(self, where: str, value: Any) -> float:
        """Also of a text: YAML reads 1e-6 as one."""
        try:
            number = float(self._value(where, value))
        except ValueError:
            raise ConfigError(f"{where}={value!r}: is no number") from None
        return int(number) if number.is_integer() else number

    def _value(self, where: str, value: Any) -> str:
        """A text, or the environment variable that os.environ/NAME names."""
        text = str(value)
        if not text.startswith(_ENVIRONMENT):
            return text
        name = text.removeprefix(_ENVIRONMENT)
        found = self.environment.get(name) or os.environ.get(name)
        if not found:
            raise ConfigError(f"{where}: no environment variable {name} is set; export it")
        return found

    def _name(self, alias: str) -> str:
        """Unlike all others: entries of one model_name share the work."""
        free = (alias if n == 1 else f"{alias}#{n}" for n in range(1, len(self._names) + 2))
        name = next(each for each in free if each not in self._names)
        self._names.add(name)
        return name


def _line_of(error: Exception) -> str:
    """Of a mistake in YAML: its line, and nothing of what stands there."""
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f" (line {mark.line + 1})"


def _content(path: Path) -> Mapping[str, Any]:
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"litellm={path}: cannot be read ({error.strerror})") from None
    except RepeatedKeyError as error:
        raise ConfigError(f"litellm={path}: {error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        # The parser's own message shows the line, which may hold a key.
        raise ConfigError(f"litellm={path}: not valid YAML{_line_of(error)}") from None
    if not isinstance(content, Mapping):
        raise ConfigError(f"litellm={path}: is no mapping of settings")
    return content
