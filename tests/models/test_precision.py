"""Threads and precision where nobody sets them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.models.small import KINDS, network, write_checkpoint
from understudy.errors import CheckpointError
from understudy.models import precision
from understudy.models.lora import Lora
from understudy.models.policy import Policy
from understudy.models.precision import (
    chosen_bf16,
    chosen_threads,
    native_bf16,
    parameters_of,
)

TINY, LARGE = 350_000, 135_000_000


def test_a_small_model_computes_with_one_thread_in_float32() -> None:
    assert parameters_of("tiny") < 500_000
    for parameters in (TINY, 4_999_999):
        assert chosen_threads(parameters) == 1
        assert not chosen_bf16(parameters, "cpu")


def test_a_larger_model_takes_the_cores_that_the_process_may_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert chosen_threads(LARGE) == len(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert [chosen_threads(LARGE, processes) for processes in (1, 2, 3, 100)] == [8, 4, 2, 1]


@pytest.mark.parametrize(
    ("asked", "threads"), [("3", 3), (" 2, 1", 2), ("", 8), ("0", 8), ("all", 8)]
)
def test_a_number_of_threads_in_the_environment_counts(
    asked: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert chosen_threads(LARGE) == threads
    assert chosen_threads(TINY) == 1


@pytest.mark.parametrize("has", [True, False])
def test_products_are_in_bfloat16_where_the_processor_has_them(
    has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(native_bf16()) == {"avx512_bf16", "amx_bf16", "bf16"}
    monkeypatch.setattr(precision, "native_bf16", lambda: {"one": False, "other": has})
    assert chosen_bf16(LARGE, "cpu") == has
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has)
    assert chosen_bf16(LARGE, "cuda:1") == has


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_counted_without_loading_them(kind: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, kind)
    assert parameters_of(str(tmp_path)) == sum(p.numel() for p in network(kind).parameters())


def test_parameters_of_many_files_and_of_an_adapters_base(tmp_path: Path) -> None:
    count = sum(p.numel() for p in network("llama").parameters())
    base = write_checkpoint(tmp_path / "base", "llama")
    Policy.load(str(base), lora=Lora(rank=2)).save_adapter(tmp_path / "adapter")
    assert parameters_of(str(tmp_path / "adapter")) == count
    network("llama").save_pretrained(tmp_path / "many", max_shard_size="20KB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 2
    assert parameters_of(str(tmp_path / "many")) == count


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "llama")
    (tmp_path / "model.safetensors").write_bytes(b"12345678 nothing of the sort")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        parameters_of(str(tmp_path))
