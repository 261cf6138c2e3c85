"""What is said of a model, against the model itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers

from tests.models.gguf_files import write_both
from tests.models.small import KINDS, network, write_checkpoint, write_tokenizer
from understudy.errors import CheckpointError
from understudy.models import activations, memory
from understudy.models.described import _config, describe
from understudy.models.gguf import header_of
from understudy.models.lora import Lora
from understudy.models.policy import Policy

WITHOUT_SYSTEM = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}"
WITHOUT_SYSTEM += "{% endif %}[{{ m.content }}]{% endfor %}"


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_those_of_the_network(kind: str, tmp_path: Path) -> None:
    made = network(kind)
    found = describe(str(write_checkpoint(tmp_path, kind)))
    assert found.parameters == sum(weight.numel() for weight in made.parameters())
    assert found.architecture == type(made).__name__
    figures = (found.layers, found.heads, found.vocabulary, found.context, found.hidden_size)
    assert figures == (2, 4, 330, made.config.max_position_embeddings, 32)
    assert found.kv_heads == made.config.num_key_value_heads
    tied = made.get_input_embeddings().weight is made.get_output_embeddings().weight
    assert found.tied_head in (tied, None)
    assert (found.chat_template, found.system_message) == (False, None)
    assert found.stored == {"float32": 1.0}
    loaded = type(Policy.load(str(tmp_path)).model).__name__
    assert (
        loaded
        == {"builtin": "BuiltInModel", "transformers": "TransformersModel"}[found.backend or ""]
    )
    assert (found.why_not_builtin is None) == (found.backend == "builtin")


def test_templates_with_and_without_a_system_message(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "llama", chat=True)
    assert describe(str(folder)).system_message is True
    (folder / "chat_template.jinja").write_text(WITHOUT_SYSTEM)
    assert describe(str(folder)).system_message is False
    (folder / "chat_template.jinja").write_text("{{ messages[-1].content }}")  # leaves it out
    assert describe(str(folder)).system_message is False


def test_precisions_on_disk_are_shares_of_the_numbers(tmp_path: Path) -> None:
    made = network("llama").bfloat16()
    made.model.embed_tokens.float()
    made.save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    share = 330 * 32 / sum(weight.numel() for weight in made.parameters())
    assert describe(str(tmp_path)).stored == {
        "bfloat16": pytest.approx(1 - share),
        "float32": pytest.approx(share),
    }


def test_a_file_of_llama_cpp_says_the_same_before_and_after_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "model.gguf"
    write_both(tmp_path / "folder", file)
    before, folder = describe(str(file), unpack=False), describe(str(tmp_path / "folder"))
    assert (before.backend, before.source) == (None, "GGUF file")
    for found in (before, describe(str(file))):
        for name in ("parameters", "layers", "heads", "kv_heads", "hidden_size", "vocabulary"):
            assert getattr(found, name) == getattr(folder, name), name
        assert (found.context, found.tied_head) == (folder.context, folder.tied_head)
        assert sum(found.stored.values()) == pytest.approx(1.0)
    after = describe(str(file))
    assert (after.backend, after.system_message) == (folder.backend, folder.system_message)


def test_where_layers_have_unlike_heads_the_most_are_told(tmp_path: Path) -> None:
    """As in OpenELM, and in Nemotron, where some have none."""
    file = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(file, "openelm")
    writer.add_block_count(3)
    writer.add_head_count([12, 16, 0])
    writer.add_head_count_kv([3, 4, 0])
    writer.add_tensor("token_embd.weight", np.zeros((10, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = header_of(str(file))
    assert (found.layers, found.heads, found.kv_heads, found.vocabulary) == (3, 16, 4, 10)
    assert (found.hidden_size, found.context) == (None, None)


@pytest.mark.parametrize(
    ("name", "own", "heads"),
    [
        ("Falcon", {"multi_query": True, "new_decoder_architecture": False}, None),
        ("Falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}, None),
        ("GPTBigCode", {"multi_query": True}, 1),
        ("GPTNeoX", {}, 4),
    ],
)
def test_heads_for_keys_and_values_that_are_not_told_are_not_made_up(
    name: str, own: dict[str, Any], heads: int | None, tmp_path: Path
) -> None:
    sizes = {"vocab_size": 330, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"hidden_size": 32} if name != "GPTBigCode" else {"n_embd": 32}
    config = getattr(transformers, f"{name}Config")(**sizes, **own)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    found = describe(str(tmp_path))
    assert (found.heads, found.kv_heads) == (4, heads)


def test_what_a_model_s_writing_part_says_goes_first(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "llama-tied")
    raw = json.loads((folder / "config.json").read_text())
    raw |= {"tie_word_embeddings": False, "text_config": {"tie_word_embeddings": True}}
    raw["text_config"]["num_hidden_layers"] = raw.pop("num_hidden_layers")
    (folder / "config.json").write_text(json.dumps(raw))
    found = _config(folder)
    assert (found["tie_word_embeddings"], found["num_hidden_layers"]) == (True, 2)


def test_an_adapter_is_described_with_its_base(tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", "qwen2-tied")
    Policy.load(str(base), lora=Lora(rank=2)).save_adapter(tmp_path / "adapter")
    found, whole = describe(str(tmp_path / "adapter")), describe(str(base))
    assert found.source == f"adapter of rank 2 on {base}"
    assert (found.parameters, found.layers) == (whole.parameters, whole.layers)


def test_what_cannot_be_trained_is_one_line(tmp_path: Path) -> None:
    sizes = {"vocab_size": 330, "num_hidden_layers": 1, "num_attention_heads": 2}
    bert = transformers.BertConfig(**sizes, hidden_size=16, intermediate_size=16)
    transformers.BertModel(bert).save_pretrained(tmp_path / "bert")
    transformers.BertForMaskedLM(bert).save_pretrained(tmp_path / "masked")
    t5 = transformers.T5Config(vocab_size=330, d_model=16, d_ff=16, num_layers=1, num_heads=2)
    transformers.T5ForConditionalGeneration(t5).save_pretrained(tmp_path / "t5")
    for name, words in {
        "bert": "has no weights for cls",
        "masked": "BertForMaskedLM is no causal language model",
        "t5": "model_type=t5 is no causal language model",
    }.items():
        write_tokenizer(tmp_path / name)
        with pytest.raises(CheckpointError, match=words) as caught:
            Policy.load(str(tmp_path / name))
        assert "\n" not in str(caught.value)
    for name in ("masked", "t5"):
        with pytest.raises(CheckpointError, match="is no causal language model"):
            describe(str(tmp_path / name))


def test_a_peak_is_that_of_the_work_since_it_was_forgotten() -> None:
    if memory._read(memory._STATUS, "VmHWM") is None:
        pytest.skip("this system does not say what a process holds")
    try:
        Path(memory._RESET).write_text("5")
    except OSError:
        pytest.skip("this system keeps the peak of the whole process")
    size = 200_000_000
    torch.zeros(size // 4).fill_(1.0)
    memory.forget_peak("cpu")
    before = memory.peak("cpu")
    kept = torch.ones(size // 4)
    assert memory.peak("cpu") - before > 0.8 * size
    assert memory.held("cpu") > 0.8 * size
    del kept
    assert 0 < (memory.available("cpu") or 0) < (memory.whole("cpu") or 0)


def test_a_container_s_limit_bounds_what_there_is_and_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert memory.limits(tmp_path) is None
    old = tmp_path / "memory"
    old.mkdir()
    (old / "memory.limit_in_bytes").write_text("2000000\n")
    (old / "memory.usage_in_bytes").write_text("500000\n")
    assert memory.limits(tmp_path) == (2_000_000, 500_000)
    (old / "memory.stat").write_text("inactive_file 7\ntotal_inactive_file 200000\n")
    assert memory.limits(tmp_path) == (2_000_000, 300_000)  # copies of files make way
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("1200000\n")
    assert memory.limits(tmp_path) == (1_000_000, 1_200_000)
    (tmp_path / "memory.stat").write_text("anon 900000\nactive_file 5\ninactive_file 300000\n")
    assert memory.limits(tmp_path) == (1_000_000, 900_000)
    (old / "memory.limit_in_bytes").unlink()
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.limits(tmp_path) is None
    monkeypatch.setattr(memory, "limits", lambda: (1_000_000, 400_000))
    assert (memory.whole("cpu"), memory.available("cpu")) == (1_000_000, 600_000)
    monkeypatch.setattr(memory, "limits", lambda: (1_000_000, 1_200_000))
    assert memory.available("cpu") == 0


def test_a_gpu_has_free_memory_and_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (300, 1000))
    assert (memory.available("cuda"), memory.whole("cuda")) == (300, 1000)


@pytest.mark.parametrize(
    ("there", "allowed"), [(1 << 30, 1 << 28), (1 << 36, 1 << 30), (None, 1 << 30)]
)
def test_training_keeps_a_quarter_of_the_memory_at_most(
    there: int | None, allowed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a token: what is read and given by the products of 2 blocks, queries, keys and values
    being one of them and the feed-forward layer's first two another."""
    model = Policy.load(str(write_checkpoint(tmp_path, "llama"))).model
    monkeypatch.setattr(memory, "whole", lambda _device: there)
    numbers = 2 * ((32 + 64) + (32 + 32) + (32 + 96) + (48 + 32))
    assert activations.tokens_kept(model) == allowed // (4 * numbers)
    again = 2 * 32 + 2 * numbers // 2  # the inputs of 2 blocks, and one block twice
    assert activations.tokens_kept(model, recomputed=True) == allowed // (4 * again)
