"""A checkpoint of a real model's shape: a run of it that is killed, or finds the disk full, ends
as one that met neither, and every adapter that it leaves is peft's.

Real: grouped heads, biases, a tied head, a byte-level tokenizer, a chat template with a system
message, adapters, products in bfloat16, old answers rehearsed. Small are its sizes alone.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from tests.models.gguf_files import all_ids
from tests.models.small import write_checkpoint
from tests.offload.processes import finished, started
from tests.offload.runs import EVERYTHING, SMALL, config_of, results_of, run_new, settings_of
from tests.offload.stops import CALL, Moment, killed_at, small_disk, stopped_by_a_full_disk
from understudy.models.policy import Policy
from understudy.run import RunDirectory

CLOUD = f"{Path(__file__).with_name('stops.py')}:TellingCloud"
SETTINGS: dict[str, Any] = SMALL | EVERYTHING
SETTINGS |= {"cloud.kind": CLOUD, "lora.rank": 4, "bf16": True, "retention": "rehearsal"}
SETTINGS |= {"retention.rows": 2, "threads": 1, "dtype": "float32"}
MOMENTS: list[Moment] = [
    (CALL,) * 3,  # in the first examination: there is no checkpoint yet
    ("/metrics.jsonl", CALL),  # in a step
    ("/metrics.jsonl",) * 2 + (CALL,),  # later, before the second checkpoint
    ("/.phase-1.part/", "/.phase-1.part/"),  # an adapter is half written
    ("/.step-000002.part/",) * 3,  # a checkpoint is half written
    ("/metrics.jsonl", CALL),  # after the checkpoint of the second step
    ("/.summary.json.part",),
]
FULL: list[tuple[Moment, str]] = [  # and the checkpoint that is the newest then
    (("/.step-000000.part/", "/metrics.jsonl"), "step-000000"),  # a step's line
    (("/.phase-1.part/",), "step-000000"),  # an adapter is half written
    (("/.step-000002.part/",), "step-000000"),  # a checkpoint is half written
    (("/.phase-2.jsonl.part",), "step-000002"),  # an examination's rows
    (("/.step-000004.part/",), "step-000002"),  # the last checkpoint is half written
]


def real_shape(folder: Path, kind: str) -> Path:
    sizes = {"max_position_embeddings": 1024, "num_key_value_heads": 1}
    return write_checkpoint(folder, kind, chat=True, **sizes)


def command(out: Path, base: Path, **settings: Any) -> list[str]:
    given = settings_of(SETTINGS | {"model": str(base)} | settings)
    sets = [part for setting in given for part in ("--set", setting)]
    return ["train", "understudy", "--out", str(out), *sets]


def resuming(start: list[str]) -> list[str]:
    return [*start[:4], "--resume"]


def whole(folder: Path, start: list[str]) -> dict[str, bytes]:
    finished([started(start, folder / "said")], folder / "said")
    return everything(RunDirectory.open(Path(start[3])))


def everything(run: RunDirectory) -> dict[str, bytes]:
    """What a resumed run must repeat, and every phase's adapter."""
    adapters = {
        f"{file.parent.name}/{file.name}": file.read_bytes()
        for file in sorted(run.adapters.glob("phase-*/*"))
        if file.is_file()
    }
    return results_of(run) | adapters


@pytest.mark.parametrize(
    ("kind", "backend", "moments"),
    [
        ("qwen2-tied", "builtin", [MOMENTS[0], MOMENTS[1], MOMENTS[4]]),
        pytest.param("llama-tied", "builtin", MOMENTS, marks=pytest.mark.slow),
        pytest.param("qwen2-tied", "transformers", MOMENTS, marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_at_its_worst_moments_ends_with_the_same_bits(
    kind: str, backend: str, moments: list[Moment], tmp_path: Path
) -> None:
    base, said = real_shape(tmp_path / "base", kind), tmp_path / "said"
    wanted = whole(tmp_path, command(tmp_path / "whole", base, backend=backend))
    assert {"phase-1/adapter_model.safetensors", "retention.safetensors"} <= wanted.keys()
    arguments = command(tmp_path / "run", base, backend=backend)
    for moment in moments:
        killed_at(moment, arguments, said)
        arguments = resuming(arguments)
    finished([started(arguments, said)], said)
    assert everything(RunDirectory.open(tmp_path / "run")) == wanted


@pytest.mark.parametrize(
    ("mounted", "moments"),
    [
        pytest.param(False, FULL[1:3], id="limit"),
        pytest.param(True, FULL, marks=pytest.mark.slow, id="disk"),
    ],
)
def test_a_run_that_finds_the_disk_full_again_and_again_loses_nothing(
    mounted: bool, moments: list[tuple[Moment, str]], tmp_path: Path
) -> None:
    base, said = real_shape(tmp_path / "base", "qwen2-tied"), tmp_path / "said"
    with small_disk(tmp_path / "disk") if mounted else nullcontext() as disk:
        out = (disk or tmp_path) / "run"
        arguments = command(out, base)
        for moment, newest in moments:
            error = stopped_by_a_full_disk(moment, disk, arguments, said)
            assert f"{out}" in error
            assert "make room" in error
            assert "--resume" in error
            run = RunDirectory.open(out)
            assert [str(path) for path in out.rglob("*.part")] == []
            Policy.load(str(run.last_checkpoint()))
            assert run.last_checkpoint().name == newest
            arguments = resuming(arguments)
        finished([started(arguments, said)], said)
        found = everything(RunDirectory.open(out))
    assert found == whole(tmp_path, command(tmp_path / "whole", base))


@pytest.mark.parametrize(
    ("kind", "backend"), [("qwen2-tied", "transformers"), ("llama", "builtin")]
)
def test_the_adapter_of_every_phase_is_pefts(kind: str, backend: str, tmp_path: Path) -> None:
    base = real_shape(tmp_path / "base", kind)
    config = config_of("understudy", base, **SETTINGS | {"backend": backend, "bf16": False})
    run = run_new(tmp_path / "run", config)
    logits = []
    for folder in sorted(run.adapters.iterdir()):
        model = peft.AutoPeftModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        own = Policy.load(str(folder), backend=backend)  # type: ignore[arg-type]
        with torch.no_grad():
            logits.append(model(all_ids()).logits)
            found = own.network(all_ids())
        torch.testing.assert_close(getattr(found, "logits", found), logits[-1])
    assert len(logits) == 2
    assert not torch.equal(*logits)
