"""What is opened for serving: runs, folders, names; answers are those of `understudy ask`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import understudy
from tests.gateway.engine.engines import adapter, job, read
from tests.models.small import write_checkpoint
from tests.offload.runs import config_of, run_new, saved_model
from understudy.errors import ConfigError, UnderstudyError
from understudy.gateway.engine import EngineError, Job, JobRefused, Written
from understudy.gateway.engine.opening import open_engine
from understudy.gateway.engine.options import EngineOptions
from understudy.run import RunDirectory

FACTS = [{"families": "facts", "levels": [1, 1], "steps": 2}]
QUESTION = "color of fox? a red b blue c green d white"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that trained all weights of a model without a chat template."""
    model = saved_model(tmp_path_factory.mktemp("model"))
    config = config_of("understudy", model, stream=FACTS)
    return run_new(tmp_path_factory.mktemp("runs") / "plain", config)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run with an adapter, on a data set with an instruction, examples and stop strings."""
    root = tmp_path_factory.mktemp("adapted")
    base = write_checkpoint(root / "base", "llama", chat=True, max_position_embeddings=1024)
    lines = [{"text": f"{n} pens", "label": "ab"[n % 2]} for n in range(60)]
    (root / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    data = {"mine": {"path": str(root / "data.jsonl"), "form": "label", "examples": 2}}
    stream = [{"families": "mine", "steps": 2}]
    given = {"stream": stream, "data": data, "lora__rank": 2, "learning_rate": 0.05}
    return run_new(root / "run", config_of("understudy", base, **given))


async def answered(what: Path | str, *questions: Job, **given: str) -> list[Written]:
    engine = await open_engine(str(what), **given)  # type: ignore[arg-type]
    try:
        return [(await read(engine, each))[1] for each in questions]  # type: ignore[arg-type]
    finally:
        await engine.close()


@pytest.mark.parametrize("kind", ["run", "adapted"])
def test_a_run_answers_as_ask_does(kind: str, request: pytest.FixtureRequest) -> None:
    run: RunDirectory = request.getfixturevalue(kind)
    questions = [QUESTION, QUESTION.replace("fox", "dog")] if kind == "run" else ["7 pens", "fox"]
    version = f"{run.path.name}@2"
    found = asyncio.run(answered(run.path, *(job(text, version) for text in questions)))
    with understudy.load(run.path) as opened:
        for text, written in zip(questions, found, strict=True):
            known = opened.answer(text)
            assert written.text.rstrip("\ufffd") == known.local_text.rstrip("\ufffd")
            assert written.margin == pytest.approx(known.margin, abs=1e-4)
            assert written.completion_tokens <= 8


def test_a_runs_task_puts_its_instruction_and_examples_before_a_question(
    adapted: RunDirectory,
) -> None:
    asked = job("7 pens", "mine@2")
    both = answered(adapted.path, asked, asked, name="mine", task="mine")
    first, second = asyncio.run(both)
    (plain,) = asyncio.run(answered(adapted.path, asked, name="mine", form="plain"))
    assert first.prompt_tokens > plain.prompt_tokens + 20
    assert second.cached_tokens > 20  # instruction and examples
    assert second.text == first.text


def test_a_run_whose_data_is_gone_answers_as_before(adapted: RunDirectory) -> None:
    """An older run, which kept nothing of its data, says how it is served without."""
    asked = job("7 pens", "mine@2")
    (before,) = asyncio.run(answered(adapted.path, asked, name="mine", task="mine"))
    data, kept = adapted.path.parent / "data.jsonl", adapted.data_sets
    away, old = data.rename(data.with_name("away.jsonl")), kept.with_name("kept.json")
    try:
        (after,) = asyncio.run(answered(adapted.path, asked, name="mine", task="mine"))
        kept.rename(old)
        with pytest.raises(ConfigError, match=r"data\.jsonl.*local\.form=plain"):
            asyncio.run(answered(adapted.path))
        (plain,) = asyncio.run(answered(adapted.path, asked, name="mine", form="plain"))
    finally:
        away.rename(data)
        old.rename(kept)
    assert (after.text, after.prompt_tokens) == (before.text, before.prompt_tokens)
    assert plain.completion_tokens > 0


def test_what_a_run_does_not_know_is_refused(run: RunDirectory) -> None:
    async def ask() -> None:
        engine = await open_engine(str(run.path), name="mine")
        try:
            for asked, said in [
                (job(QUESTION, "mine@2", task="chess"), "task chess"),
                (job("Ünknown", "mine@2"), "no token for 'ü'"),
                (job("<ask>", "mine@2"), "<ask>"),
                (Job("1", ({"role": "assistant", "content": "a"},), "mine@2"), "ends with"),
            ]:
                with pytest.raises(JobRefused, match=said):
                    await read(engine, asked)  # type: ignore[arg-type]
        finally:
            await engine.close()

    asyncio.run(ask())


def test_the_tiny_model_is_there_without_anything() -> None:
    (written,) = asyncio.run(answered("tiny", job("3+4", "tiny@0")))
    assert written.text.endswith("7")
    assert written.finish_reason == "stop"
    assert written.margin is not None


def test_the_tiny_model_reads_a_question_that_it_knows_alone() -> None:
    """Also as people type it, and after what clients put before it: it has learnt no such form."""
    system = {"role": "system", "content": "You are a helpful assistant."}
    earlier = ({"role": "user", "content": "hello"}, {"role": "assistant", "content": "hello"})
    asked = {"role": "user", "content": "What is 3 + 4?"}
    jobs = [
        Job(str(number), (*before, asked), "tiny@0")
        for number, before in enumerate([(), (system,), earlier, (system, *earlier)])
    ]
    plain, *found = asyncio.run(answered("tiny", job("3+4", "tiny@0"), *jobs))
    assert {written.text for written in found} == {plain.text}
    assert {written.prompt_tokens for written in found} == {plain.prompt_tokens}
    other = {"role": "user", "content": "what is love?"}
    (whole,) = asyncio.run(answered("tiny", Job("1", (system, other), "tiny@0")))
    assert whole.prompt_tokens > 20


def test_an_adapters_folder_brings_its_base(tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", "llama", chat=True)
    folder = adapter(base, tmp_path / "mine", 1)
    (alone,) = asyncio.run(answered(base, job("fox", "base@0", max_tokens=8)))
    (other,) = asyncio.run(answered(folder, job("fox", "mine@0", max_tokens=8)))
    assert alone.margin != other.margin


def test_a_whole_checkpoint_is_a_version_too(run: RunDirectory, tmp_path: Path) -> None:
    other = saved_model(tmp_path / "other", schooled=False)

    async def both() -> tuple[Written, Written, Written]:
        engine = await open_engine(str(run.path), name="mine")
        try:
            await engine.load("mine@9", other)
            first = job(QUESTION, "mine@2"), job(QUESTION, "mine@9")
            (_, one), (_, two) = await asyncio.gather(*(read(engine, each) for each in first))  # type: ignore[arg-type]
            await engine.unload("mine@2")
            _, again = await read(engine, job(QUESTION, "mine@9"))  # type: ignore[arg-type]
            with pytest.raises(EngineError, match="only one"):
                await engine.unload("mine@9")
            return one, two, again
        finally:
            await engine.close()

    one, two, again = asyncio.run(both())
    assert one.margin != two.margin
    assert again.margin == pytest.approx(two.margin, abs=1e-5)


def test_what_is_no_model_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UnderstudyError, match="no checkpoint there"):
        asyncio.run(open_engine(str(tmp_path)))
    (tmp_path / "config.yaml").write_text("recipe: share\n")
    with pytest.raises(ConfigError, match="understudy share"):
        asyncio.run(open_engine(str(tmp_path), options=EngineOptions()))
