"""`understudy serve` from the command line, as somebody who tries it."""

from __future__ import annotations

import asyncio
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import yaml

from tests.gateway.echo import EchoCore
from tests.gateway.served import ROOT, serving
from tests.gateway.upstream import Behaviour, MockUpstream
from understudy.cli.serve import greeting
from understudy.gateway.clouds import open_clouds
from understudy.gateway.door.door import Door
from understudy.gateway.door.settings import DoorSettings
from understudy.gateway.settings import ServeSettings
from understudy.store.database import open_database
from understudy.store.keys import Keys

EASY = "tom has 12 pens, buys 5. how many?"
HARD = "max has 41 cards, sells 13, finds 46, eats 4. how many?"


CLOUD = ["--cloud", "http://localhost:9/v1", "--cloud-model", "big"]


def refused(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "understudy", "serve", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_a_minute_for_anyone(tmp_path: Path) -> None:
    """Nothing is given: the shipped model answers what is easy, and asks what is hard."""
    with serving("--max-dollars", "1/day", store=tmp_path / "g.db") as gateway:
        client = openai.OpenAI(base_url=gateway.url, api_key="none")
        said = [{"role": "user", "content": EASY}]
        answer = client.chat.completions.with_raw_response.create(model="auto", messages=said)  # type: ignore[arg-type]
        assert answer.headers["x-understudy-answered-by"] == "local"
        assert "17" in (answer.parse().choices[0].message.content or "")
        said = [{"role": "user", "content": HARD}]
        answer = client.chat.completions.with_raw_response.create(model="auto", messages=said)  # type: ignore[arg-type]
        assert answer.headers["x-understudy-answered-by"] == "cloud"
        assert "above the threshold" in answer.headers["x-understudy-why"]
        left = answer.headers["x-understudy-left"]
        assert left.startswith("dollars/day=0.9999")
        stream = client.chat.completions.create(model="auto", messages=said, stream=True)  # type: ignore[call-overload]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        assert "70" in text
        kept = client.chat.completions.create(model="auto", messages=said, store=True)  # type: ignore[call-overload]
        assert [each.id for each in client.chat.completions.list()] == [kept.id]
        page = httpx2.get(gateway.url.removesuffix("v1")).text
        assert "<html" in page
        assert "above the threshold" in page
        metrics = httpx2.get(f"{gateway.url.removesuffix('v1')}metrics").text
        assert 'understudy_requests_total{answered_by="local"} 1.0' in metrics
        assert 'understudy_spend_dollars_total{cloud="simulated"}' in metrics
        for question in (EASY, HARD, "What is 17 + 25?", "3 + 4 = ?"):
            # Many clients put a system message before whatever they ask.
            said = [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": question},
            ]
            answer = client.chat.completions.with_raw_response.create(model="auto", messages=said)  # type: ignore[arg-type]
            assert answer.parse().choices[0].message.content
            if question == EASY:
                assert answer.headers["x-understudy-answered-by"] == "local"
        for question in ("hello", "Hello!", "who are you"):
            said = [{"role": "user", "content": question}]
            for model in ("auto", "local"):
                with pytest.raises(
                    openai.APIStatusError, match="only generated questions, such as"
                ):
                    client.with_options(max_retries=0).chat.completions.create(
                        model=model,
                        messages=said,  # type: ignore[arg-type]
                    )
        names = {model.id for model in client.models.list()}
        assert {"auto", "local", "cloud", "demo@0", "simulated"} <= names
        assert gateway.stop() == 0
    assert any('"opening the local model, demo"' in line for line in gateway.log)
    # What is kept is in the files themselves: they may be copied now.
    assert sorted(each.name for each in tmp_path.iterdir()) == ["g-events.db", "g-secret", "g.db"]


def test_who_starts_it_reads_how_to_ask(tmp_path: Path) -> None:
    keys = Keys(open_database(tmp_path / "g.db"))

    def said(local: str = "demo", **settings: Any) -> str:
        door = Door(EchoCore(), DoorSettings.model_validate(settings), keys=keys)
        shown = ServeSettings.model_validate({"local": {"path": local}})
        return greeting(shown, door.settings.address(81), door, "g.db")

    assert HARD in said()
    assert HARD not in said(local="my.gguf")
    assert "keys create" not in said()
    assert "Bearer" not in said()
    for settings in ({"host": "0.0.0.0"}, {"keys": "required"}):
        assert "understudy keys create NAME --scope inference " in said(**settings)
        assert "--scope dashboard --store 'g.db'" in said(**settings)
        assert "'authorization: Bearer KEY'" in said(**settings)
    assert "at http://127.0.0.1:81/v1, and" in said()
    for host in ("0.0.0.0", "::"):
        everywhere = f"at http://{platform.node()}:81/v1, on every address of it, and shows"
        assert everywhere in said(host=host)
    keys.create("app")
    keys.read()
    assert "Bearer KEY" in said()
    assert "keys create" not in said(host="0.0.0.0")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, True),
        ({"store": {"caps": [{"dollars": 5, "per": "day"}]}}, False),
        ({"clouds": {"own": {"prices": {"prompt": 0, "completion": 0}}}}, False),
        ({"clouds": {}}, False),
    ],
)
def test_a_paid_cloud_without_a_cap_is_warned_of(given: dict[str, Any], told: bool) -> None:
    place = {"base_url": "http://localhost:9/v1", "model": "big"}
    paid = {"big": {"prices": {"prompt": 1, "completion": 4}}}
    clouds = {name: place | each for name, each in given.get("clouds", paid).items()}
    said: list[str] = []
    open_clouds(ServeSettings.model_validate(given | {"clouds": clouds}), said.append)
    assert any("--max-dollars 5/day" in each for each in said) == told


def test_a_mistyped_run_is_one_short_line() -> None:
    # The hub's own client is told to stay off the network.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        for place in ("runs/nowhere", "./runs/nowhere"):
            said = refused("--local", place, "--port", "0")
            assert "no such folder" in said
            assert len(said) < 250


def test_the_settings_are_shown_and_nothing_starts() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "understudy", "serve", "--dry-run", "--max-dollars", "5/day"),
            *("--cloud", "http://localhost:9/v1", "--cloud-model", "big", "--prices", "1/4"),
            *("--share", "0.2", "--set", "clouds.main.max_tokens=77", "--local", "none"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    shown = yaml.safe_load(done.stdout)
    assert shown["clouds"]["main"]["prices"]["completion"] == 4.0
    assert shown["clouds"]["main"]["max_tokens"] == 77
    caps = shown["store"]["caps"]
    assert [(cap["dollars"], cap["share"], cap["per"]) for cap in caps] == [
        (5.0, None, "day"),
        (None, 0.2, "lifetime"),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cloud", "http://localhost:9/v1"], "give its model's name with --cloud-model"),
        (
            ["--cloud", "http://localhost:9/v1", "--cloud-model", "big"],
            "clouds.main.prices: no price for big",
        ),
        ([*CLOUD, "--prices", "1"], "--prices 1: is no file, and no pair of prices; write 0.5/2"),
        ([*CLOUD, "--prices", "1/x"], "--prices 1/x: is no file, and no pair of prices"),
        (["--prices", "1/2"], "--prices 1/2: of which cloud? Give --cloud, or a table"),
        (
            [*CLOUD, "--prices", "1/2", "--config", "deploy/gateway.yaml"],
            "--cloud: deploy/gateway.yaml has clouds.main already; change it there",
        ),
        (["--max-dollars", "much"], "--max-dollars much: write a number"),
        (["--share", "2"], "--share 2.0: is from 0 to 1"),
        (["--local", "none"], "nobody answers"),
        (["--local", "runs/missing"], "runs/missing"),
        (["--set", "polcy.dial=1"], "did you mean policy.dial"),
        (["--router", "calibrated", "--local", "tiny"], "there is no run to fit it on"),
    ],
)
def test_what_cannot_be_served_is_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    assert said in refused(*arguments, "--port", "0", "--store", str(tmp_path / "g.db"))


WITHOUT = """
import sys
for name in ("torch", "numpy", "transformers"):
    sys.modules[name] = None
from understudy.__main__ import main
sys.argv = ["understudy", *sys.argv[1:]]
main()
"""


def test_a_gateway_in_front_of_urls_needs_no_torch(tmp_path: Path) -> None:
    """The local engine is an endpoint too: its own answers decide by their log-probability."""

    async def go() -> None:
        async with (
            MockUpstream.of(Behaviour(words=2, prefix="near")) as near,
            MockUpstream.of(Behaviour(words=2, prefix="far")) as far,
        ):
            arguments = [
                *("--local", near.url, "--cloud", far.url, "--cloud-model", "big"),
                *("--prices", "1/4", "--max-dollars", "1/day"),
                *("--port", "0", "--store", str(tmp_path / "g.db")),
            ]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", WITHOUT, "serve", *arguments),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                assert process.stdout is not None
                line = await asyncio.wait_for(process.stdout.readline(), 120)
                assert b"serves at" in line, await process.stderr.read()  # type: ignore[union-attr]
                client = openai.AsyncOpenAI(
                    base_url=line.split()[3].rstrip(b",").decode(), api_key="none"
                )
                said = [{"role": "user", "content": "hello"}]
                for model, text in (("auto", "near0 near1"), ("cloud", "far0 far1")):
                    answer = await client.chat.completions.create(model=model, messages=said)  # type: ignore[arg-type]
                    assert answer.choices[0].message.content == text
                assert far.bodies[0]["model"] == "big"
            finally:
                process.terminate()
                await process.wait()

    asyncio.run(go())


def test_settings_of_the_gateway_load_nothing_heavy() -> None:
    script = (
        "import sys; from understudy.gateway.settings import ServeSettings; ServeSettings(); "
        "from understudy.settings import described_settings; described_settings(ServeSettings); "
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    heavy = {"torch", "numpy", "transformers", "aiohttp", "starlette", "sqlalchemy"}
    assert heavy & set(done.stdout.split()) == set(), done.stderr
    assert done.returncode == 0
