"""The local engine: what it writes is what an examination reads, whoever is beside a request."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.gateway.engine.engines import adapter, engine_of, job, read, read_all, running
from tests.models.small import write_checkpoint
from understudy.gateway.engine import EngineBusy, EngineError, Job, JobRefused, Written
from understudy.gateway.engine.base import build_base
from understudy.gateway.engine.local import LocalEngine
from understudy.gateway.engine.options import EngineOptions
from understudy.models.policy import Backend, Policy
from understudy.offload.local import LocalAnswer, greedy
from understudy.types import Problem

KINDS: list[tuple[str, Backend]] = [
    ("llama", "auto"),
    ("qwen2-tied", "auto"),
    ("llama", "transformers"),
    ("qwen3", "auto"),
    ("gemma2", "auto"),
    ("gpt2", "auto"),
]
EACH = pytest.mark.parametrize(("kind", "backend"), KINDS)
QUESTIONS = ["Tom has 3 pens.", "fox", "12 + 30 =", "How many dogs are lazy? " * 3, "If"]
MOST = 12


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bases")
    for kind in {kind for kind, _ in KINDS}:
        write_checkpoint(root / kind, kind, chat=True)
    return root


def examined(
    folder: Path, backend: Backend, texts: list[str], instruction: str = ""
) -> list[LocalAnswer]:
    policy = Policy.load(str(folder), backend=backend)
    problems = [Problem(text, "", "f", 1, "", instruction) for text in texts]
    return greedy(policy, problems, MOST)


def assert_same(written: Written, known: LocalAnswer) -> None:
    assert written.text.rstrip("\ufffd") == known.answer.rstrip("\ufffd")
    assert written.completion_tokens == known.completion_tokens
    assert written.prompt_tokens == known.prompt_tokens
    assert written.margin == pytest.approx(known.margin, abs=1e-4)
    assert written.mean_entropy == pytest.approx(known.mean_entropy, abs=1e-4)


@EACH
def test_answers_and_evidence_are_those_of_an_examination(
    kind: str, backend: Backend, folders: Path
) -> None:
    known = examined(folders / kind, backend, QUESTIONS)
    with running(engine_of(folders / kind, backend, piece=7)) as engine:
        jobs = [job(question, max_tokens=MOST) for question in QUESTIONS]
        for written, each in zip(asyncio.run(read_all(engine, jobs)), known, strict=True):
            assert_same(written, each)
        again = asyncio.run(read_all(engine, jobs))
    for written, each in zip(again, known, strict=True):
        assert_same(written, each)


@pytest.mark.parametrize(("kind", "backend"), [KINDS[0], KINDS[3]])
def test_what_prompts_share_is_read_once(kind: str, backend: Backend, folders: Path) -> None:
    instruction = "The quick brown fox jumps over the lazy dog. " * 2
    known = examined(folders / kind, backend, QUESTIONS, instruction)
    system = {"role": "system", "content": instruction}
    jobs = [
        Job(str(i), (system, {"role": "user", "content": text}), "base@0", max_tokens=MOST)
        for i, text in enumerate(QUESTIONS)
    ]
    with running(engine_of(folders / kind, backend)) as engine:
        first = asyncio.run(read_all(engine, jobs))
        second = asyncio.run(read_all(engine, jobs))
    for written, each in zip([*first, *second], known * 2, strict=True):
        assert_same(written, each)
    shared = max(written.cached_tokens for written in first)
    assert shared > 20
    assert sorted(written.cached_tokens for written in first) == [0, *[shared] * 4]
    assert all(written.cached_tokens >= shared for written in second)


@EACH
def test_versions_live_side_by_side(
    kind: str, backend: Backend, folders: Path, tmp_path: Path
) -> None:
    """Every version answers as its adapter does alone, also where rows of three are together."""
    base = folders / kind
    one = adapter(base, tmp_path / "1", 1, backend)
    two = adapter(base, tmp_path / "2", 2, backend)
    known = {
        "base@0": examined(base, backend, QUESTIONS),
        "a@1": examined(one, backend, QUESTIONS),
        "a@2": examined(two, backend, QUESTIONS),
    }
    jobs = [job(text, version, max_tokens=MOST) for version in known for text in QUESTIONS]

    async def serve() -> list[Written]:
        await engine.load("a@1", one)
        await engine.load("a@2", two)
        return await read_all(engine, jobs)

    with running(engine_of(base, backend)) as engine:
        found = asyncio.run(serve())
    expected = [each for answers in known.values() for each in answers]
    assert [each.answer for each in known["a@1"]] != [each.answer for each in known["a@2"]]
    for asked, written, each in zip(jobs, found, expected, strict=True):
        assert written.version == asked.version
        assert_same(written, each)


def test_a_seed_repeats_a_text_whoever_is_beside_it(folders: Path) -> None:
    asked = job("fox", max_tokens=20, temperature=1.0, top_p=0.9, seed=5)
    others = [job(text, max_tokens=9, temperature=1.0) for text in QUESTIONS]
    with running(engine_of(folders / "llama")) as engine:
        (alone,) = asyncio.run(read_all(engine, [asked]))
        beside = asyncio.run(read_all(engine, [*others, asked]))[-1]
        (other,) = asyncio.run(
            read_all(engine, [job("fox", max_tokens=20, temperature=1.0, seed=6)])
        )
    assert alone.text == beside.text != other.text


def test_who_hangs_up_leaves_at_once(folders: Path) -> None:
    async def hang_up() -> None:
        stream = engine.write(job("fox", max_tokens=200, temperature=1.5, seed=1, stop=()))
        await anext(stream)  # type: ignore[arg-type]
        assert engine.load_now().running == 1
        await stream.aclose()  # type: ignore[attr-defined]
        for _ in range(500):
            if not engine.load_now().running:
                break
            await asyncio.sleep(0.01)
        assert engine.load_now().running == 0
        _, written = await read(engine, job("fox", max_tokens=3))
        assert written.completion_tokens <= 3

    with running(engine_of(folders / "llama", rows=1)) as engine:
        asyncio.run(hang_up())


def test_a_full_queue_says_so_and_keys_take_turns(folders: Path) -> None:
    async def crowd() -> tuple[list[str], list[object]]:
        ended: list[str] = []

        async def ask(key: str) -> None:
            await read(engine, job("fox", max_tokens=4, key=key))
            ended.append(key)

        async def begin_when_all_wait() -> None:
            while engine.load_now().waiting < 6:
                await asyncio.sleep(0.001)
            all_wait.set()

        keys = ["a", "a", "a", "a", "b", "a", "a"]
        engine._loop.call(all_wait.wait)  # nobody begins before all are there
        asked = asyncio.gather(*map(ask, keys), return_exceptions=True)
        await begin_when_all_wait()
        return ended, await asked

    all_wait = threading.Event()
    with running(engine_of(folders / "llama", rows=1, waiting=5)) as engine:
        ended, found = asyncio.run(crowd())
    busy = [each for each in found if isinstance(each, EngineBusy)]
    assert len(busy) + len(ended) == 7
    assert all(each.retry_after > 0 for each in busy)
    assert ended.index("b") <= 2


def test_what_cannot_be_written_is_refused_in_one_line(folders: Path) -> None:
    refused = [
        (job("fox " * 400), "reads fewer than 256"),
        (job(""), "empty"),
        (job("fox", max_tokens=0), "max_tokens=0"),
        (job("fox", tools=({"type": "function", "function": {"name": "f"}},)), "no tools"),
        (Job("1", ({"role": "user", "content": [{"type": "image_url"}]},), "base@0"), "text only"),
    ]
    with running(engine_of(folders / "llama")) as engine:
        for asked, said in refused:
            with pytest.raises(JobRefused, match=said):
                asyncio.run(read(engine, asked))
        with pytest.raises(EngineError, match="other@1 is not loaded; there is base@0"):
            asyncio.run(read(engine, job("fox", "other@1")))


def test_memory_bounds_how_many_are_written_at_once(folders: Path) -> None:
    engine = engine_of(folders / "llama", cache_bytes=1)
    with running(engine):
        found = asyncio.run(read_all(engine, [job(text, max_tokens=5) for text in QUESTIONS]))
    assert len(found) == len(QUESTIONS)


def test_a_long_prompt_does_not_hold_up_who_is_writing(folders: Path) -> None:
    """It is read in pieces of 4 tokens, so 100 of them take 25 passes at least, each of which
    gives the other request a token."""
    events: list[str] = []

    async def follow(engine: LocalEngine, asked: Job, name: str) -> None:
        async for item in engine.write(asked):
            events.append(name if not isinstance(item, Written) else f"{name} ended")

    async def both() -> None:
        free = {"temperature": 1.0, "logprobs": 0}  # a piece for every token
        first = job("fox", max_tokens=150, seed=3, stop=(), **free)
        going = asyncio.create_task(follow(engine, first, "first"))
        while len(events) < 5:
            await asyncio.sleep(0.001)
        await follow(engine, job("fox " * 25, max_tokens=2, **free), "second")
        await going

    with running(engine_of(folders / "llama", piece=4)) as engine:
        asyncio.run(both())
    before = events[: next(i for i, name in enumerate(events) if name.startswith("second"))]
    assert before.count("first") > 20 or "first ended" in before


class FailsOnce:
    """A lane that fails in one pass."""

    def __init__(self, lane: Any) -> None:
        self.lane, self.failed = lane, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.lane, name)

    def read(self, work: Any) -> Any:
        if not self.failed and len(work) > 1:
            self.failed = True
            raise RuntimeError("not enough memory")
        return self.lane.read(work)


@pytest.mark.parametrize(("kind", "backend"), [KINDS[0], KINDS[3]])
def test_a_pass_that_fails_ends_its_requests_and_no_others(
    kind: str, backend: Backend, folders: Path
) -> None:
    engine = engine_of(folders / kind, backend)
    engine.base.model.lane = FailsOnce(engine.base.model.lane)

    async def ask() -> list[Any]:
        jobs = [job(text, max_tokens=5) for text in QUESTIONS]
        asked = (read(engine, each) for each in jobs)
        failed = await asyncio.gather(*asked, return_exceptions=True)
        assert any(isinstance(each, EngineError) for each in failed)
        assert engine.load_now().running == 0
        return await read_all(engine, jobs)

    with running(engine):
        found = asyncio.run(ask())
    known = examined(folders / kind, backend, QUESTIONS)
    assert [each.prompt_tokens for each in found] == [each.prompt_tokens for each in known]


def test_log_probabilities_come_with_the_text(folders: Path) -> None:
    asked = job("fox", max_tokens=12, temperature=1.0, seed=8, logprobs=3)
    with running(engine_of(folders / "llama")) as engine:
        pieces, written = asyncio.run(read(engine, asked))
    known = [each for piece in pieces for each in piece.logprobs]
    assert len(known) in (written.completion_tokens, written.completion_tokens - 1)  # but the end
    assert b"".join(each.utf8 for each in known).decode(errors="replace").startswith(written.text)
    for each in known:
        values = [logprob for _, logprob, _ in each.top]
        assert values == sorted(values, reverse=True)
        assert len(values) == 3
        assert each.logprob <= values[0] + 1e-6
        assert "<ask>" not in {token for token, _, _ in each.top}


def test_the_request_is_never_in_the_text(folders: Path) -> None:
    """A model that would ask at every token says so by its margin, and writes on."""
    policy = Policy.load(str(folders / "llama"))
    with torch.no_grad():
        policy.model.head.weight[policy.tokens.ask] *= 50
    base = build_base(policy, EngineOptions())
    with running(LocalEngine(base, "base@0")) as engine:
        for temperature in (0.0, 1.0):
            asked = job("fox", max_tokens=30, temperature=temperature, seed=1)
            pieces, written = asyncio.run(read(engine, asked))
            assert "<ask>" not in written.text
            assert written.margin is not None
            assert written.margin > 0
            margins = [piece.margin for piece in pieces if piece.margin is not None]
            assert margins == sorted(margins)


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_bfloat16_gives_what_an_examination_in_bfloat16_gives(kind: str, folders: Path) -> None:
    known = greedy(
        Policy.load(str(folders / kind), bf16=True),
        [Problem(text, "", "f", 1, "") for text in QUESTIONS],
        1,
    )
    base = build_base(Policy.load(str(folders / kind), bf16=True), EngineOptions())
    with running(LocalEngine(base, "base@0")) as engine:
        found = asyncio.run(read_all(engine, [job(text, max_tokens=1) for text in QUESTIONS]))
    for written, each in zip(found, known, strict=True):
        assert written.margin == pytest.approx(each.margin, abs=0.25)
        assert written.mean_entropy == pytest.approx(each.mean_entropy, abs=0.1)


@pytest.mark.parametrize(("kind", "backend"), [KINDS[0], KINDS[2], KINDS[3]])
def test_the_next_turn_of_a_conversation_reads_what_is_new(
    kind: str, backend: Backend, folders: Path
) -> None:
    """And writes what it would write if all were read anew, whatever became of the last turn."""
    system = {"role": "system", "content": "The quick brown fox jumps over the lazy dog."}
    first = [system, {"role": "user", "content": "How many pens has Tom now?"}]

    def turn(messages: list[dict[str, str]], **given: Any) -> Job:
        return Job("1", tuple(messages), "base@0", max_tokens=8, **given)

    async def talk(engine: LocalEngine) -> list[Written]:
        (answer,) = await read_all(engine, [turn(first)])
        said = {"role": "assistant", "content": answer.text}
        second = [*first, said, {"role": "user", "content": "fox 12"}]
        other = [*first[:1], {"role": "user", "content": "How many pens has Tim?"}]
        return [answer, *await read_all(engine, [turn(second), turn(second), turn(other)])]

    with running(engine_of(folders / kind, backend)) as engine:
        kept = asyncio.run(talk(engine))
    with running(engine_of(folders / kind, backend, history_bytes=0, prefix_bytes=0)) as engine:
        anew = asyncio.run(talk(engine))
    for one, other in zip(kept, anew, strict=True):
        assert one.text == other.text
        assert one.margin == pytest.approx(other.margin, abs=1e-4)
        assert other.cached_tokens == 0
    # Of two alike at once the second may find what the first has just read, too.
    assert min(kept[1].cached_tokens, kept[2].cached_tokens) > kept[0].prompt_tokens - 4
    assert kept[3].cached_tokens > 20
