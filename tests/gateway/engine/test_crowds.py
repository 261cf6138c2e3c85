"""Crowds of requests of all kinds: each is answered as it is alone, whoever comes, goes and hangs
up beside it."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.gateway.engine.engines import adapter, engine_of, read, running
from tests.models.small import write_checkpoint
from understudy.gateway.engine import Job, Written
from understudy.gateway.engine.local import LocalEngine
from understudy.models.policy import Backend

SYSTEMS = ["", "The quick brown fox jumps over the lazy dog.", "Tom has 3 pens and buys 4. " * 2]
WORDS = ["fox", "Tom", "pens", "12", "+", "30", "=", "dogs", "lazy", "How many", "If"]
VERSIONS = ["base@0", "a@1", "a@2"]


def drawn_jobs(rng: random.Random, count: int) -> list[Job]:
    jobs = []
    for number in range(count):
        system = rng.choice(SYSTEMS)
        text = " ".join(rng.choices(WORDS, k=rng.randint(1, 12)))
        warm = rng.random() < 0.6
        messages = ({"role": "system", "content": system},) if system else ()
        raw = rng.random() < 0.2
        jobs.append(
            Job(
                str(number),
                () if raw else (*messages, {"role": "user", "content": text}),
                rng.choice(VERSIONS),
                prompt=f"{SYSTEMS[1]} {text}" if raw else None,
                max_tokens=rng.choice([1, 3, 20, 90]),
                temperature=rng.choice([0.7, 1.2]) if warm else 0.0,
                top_p=rng.choice([1.0, 0.8]),
                seed=number,
                key=rng.choice("abc"),
            )
        )
    return jobs


async def crowd(engine: LocalEngine, jobs: list[Job], rng: random.Random) -> dict[str, Written]:
    """Answers by job; some come late, some hang up in the middle."""
    found: dict[str, Written] = {}

    async def ask(job: Job, wait: float) -> None:
        await asyncio.sleep(wait)
        found[job.id] = (await read(engine, job))[1]

    async def hang_up(job: Job, wait: float) -> None:
        task = asyncio.create_task(ask(job, wait / 2))
        await asyncio.sleep(wait)
        task.cancel()

    work = [
        (hang_up if rng.random() < 0.2 else ask)(job, rng.choice([0, rng.random() / 10]))
        for job in jobs
    ]
    await asyncio.gather(*work)
    while engine.load_now().running:
        await asyncio.sleep(0.01)
    return found


@pytest.mark.parametrize(("kind", "backend"), [("llama-tied", "auto"), ("qwen3", "auto")])
def test_in_a_crowd_each_is_answered_as_alone(kind: str, backend: Backend, tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", kind, chat=True, max_position_embeddings=512)
    folders = {f"a@{seed}": adapter(base, tmp_path / str(seed), seed, backend) for seed in (1, 2)}
    rng = random.Random(3)
    jobs = drawn_jobs(rng, 40)

    async def serve(engine: LocalEngine) -> dict[str, Written]:
        for version, folder in folders.items():
            await engine.load(version, folder)
        if engine.options.rows > 1:
            return await crowd(engine, jobs, rng)
        return {job.id: (await read(engine, job))[1] for job in jobs}

    # So little memory that prefixes and conversations come and go, too.
    small = {"prefix_bytes": 60_000, "history_bytes": 60_000, "piece": 11}
    with running(engine_of(base, backend, rows=12, **small)) as engine:
        found = asyncio.run(serve(engine))
    with running(engine_of(base, backend, rows=1, prefix_bytes=0, history_bytes=0)) as engine:
        alone = asyncio.run(serve(engine))
    assert len(found) > 25
    for number, written in found.items():
        known = alone[number]
        assert (written.text, written.finish_reason) == (known.text, known.finish_reason)
        assert written.version == known.version
        assert written.completion_tokens == known.completion_tokens
        assert written.margin == pytest.approx(known.margin, abs=1e-3)
    assert any(written.cached_tokens for written in found.values())
    assert any(written.completion_tokens > 64 for written in found.values())
