"""A config that was drafted: accepted as it is, with a reason for every line, and one call paid."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.cli.commands import snapshot
from tests.clouds.endpoint_server import Call, EndpointServer, completion, refused, serving
from understudy.errors import CloudError, ConfigError
from understudy.init.asking import Wish, seen
from understudy.init.cloud import Given
from understudy.init.draft import Draft, drafted
from understudy.offload.plan import plan_text
from understudy.recipes import check_config, resolve_config

ROWS = [f"{a}+{b},{a + b}" for a in range(8) for b in range(8)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "mine.csv"
    path.parent.mkdir()
    path.write_text("\n".join(["question,answer", *ROWS]))
    return path


async def answers(call: Call) -> web.StreamResponse:
    if call.path.endswith("/models"):
        return web.json_response({"data": [{"id": "big"}]})
    a, b = call.prompt.split("+")
    return web.json_response(completion(f"#### {int(a) + int(b)}"))


@pytest.fixture(scope="module")
def server() -> Iterator[EndpointServer]:
    with serving(answers) as found:
        yield found


def draft(data: Path, cloud: Given | None = None, check: bool = True, **wish: Any) -> Draft:
    known = seen(Wish("tiny", data, cloud, **wish), None, check)
    return drafted(known, data.parent.parent / "mine.yaml", check, print)


def test_a_config_is_accepted_as_it_is_written(data: Path) -> None:
    found = draft(data)
    path = data.parent.parent / "mine.yaml"
    path.write_text(found.text)
    config = resolve_config("understudy", path, [])
    assert "steps" in plan_text(config)
    assert config.data["mine"].path == str(data)
    assert config.model_dump()["data"]["mine"]["checker"] == "number"
    assert check_config(found.settings | {"data": {}, "stream": "demo"})


def test_every_line_says_why(data: Path, server: EndpointServer) -> None:
    lines = draft(data, Given(server.url)).text.splitlines()
    settings = [i for i, line in enumerate(lines) if line and not line.lstrip().startswith("#")]
    assert len(settings) > 20
    bare = [lines[i] for i in settings if "  # " not in lines[i] and "# " not in lines[i - 1]]
    assert bare == []
    assert max(map(len, lines)) <= 100


def test_paths_start_from_the_file(data: Path) -> None:
    found = draft(data)
    assert found.settings["data"]["mine"]["path"] == "data/mine.csv"
    assert found.settings["model"] == "tiny"


def test_the_cloud_is_asked_once_and_its_price_is_said(
    data: Path, server: EndpointServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.calls.clear()
    found = draft(data, Given(server.url, prices="1/4"))
    assert [call.path for call in server.calls] == ["/v1/models", "/v1/chat/completions"]
    assert found.call is not None
    assert found.call.right
    assert found.call.dollars == pytest.approx((100 * 1 + 20 * 4) / 1e6)
    assert found.call.at_most >= found.call.dollars
    assert f"${found.call.at_most:.6f} at most" in capsys.readouterr().out
    cloud = found.settings["cloud"]
    assert cloud["http"]["model"] == "big"
    assert cloud["http"]["prices"] == {"prompt": 1.0, "completion": 4.0}
    estimate = found.estimate
    calls = estimate.training + estimate.examinations
    assert estimate.dollars_a_call is not None
    assert 0 <= cloud["max_dollars"] - calls * estimate.dollars_a_call < 0.01


def test_nobody_is_asked_without_a_check(data: Path, server: EndpointServer) -> None:
    server.calls.clear()
    found = draft(data, Given(server.url, model="big"), check=False)
    assert (server.calls, found.call) == ([], None)
    with pytest.raises(ConfigError, match="--cloud-model"):
        draft(data, Given(server.url), check=False)


def test_one_s_own_machine_is_taken_to_cost_nothing_and_others_must_say(
    data: Path, server: EndpointServer
) -> None:
    found = draft(data, Given(server.url))
    assert any("cost nothing" in text for text in found.warnings)
    assert "max_dollars" not in found.settings["cloud"]
    with pytest.raises(ConfigError, match="what does it charge"):
        draft(data, Given("https://api.example.com/v1", model="big"))


def test_one_of_several_models_is_named(data: Path) -> None:
    async def two(call: Call) -> web.StreamResponse:
        return web.json_response({"data": [{"id": "big"}, {"id": "bigger"}]})

    with serving(two) as server, pytest.raises(ConfigError, match="has big, bigger; name one by"):
        draft(data, Given(server.url))


def test_a_cloud_that_refuses_ends_it(data: Path) -> None:
    async def script(call: Call) -> web.StreamResponse:
        return refused(401)()

    with serving(script) as server, pytest.raises(CloudError, match="401"):
        draft(data, Given(server.url, model="big"))


def test_the_key_is_read_from_its_variable_and_stands_nowhere(
    data: Path, server: EndpointServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-hidden-0123456789")
    server.calls.clear()
    found = draft(data, Given(server.url, key_env="MY_KEY"))
    sent = {call.headers["authorization"] for call in server.calls}
    assert sent == {"Bearer sk-hidden-0123456789"}
    assert found.settings["cloud"]["http"]["api_key_env"] == "MY_KEY"
    assert "sk-hidden" not in found.text + json.dumps(found.to_json())


def test_lengths_are_those_of_the_model_s_own_tokens(data: Path) -> None:
    whole = draft(data)
    found, asked = whole.lengths, f"{whole.found.data.instruction}\n7+7\n"
    # The tiny model has a token for each character; the longest answer is '#### 14', and the end.
    assert (found.longest_question, found.answer) == (len(asked), 8)
    assert found.unread == ""


def test_what_the_model_cannot_read_is_a_warning(data: Path) -> None:
    data.write_text(data.read_text().replace("+", "Ä+"))
    assert any("no token for Ä" in text for text in draft(data).warnings)


def test_a_label_needs_no_more_room_than_the_labels(data: Path) -> None:
    rng = random.Random(0)
    lines = [f"text {i},{rng.choice(['to the left', 'up'])}" for i in range(60)]
    data.write_text("\n".join(["text,label", *lines]))
    found = draft(data)
    assert found.settings["data"]["mine"]["checker"] == "label"
    assert found.settings["max_completion_length"] == 24  # of the tiny model, whatever it learns


def test_nothing_is_written(data: Path, server: EndpointServer) -> None:
    before = snapshot(data.parent.parent)
    draft(data, Given(server.url))
    assert snapshot(data.parent.parent) == before
