"""The clouds of the settings, opened: those that are listed, then those of LiteLLM's file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from understudy.errors import ConfigError
from understudy.gateway.settings import DEMO, RESERVED, ServeSettings
from understudy.gateway.upstreams import UPSTREAMS, UpstreamSettings
from understudy.gateway.upstreams.calls import UpstreamError
from understudy.gateway.upstreams.choice import Candidate, Choice, candidate_of
from understudy.gateway.upstreams.litellm import read_model_list
from understudy.gateway.upstreams.openai import OpenAIUpstream
from understudy.given import load_yaml
from understudy.settings import Kinds

SIMULATED = "simulated"


def open_clouds(settings: ServeSettings, warn: Callable[[str], None]) -> Choice:
    """Nothing is called yet. The shipped model has the simulated cloud, where none is given."""
    usual, found = settings.policy.usual, list[Candidate]()
    for name, given in settings.clouds.items():
        if isinstance(given, OpenAIUpstream.Settings) and given.prices is None and settings.prices:
            given = given.model_copy(update={"prices": settings.prices})
        found.append(candidate_of(name, given, usual))
    if settings.litellm:
        table = _table(settings.prices)
        for each in read_model_list(Path(settings.litellm), table, warn):
            if each.name in settings.clouds:
                raise ConfigError(f"clouds.{each.name}: is a model_name of {settings.litellm} too")
            if each.alias in RESERVED:
                raise ConfigError(
                    f"{settings.litellm}: model_name {each.alias}: a request that gives this as "
                    "its model means something else; call it by another name"
                )
            found.append(candidate_of(each.name, each.settings, usual, each.key, each.alias))
    if settings.local.path == DEMO and found:
        warn(
            "local.path=demo: the tiny model that ships answers first, and knows the questions of "
            "docs/tiny-model.md only; give --local a run, a model or a URL, or none to ask clouds "
            "alone"
        )
    if not settings.store.caps and (paid := [each.name for each in found if _is_paid(each)]):
        warn(
            f"clouds.{paid[0]}: no cap bounds what is spent there, unless every key has its own; "
            "give one, such as --max-dollars 5/day"
        )
    if not found and settings.local.path == DEMO:
        found.append(candidate_of(SIMULATED, _simulated(), usual))
    for candidate in found:
        if not candidate.upstream.bounds_dollars:
            warn(
                f"clouds.{candidate.name}: its class has no estimate(), so what an answer may cost "
                "is not known before it is paid, and caps in dollars hold for the next call only"
            )
    for name in settings.embeddings:
        if any(name == each.name for each in found):
            # A call is looked up by the name of whoever served it.
            raise ConfigError(f"embeddings.{name}: is the name of a cloud too; give it another one")
    return Choice(found, settings.order)


def _is_paid(candidate: Candidate) -> bool:
    """Whether a question may cost something there, or nobody knows."""
    upstream = candidate.upstream
    if not upstream.bounds_dollars:
        return True
    question = {"model": upstream.model, "messages": [{"role": "user", "content": "?"}]}
    try:
        return upstream.bound(question, 1, 1).most.dollars > 0
    except UpstreamError:  # it has no price, and is never asked
        return False


def _simulated() -> UpstreamSettings:
    found = Kinds(UPSTREAMS, "cloud").parse({"kind": "cloud", "cloud": "simulated"})
    assert isinstance(found, UpstreamSettings)
    return found


def _table(path: str) -> Mapping[str, Any]:
    """Rows that are checked when they are used."""
    if not path:
        return {}
    try:
        content = load_yaml(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"prices={path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"prices={path}: not valid YAML ({error})".replace("\n", " ")) from None
    if not isinstance(content, Mapping):
        raise ConfigError(f"prices={path}: a price table is a mapping of models to their prices")
    return content
