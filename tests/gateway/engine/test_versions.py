"""Versions come and go under requests: none fails, none is answered by another than it names."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.gateway.engine.engines import adapter, engine_of, job, read, running
from tests.models.small import write_checkpoint
from understudy.gateway.engine import EngineError, Job, Written
from understudy.gateway.engine.digests import adapter_digest
from understudy.gateway.engine.lane import SharedPrefix
from understudy.gateway.engine.local import LocalEngine
from understudy.gateway.engine.prefixes import Prefixes

WEIGHTS = "adapter_model.safetensors"
SYSTEM = {"role": "system", "content": "The quick brown fox jumps over the lazy dog."}
WORDS = ["fox", "dog", "12 + 30 =", "Tom has 3 pens."]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("base"), "llama", chat=True)


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("adapters")
    return [adapter(base, root / str(seed), seed) for seed in range(3)]


def asked(word: str, version: str) -> Job:
    messages = (SYSTEM, {"role": "user", "content": word})
    return Job("1", messages, version, max_tokens=10)


async def swaps_under_streams(
    engine: LocalEngine, adapters: list[Path], swaps: int, streams: int
) -> tuple[int, list[str]]:
    """Requests made, and those whose answer is not their version's."""
    known: dict[tuple[int, str], str] = {}
    for place, folder in enumerate(adapters):
        await engine.load(f"alone@{place}", folder)
        for word in WORDS:
            known[place, word] = (await read(engine, asked(word, f"alone@{place}")))[1].text
        await engine.unload(f"alone@{place}")
    await engine.load("swap@0", adapters[0])
    serving, ends, made, wrong = [0], asyncio.Event(), 0, []

    async def ask(number: int) -> None:
        nonlocal made
        while not ends.is_set():
            number += 1
            swap, word = serving[-1], WORDS[number % len(WORDS)]
            _, written = await read(engine, asked(word, f"swap@{swap}"))
            made += 1
            expected = known[swap % len(adapters), word]
            if (written.version, written.text) != (f"swap@{swap}", expected):
                wrong.append(f"{written} is not {expected!r}")

    going = [asyncio.create_task(ask(number)) for number in range(streams)]
    for swap in range(1, swaps + 1):
        await engine.load(f"swap@{swap}", adapters[swap % len(adapters)])
        serving.append(swap)
        await engine.unload(f"swap@{swap - 1}")
    ends.set()
    await asyncio.gather(*going)
    assert engine.versions() == ["base@0", f"swap@{swaps}"]
    return made, wrong


@pytest.mark.parametrize("backend", ["auto", "transformers"])
def test_swaps_under_streams(backend: str, base: Path, adapters: list[Path]) -> None:
    with running(engine_of(base, backend, rows=8)) as engine:  # type: ignore[arg-type]
        made, wrong = asyncio.run(swaps_under_streams(engine, adapters, 6, 8))
    assert made >= 8
    assert wrong == []


@pytest.mark.slow
def test_a_hundred_swaps_under_32_streams(base: Path, adapters: list[Path]) -> None:
    with running(engine_of(base, rows=32)) as engine:
        made, wrong = asyncio.run(swaps_under_streams(engine, adapters, 100, 32))
    assert made >= 100
    assert wrong == []


def test_a_request_ends_on_the_version_it_began_with(base: Path, adapters: list[Path]) -> None:
    """It is unloaded only then, and meanwhile takes nobody new."""

    async def begin_and_unload() -> tuple[Written, Written]:
        await engine.load("a@1", adapters[0])
        question = job("fox", "a@1", max_tokens=100, temperature=1.4, seed=2)
        _, alone = await read(engine, question)
        stream = engine.write(question)
        items = [await anext(stream)]  # type: ignore[arg-type]
        unloading = asyncio.create_task(engine.unload("a@1"))
        await engine.load("a@2", adapters[1])
        with pytest.raises(EngineError, match="a@1 is not loaded"):
            await read(engine, question)
        assert not unloading.done()
        items += [item async for item in stream]
        await unloading
        last = items[-1]
        assert isinstance(last, Written)
        return alone, last

    with running(engine_of(base)) as engine:
        alone, last = asyncio.run(begin_and_unload())
    assert (last.text, last.version) == (alone.text, "a@1")
    assert last.completion_tokens > 2


def test_an_adapter_that_is_not_that_of_its_folder_is_refused(
    base: Path, adapters: list[Path], tmp_path: Path
) -> None:
    known = adapter_digest(adapters[0])
    other = shutil.copytree(adapters[0], tmp_path / "changed")
    tensors = load_file(other / WEIGHTS)
    first = next(iter(tensors))
    save_file({**tensors, first: tensors[first] + 1e-3}, other / WEIGHTS)
    assert adapter_digest(other) != known
    with running(engine_of(base)) as engine:
        with pytest.raises(EngineError, match="not those that it should hold"):
            asyncio.run(engine.load("a@1", other, known))
        asyncio.run(engine.load("a@1", adapters[0], known))
        asyncio.run(engine.load("a@1", adapters[0]))  # the same once more
        assert engine.digest("a@1") == known
        with pytest.raises(EngineError, match="already with other tensors"):
            asyncio.run(engine.load("a@1", other))
        assert engine.versions() == ["base@0", "a@1"]


def test_an_adapter_of_another_model_is_refused(
    base: Path, adapters: list[Path], tmp_path: Path
) -> None:
    larger = write_checkpoint(tmp_path / "larger", "llama", chat=True, hidden_size=64)
    foreign = adapter(larger, tmp_path / "foreign", 1)
    cut = shutil.copytree(adapters[0], tmp_path / "cut")
    save_file({"base_model.model.x": torch.zeros(1)}, cut / WEIGHTS)
    with running(engine_of(base)) as engine:
        with pytest.raises(EngineError, match="was trained on"):
            asyncio.run(engine.load("a@1", foreign))
        shape = (foreign / "adapter_config.json").read_text().replace(str(larger), str(base))
        (foreign / "adapter_config.json").write_text(shape)
        with pytest.raises(EngineError, match="trained on another model"):
            asyncio.run(engine.load("a@1", foreign))
        with pytest.raises(EngineError, match="no tensor of a plain adapter"):
            asyncio.run(engine.load("a@1", cut))
        with pytest.raises(EngineError, match="holds no adapter_config"):
            asyncio.run(engine.load("a@1", tmp_path))
        assert engine.versions() == ["base@0"]
        assert asyncio.run(read(engine, job("fox", max_tokens=3)))[1].completion_tokens


def test_prefixes_are_bounded_and_each_versions_own() -> None:
    prefixes = Prefixes(100)

    def keep(version: str, tokens: tuple[int, ...], size: int = 40) -> None:
        prefixes.keep(tokens, SharedPrefix(version, len(tokens), None, size))

    keep("a@1", (1, 2))
    keep("a@2", (1, 2))
    assert prefixes.find("a@3", (1, 2)) is None
    found = prefixes.find("a@1", (1, 2))
    assert found is not None
    assert found.version == "a@1"
    keep("a@1", (3,))  # the one that was used least recently goes
    assert prefixes.find("a@2", (1, 2)) is None
    assert prefixes.find("a@1", (1, 2)) is not None
    assert prefixes.size == 80
    prefixes.forget("a@1")
    assert (len(prefixes), prefixes.size) == (0, 0)


def test_what_prompts_begin_with_is_known_or_seen() -> None:
    prefixes = Prefixes(100)
    prompt = tuple(range(50))
    assert prefixes.begun(prompt, 40) == 40
    assert prefixes.begun(prompt, 50) == 49  # one token is left
    assert prefixes.begun(prompt, 3) == 0  # too short
    assert prefixes.begun(prompt, 0) == 0  # the first of its kind
    assert prefixes.begun((*prompt[:45], 99, 98), 0) == 32  # whole multiples of 16
    assert prefixes.begun(tuple(range(100, 150)), 0) == 0
