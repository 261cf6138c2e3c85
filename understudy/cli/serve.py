"""`understudy serve`: one endpoint, the local model first, the cloud within a budget."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.cli import options, serve_options
from understudy.cli.output import complain
from understudy.cli.printing import print_json, print_line
from understudy.errors import ConfigError

if TYPE_CHECKING:
    from understudy.gateway.door.door import Door
    from understudy.gateway.settings import ServeSettings


_MAIN = "main"  # what --cloud is called in the settings


def serve(
    local: serve_options.Local = None,
    cloud: serve_options.Cloud = None,
    cloud_model: serve_options.CloudModel = None,
    cloud_key_env: serve_options.CloudKeyEnv = None,
    prices: serve_options.Prices = None,
    litellm: serve_options.LiteLLM = None,
    max_dollars: serve_options.MaxDollars = None,
    max_calls: serve_options.MaxCalls = None,
    share: serve_options.Share = None,
    dial: serve_options.Dial = None,
    router: options.Router = None,
    host: serve_options.Host = None,
    port: serve_options.Port = None,
    threads: serve_options.Threads = None,
    store: options.Store = "",
    config: options.Config = None,
    set_: options.Set = None,
    no_check: serve_options.NoCheck = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Serve the local model and the cloud behind one OpenAI-compatible endpoint."""
    named = {
        "local.path": local,
        "litellm": litellm,
        "policy.dial": dial,
        "policy.router": options.router_choice(router),
        "door.host": host,
        "door.port": port,
        "local.threads": threads,
        "store.url": store or None,
        "check_clouds": False if no_check else None,
    }
    given = {name: value for name, value in named.items() if value is not None}
    if prices is not None and cloud is None:
        given["prices"] = _table(prices)
    if cloud is not None:
        given[f"clouds.{_MAIN}"] = _cloud(cloud, cloud_model, cloud_key_env, prices)
    elif cloud_model is not None or cloud_key_env is not None:
        raise ConfigError("--cloud-model and --cloud-key-env describe --cloud; give that too")
    caps = list(_caps(max_dollars or [], max_calls or [], share))
    settings = _settings(config, set_ or [], given, caps)
    if dry_run and as_json:
        print_json(settings.model_dump(mode="json"))
    elif dry_run:
        import yaml

        print(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), end="")
    else:
        _serve(settings, as_json, quiet)


def _settings(
    config: Path | None, overrides: list[str], given: dict[str, Any], caps: list[dict[str, Any]]
) -> ServeSettings:
    """The file, then the options, then --set."""
    from understudy.gateway.settings import ServeSettings
    from understudy.settings import check_settings, gathered_settings

    from_file = gathered_settings({}, config, {})
    if f"clouds.{_MAIN}" in given and _MAIN in (from_file.get("clouds") or {}):
        # Merged, the key of one would go to the address of the other.
        raise ConfigError(f"--cloud: {config} has clouds.{_MAIN} already; change it there")
    found = gathered_settings(gathered_settings(from_file, None, given), None, overrides)
    if caps:
        kept = found.setdefault("store", {}).get("caps") or []
        found["store"]["caps"] = [*kept, *caps]
    return check_settings(ServeSettings, found)


def _cloud(url: str, model: str | None, key_env: str | None, prices: str | None) -> dict[str, Any]:
    if model is None:
        raise ConfigError(f"--cloud {url}: give its model's name with --cloud-model")
    found: dict[str, Any] = {"base_url": url, "model": model}
    if key_env is not None:
        found["api_key_env"] = key_env
    if prices is not None:
        found["prices"] = _prices(prices)
    return found


def _prices(text: str) -> str | dict[str, float]:
    """A file's name, or what stands for the question and the answer."""
    from understudy.clouds.prices import price_pair

    pair = price_pair(text)
    if pair is None and not Path(text).is_file():
        raise ConfigError(
            f"--prices {text}: is no file, and no pair of prices; write 0.5/2, dollars per million "
            "tokens of question and answer, or the name of your price table"
        )
    return text if pair is None else pair


def _table(text: str) -> str:
    if isinstance(_prices(text), dict):
        raise ConfigError(f"--prices {text}: of which cloud? Give --cloud, or a table of models")
    return text


def _caps(
    max_dollars: list[str], max_calls: list[str], share: float | None
) -> Iterator[dict[str, Any]]:
    from understudy.store.settings import CapSettings, cap_of

    for each in max_dollars:
        yield cap_of("dollars", each, option="--max-dollars").model_dump(exclude_none=True)
    for each in max_calls:
        yield cap_of("calls", each, option="--max-calls").model_dump(exclude_none=True)
    if share is not None:
        if not 0 <= share <= 1:
            raise ConfigError(f"--share {share}: is from 0 to 1")
        yield CapSettings(share=share).model_dump(exclude_none=True)


def _serve(settings: ServeSettings, as_json: bool, quiet: bool) -> None:
    from understudy.gateway.assembly import Assembly
    from understudy.gateway.serving import serve as run

    assembly = Assembly(settings, lambda text: complain(f"warning: {text}"))
    store = assembly.database.where

    def on_ready(url: str) -> None:
        if as_json:
            print_line({"url": f"{url}/v1", "dashboard": f"{url}/", "store": store})
        else:
            said = f"{url}/v1" if quiet else greeting(settings, url, assembly.door, store)
            print(said, flush=True)

    try:
        run(assembly.app(), assembly.door, on_ready)
    except ConfigError:
        if assembly.behind.failure is None:
            raise
    if assembly.behind.failure is not None:  # as it was opened, or closed
        raise assembly.behind.failure


def greeting(settings: ServeSettings, url: str, door: Door, store: str) -> str:
    """What somebody reads who has just started it. store: as --store."""
    key = hint = ""
    is_demo = settings.local.path == "demo"  # which reads little else than such questions
    question = _DEMO if is_demo else "What is the capital of France?"
    if not door.is_open:
        key = " \\\n    -H 'authorization: Bearer KEY'"
        if door.keys is not None and door.keys.none_known:
            hint = (
                "\nNobody may ask yet: there is no key. To make one, for the dashboard too:\n"
                "  understudy keys create NAME --scope inference --scope feedback "
                f"--scope dashboard --store '{store}'"
            )
    where = ""
    if door.settings.is_everywhere:
        url, where = _called(url, platform.node() or "localhost"), ", on every address of it"
    return (
        f"understudy serves at {url}/v1{where}, and shows what it does at {url}/\n"
        f"  curl {url}/v1/chat/completions -H 'content-type: application/json'{key} \\\n"
        '    -d \'{"model": "auto", "messages": [{"role": "user", "content": '
        f'"{question}"}}]}}\'{hint}'
    )


def _called(url: str, name: str) -> str:
    """The URL with the machine's name in place of the address that stands for all of them."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{name}:{rest.rpartition(':')[2]}"


_DEMO = "max has 41 cards, sells 13, finds 46, eats 4. how many?"
