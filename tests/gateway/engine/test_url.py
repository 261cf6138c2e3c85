"""Engines by URL, over real sockets: what is probed, passed on, read back, refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.gateway.engine.elsewhere import Elsewhere
from understudy.errors import CloudError, ConfigError
from understudy.gateway.engine import EngineBusy, EngineError, Job, JobRefused, Piece, Written
from understudy.gateway.engine.digests import adapter_digest
from understudy.gateway.engine.opening import open_engine
from understudy.gateway.engine.options import EngineOptions
from understudy.gateway.engine.url import UrlEngine, open_url
from understudy.gateway.engine.url_answers import UrlAnswer

Body = Callable[..., Coroutine[Any, Any, None]]


@asynccontextmanager
async def opened(elsewhere: Elsewhere, **given: Any) -> AsyncIterator[UrlEngine]:
    async with elsewhere.running() as url:
        engine = await open_url(url, **given)
        try:
            yield engine
        finally:
            await engine.close()


async def read(engine: UrlEngine, **given: Any) -> tuple[list[Piece], Written]:
    asked: dict[str, Any] = {"id": "1", "version": "small@0"}
    asked["messages"] = () if "prompt" in given else ({"role": "user", "content": "hi"},)
    items = [item async for item in engine.write(Job(**(asked | given)))]
    assert isinstance(items[-1], Written)
    return [item for item in items if isinstance(item, Piece)], items[-1]


def test_an_answer_is_passed_on_as_it_comes() -> None:
    async def ask() -> None:
        elsewhere = Elsewhere()
        async with opened(elsewhere) as engine:
            assert engine.signals == {"mean_logprob"}
            assert engine.versions() == ["small@0"]
            given = {"max_tokens": 7, "stop": ("x",), "seed": 3, "top_p": 0.5, "schema": {"a": 1}}
            pieces, written = await read(engine, logprobs=1, temperature=0.3, **given)
            assert [piece.text for piece in pieces] == ["I", " am", " small", " é🙂"]
            assert pieces[3].logprobs[0].utf8 == " é🙂".encode()
            assert pieces[3].logprobs[0].top[0][1] == -0.25
            assert written.text == "I am small é🙂"
            assert (written.finish_reason, written.mean_logprob) == ("stop", -0.25)
            assert (written.prompt_tokens, written.completion_tokens) == (9, 5)
            assert (written.margin, written.mean_entropy) == (None, None)
            sent = elsewhere.seen[-1]
            known = {"max_tokens": 7, "stop": ["x"], "seed": 3, "top_p": 0.5, "temperature": 0.3}
            assert known.items() <= sent.items()
            assert sent["response_format"]["json_schema"]["schema"] == {"a": 1}
            pieces, written = await read(engine, prompt="once")
            assert (written.text, written.mean_logprob) == ("I am small é🙂", -0.25)
            assert pieces[0].logprobs == ()
            assert elsewhere.seen[-1]["prompt"] == "once"

    asyncio.run(ask())


def test_what_a_request_does_not_say_is_left_to_the_engine() -> None:
    """It has its own temperature; fields that the gateway does not know are for it."""

    async def ask() -> None:
        elsewhere = Elsewhere()
        async with opened(elsewhere) as engine:
            await read(engine)
            assert not {"temperature", "top_p", "seed", "max_tokens"} & elsewhere.seen[-1].keys()
            more = {"guided_json": {"type": "object"}, "top_k": 5, "logit_bias": {"5": 1}}
            assert engine.unserved(more) == ""
            await read(engine, temperature=0.0, top_p=1.0, more=more | {"stream": False})
            known = more | {"temperature": 0.0, "top_p": 1.0, "stream": True, "model": "small"}
            assert known.items() <= elsewhere.seen[-1].items()

    asyncio.run(ask())


def test_the_string_that_ended_an_answer_is_told() -> None:
    answer = UrlAnswer(Job("1", (), "small@0", stop=("x", "y")))
    answer.take({"choices": [{"delta": {"content": "a"}}]})
    answer.take({"choices": [{"delta": {}, "finish_reason": "stop", "stop_reason": "y"}]})
    assert answer.written().stop == "y"
    answer = UrlAnswer(Job("1", (), "small@0"))
    answer.take({"choices": [{"delta": {}, "finish_reason": "stop", "stop_reason": 128001}]})
    assert answer.written().stop == ""


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (b'{"choices":[{"delta":{"content":"a\\ud83d"},"finish_reason":"stop"}]}', "a?"),
        (b'{"choices":[{"text":"b","finish_reason":"stop","logprobs":NaN}]}', "b"),
        (
            b'{"choices":[{"delta":{"content":"c"},"finish_reason":"stop","logprobs":{"content":'
            b'[{"token":"c","logprob":-1,"top_logprobs":[{"token":"d","logprob":-Infinity}]}]}}]}',
            "c",
        ),
        (b'{"choices":{"0":1}}', None),
        (b'{"choices":[{"delta":"text","finish_reason":"stop"}]}', None),
        (b'{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}],"usage":"much"}', None),
        (b'{"choices":[{"delta":{"content":7},"finish_reason":"stop"}]}', None),
        (b"[" * 100_000, None),
        (b"{", None),
        (b"\xff\xfe", None),
        (b"[]", None),
    ],
)
def test_whatever_an_engine_writes_is_an_answer_or_its_fault(
    event: bytes, text: str | None
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if not body.get("stream"):
            choice = {"message": {"content": "hi"}, "finish_reason": "length"}
            return web.json_response({"choices": [choice]})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: " + event + b"\n\ndata: [DONE]\n\n")
        return response

    async def ask() -> None:
        elsewhere = Elsewhere()
        elsewhere.chat = answer  # type: ignore[method-assign]
        async with opened(elsewhere) as engine:
            if text is None:
                with pytest.raises(EngineError, match="the engine"):
                    await read(engine)
                return
            pieces, written = await read(engine, logprobs=1)
            assert written.text == text
            orjson.dumps([*map(asdict, pieces), asdict(written)], default=repr)  # it can be sent

    asyncio.run(ask())


def test_places_are_as_many_as_are_set() -> None:
    async def ask() -> None:
        async with Elsewhere().running() as url:
            engine = await open_engine(url, options=EngineOptions(rows=3))
            assert isinstance(engine, UrlEngine)
            assert engine._places.rows == 3
            await engine.close()

    asyncio.run(ask())


def test_an_engine_without_log_probabilities_or_counts_is_served_too() -> None:
    async def ask() -> None:
        elsewhere = Elsewhere("ollama", logprobs=False, counts_usage=False)
        async with opened(elsewhere, name="mine") as engine:
            assert engine.signals == frozenset()
            for _ in range(2):
                _, written = await read(engine, version="mine@0")
                assert (written.mean_logprob, written.completion_tokens) == (None, 4)
            assert len(elsewhere.seen) == 4  # the probe, a refusal of stream_options, two answers
            with pytest.raises(EngineError, match="takes no adapter while it runs"):
                await engine.load("mine@1", Path("x"))

    asyncio.run(ask())


def test_vllm_loads_adapters_by_name(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")

    async def ask() -> None:
        elsewhere = Elsewhere(pause=0.02)
        async with opened(elsewhere) as engine:
            with pytest.raises(EngineError, match="not those that it should hold"):
                await engine.load("small@3", tmp_path, "0" * 64)
            await engine.load("small@3", tmp_path, adapter_digest(tmp_path))
            assert elsewhere.adapters == ["small@3"]
            with pytest.raises(EngineError, match="no adapter in that folder"):
                await engine.load("small@4", tmp_path / "none")
            reading = asyncio.create_task(read(engine, version="small@3"))
            await asyncio.sleep(0.03)
            await engine.unload("small@3")  # after its last request
            _, written = reading.result()
            assert (written.text, written.version) == ("I am small@3 é🙂", "small@3")
            assert elsewhere.adapters == []
            assert engine.versions() == ["small@0"]
            with pytest.raises(EngineError, match="small@3 is not loaded"):
                await read(engine, version="small@3")

    asyncio.run(ask())


def test_llama_cpp_scales_the_adapters_that_it_began_with(tmp_path: Path) -> None:
    async def ask() -> None:
        elsewhere = Elsewhere("llama.cpp", adapters=["lora/small@3.gguf", "lora/small@4.gguf"])
        async with opened(elsewhere) as engine:
            await engine.load("small@4", tmp_path)
            await read(engine, version="small@4")
            assert elsewhere.seen[-1]["lora"] == [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 1.0}]
            await read(engine)
            assert elsewhere.seen[-1]["lora"] == [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 0.0}]
            with pytest.raises(EngineError, match=r"at its start only, and has small@3\.gguf"):
                await engine.load("small@5", tmp_path)

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, JobRefused), (401, EngineError), (429, EngineBusy), (500, EngineError)],
)
def test_a_refusal_says_whose_fault_it_is(status: int, kind: type[EngineError]) -> None:
    """In the engine's words only where they are about the question: others may quote the key."""

    async def ask() -> None:
        async with opened(Elsewhere(refuses=status)) as engine:
            with pytest.raises(kind, match=f"the engine answers HTTP {status}") as caught:
                await read(engine)
            assert ("not this" in str(caught.value)) == (status == 400)
            assert engine._counts_usage is None
            if isinstance(caught.value, EngineBusy):
                assert caught.value.retry_after == 7.0

    asyncio.run(ask())


def test_half_an_answer_is_no_answer() -> None:
    async def ask() -> None:
        async with opened(Elsewhere(breaks=True)) as engine:
            with pytest.raises(EngineError, match="broke off in mid-answer"):
                await read(engine)

    asyncio.run(ask())


def test_who_hangs_up_is_hung_up_for(tmp_path: Path) -> None:
    async def ask() -> None:
        elsewhere = Elsewhere(pause=0.05)
        async with opened(elsewhere, options=EngineOptions(rows=1, waiting=1)) as engine:
            asked = Job("1", ({"role": "user", "content": "hi"},), "small@0")
            stream = engine.write(asked)
            await anext(stream)  # type: ignore[arg-type]
            waiting = asyncio.create_task(read(engine))
            await asyncio.sleep(0)
            assert (engine.load_now().running, engine.load_now().waiting) == (1, 1)
            with pytest.raises(EngineBusy):
                await read(engine)
            await stream.aclose()  # type: ignore[attr-defined]
            await waiting
            assert elsewhere.cancelled == 1
            assert engine.load_now().running == 0

    asyncio.run(ask())


def test_what_is_no_engine_is_said_in_one_line() -> None:
    async def ask() -> None:
        async with Elsewhere(models=["a", "b"], key="secret").running() as url:
            with pytest.raises(CloudError, match="answers HTTP 401; give the address") as no:
                await open_url(url, key="other")
            assert "other" not in str(no.value)
            with pytest.raises(ConfigError, match=r"has a, b; name one by local\.model"):
                await open_url(url, key="secret")
            with pytest.raises(ConfigError, match=r"local\.model=c"):
                await open_url(url, key="secret", model="c")
            engine = await open_engine(url, key="secret", model="b", name="mine")
            assert engine.versions() == ["mine@0"]
            assert "secret" not in repr(engine)
            await engine.close()
            with pytest.raises(CloudError, match="answers HTTP 404"):
                await open_url(url.removesuffix("/v1"), key="secret")
        with pytest.raises(CloudError, match="does not answer"):
            await open_url(url)

    asyncio.run(ask())


def test_it_needs_no_torch() -> None:
    """Nor numpy, nor transformers: a gateway in front of engines by URL is small."""
    script = """
import asyncio, sys
for name in ("torch", "numpy", "transformers", "tokenizers", "safetensors"):
    sys.modules[name] = None
from tests.gateway.engine.elsewhere import Elsewhere
from understudy.gateway.engine import Job
from understudy.gateway.engine.digests import adapter_digest
from understudy.gateway.engine.opening import open_engine
async def main():
    async with Elsewhere().running() as url:
        engine = await open_engine(url)
        job = Job("1", ({"role": "user", "content": "hi"},), "small@0")
        items = [item async for item in engine.write(job)]
        await engine.close()
        print(items[-1].text)
asyncio.run(main())
"""
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "I am small é🙂", done.stderr


def test_an_engine_that_has_gone_keeps_its_address_to_itself() -> None:
    """Callers are told why they get no answer."""

    async def ask() -> None:
        async with Elsewhere().running() as url:
            engine = await open_url(url)
        try:
            with pytest.raises(EngineError, match="the engine broke off: ") as caught:
                await read(engine)
            address = url.removeprefix("http://").removesuffix("/v1")
            assert not any(part in str(caught.value) for part in address.split(":"))
        finally:
            await engine.close()

    asyncio.run(ask())
