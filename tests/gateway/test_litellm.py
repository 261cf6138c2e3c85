"""LiteLLM's config.yaml, read as it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.gateway.upstream import Behaviour, MockUpstream
from understudy.clouds.prices import Prices
from understudy.errors import ConfigError
from understudy.gateway.clouds import open_clouds
from understudy.gateway.settings import ServeSettings
from understudy.gateway.upstreams.calls import Call, UpstreamError
from understudy.gateway.upstreams.litellm import read_model_list
from understudy.gateway.upstreams.openai import OpenAIUpstream
from understudy.settings import check_settings

SECRET = "sk-a-secret-that-nobody-may-see"
CONFIG = """
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_key: os.environ/EXAMPLE_LITELLM_KEY
      input_cost_per_token: 0.0000025
      output_cost_per_token: 0.00001
      rpm: 60
  - model_name: gpt-4o
    litellm_params:
      model: hosted_vllm/served-name
      api_base: http://localhost:8001/v1
      api_key: sk-literal
      max_tokens: 77
      timeout: 30
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0, id: local-copy,
      cache_creation_input_token_cost: 0.00001, input_cost_per_token_above_128k_tokens: 0.00002,
      output_cost_per_reasoning_token: 0.00003, part_tokens: 25000, allow: [service_tier]}
  - model_name: "*"
    litellm_params: {model: "openai/*", input_cost_per_token: 1e-6, output_cost_per_token: 1e-6}
litellm_settings: {drop_params: true}
router_settings: {fallbacks: [{gpt-4o: [big]}], model_group_alias: {gpt-4: gpt-4o}}
general_settings: {master_key: sk-1234}
callbacks: [prometheus]
"""


def entry(params: str, info: str = "id: x") -> str:
    costs = "input_cost_per_token: 1e-6, output_cost_per_token: 1e-6"
    if "input_cost" in info:
        costs = "output_cost_per_token: 1e-6"
    return (
        f"model_list: [{{model_name: a, litellm_params: {{model: openai/x, {params}, {costs}}}, "
        f"model_info: {{{info}}}}}]"
    )


def write(folder: Path, content: str = CONFIG) -> Path:
    path = folder / "config.yaml"
    path.write_text(content)
    return path


def test_its_models_become_clouds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_LITELLM_KEY", SECRET)
    warnings: list[str] = []
    one, two = read_model_list(write(tmp_path), {}, warnings.append)
    assert (one.name, one.alias, two.name, two.alias) == ("gpt-4o", "gpt-4o", "gpt-4o#2", "gpt-4o")
    first, second = (OpenAIUpstream(each.name, each.settings, each.key) for each in (one, two))  # type: ignore[arg-type]
    assert first.url == "https://api.openai.com/v1/chat/completions"
    assert first.model == "gpt-4o"
    assert first.prices == Prices(2.5, 2.5, 10.0)
    assert second.url == "http://localhost:8001/v1/chat/completions"
    assert second.model == "served-name"
    assert second.prices == Prices(0.0, 0.0, 0.0, 10.0)
    assert second.settings.max_tokens == 77
    assert (first.settings.part_tokens, second.settings.part_tokens) == (None, 25_000)
    paid_more = {"messages": [], "service_tier": "priority"}
    second.bound(paid_more, 10, 1)
    with pytest.raises(UpstreamError, match="service_tier"):
        first.bound(paid_more, 10, 1)
    assert (one.key, two.key) == (SECRET, "sk-literal")
    assert SECRET not in repr(one)
    said = " ".join(warnings)
    for named in (
        "litellm_settings.drop_params,",
        "router_settings.fallbacks (clouds are tried in the order of the list)",
        "router_settings.model_group_alias (set policy.models)",
        "general_settings.master_key (make keys with `understudy keys create`)",
        "callbacks",
    ):
        assert named in said
    assert "rpm: not read here" in said
    dearer = "model_info: input_cost_per_token_above_128k_tokens, "
    assert f"{dearer}output_cost_per_reasoning_token: not read here" in said
    assert "a pattern of models is left out: each model needs an entry with its price" in said
    assert SECRET not in said
    assert "sk-1234" not in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("model_list: []", "has no model_list"),
        ("{", r"not valid YAML \(line 1\)$"),
        ("a: 1\nmodel_list: [sk-a-secret", r"not valid YAML \(line \d\)$"),  # and no secret
        ("model_list: []\na: {b: 1}\nmodel_list: []", "line 3: model_list is given twice; keep"),
        ("model_list: [{model_name: a}]", "needs model_name, and litellm_params with a model"),
        (
            "model_list: [{model_name: a, litellm_params: {model: anthropic/claude}}]",
            "does not speak OpenAI's chat completions",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: hosted_vllm/x}}]",
            "hosted_vllm needs an api_base",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: openai/x}}]",
            "no price for openai/x",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: openai/x, api_key: "
            "os.environ/NO_SUCH_NAME, input_cost_per_token: 1, output_cost_per_token: 1}}]",
            "no environment variable NO_SUCH_NAME is set",
        ),
        (entry("timeout: soon"), r"model_list\[0\] \(a\): timeout='soon': is no number"),
        (entry("api_key: 'sk-1 sk-2'"), "api_key: holds more than a key"),
        (entry("max_tokens: 1.5"), "max_tokens=1.5"),
        (entry("max_tokens: 5", "allow: [user]"), "user: refused nowhere"),
        (entry("max_tokens: 5", "input_cost_per_token: free"), "'free': is no number"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_model_list(write(tmp_path, content), {}, lambda text: None)


def test_a_price_table_of_ones_own_comes_first(tmp_path: Path) -> None:
    content = "model_list: [{model_name: a, litellm_params: {model: openai/x, api_key: k}}]"
    table = {"x": {"prompt": 1.0, "completion": 2.0}}
    (one,) = read_model_list(write(tmp_path, content), table, lambda text: None)
    assert OpenAIUpstream(one.name, one.settings, one.key).prices == Prices(1.0, 1.0, 2.0)  # type: ignore[arg-type]


def test_a_request_by_model_name_goes_to_any_of_its_entries(tmp_path: Path) -> None:
    async def go() -> None:
        async with MockUpstream.of(Behaviour(words=1), key=SECRET) as mock:
            content = f"""
            environment_variables: {{MY_KEY: {SECRET}}}
            model_list:
              - model_name: big
                litellm_params: {{model: openai/real, api_base: "{mock.url}",
                  api_key: os.environ/MY_KEY}}
                model_info: {{input_cost_per_token: 0.000001, output_cost_per_token: 0.000002}}
            """
            given = {"litellm": str(write(tmp_path, content)), "local": {"path": "none"}}
            choice = open_clouds(check_settings(ServeSettings, given), lambda text: None)
            (candidate,) = choice.named("big")
            assert choice.named("real") == [candidate]
            body = {"messages": [{"role": "user", "content": "a b"}]}
            incoming = await candidate.upstream.send(Call(body, "r1"))
            assert incoming.cost().dollars == pytest.approx(4e-6)
            assert mock.bodies[0]["model"] == "real"
            await choice.close()

    asyncio.run(go())


def test_a_name_of_the_gateways_own_is_refused_as_that_of_a_cloud(tmp_path: Path) -> None:
    """No request could mean it."""
    path = write(tmp_path, entry("max_tokens: 9").replace("model_name: a,", "model_name: auto,"))
    settings = check_settings(ServeSettings, {"litellm": str(path), "local": {"path": "none"}})
    with pytest.raises(ConfigError, match="model_name auto: a request that gives this"):
        open_clouds(settings, lambda text: None)
