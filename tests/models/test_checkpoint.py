"""Files that do not hold what they should, or ask for what is not computed, are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from understudy.errors import CheckpointError
from understudy.models.checkpoint import load_decoder, read_shape, resolve, save_decoder
from understudy.models.decoder import Decoder


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def configure(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refusal(folder: Path) -> str:
    """The one line with which a folder is refused."""
    with pytest.raises(CheckpointError) as caught:
        load_decoder(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    return message


LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "rope_theta": 5e5}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rope_parameters": LINEAR}, "rope_type"),
        ({"rope_parameters": LLAMA3}, "rope_type"),
        ({"rope_parameters": None, "rope_scaling": {"rope_type": "yarn", "factor": 4}}, "rope"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 4}}, "rope"),
        ({"rope_parameters": {"rope_theta": 1e4}, "rope_scaling": {"type": "dynamic"}}, "rope"),
        ({"model_type": "mistral"}, "model_type"),
        ({"model_type": "qwen3"}, "model_type"),
        ({"model_type": None}, "model_type"),
        ({"use_sliding_window": True, "model_type": "qwen2"}, "use_sliding_window"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"attention_bias": True}, "attention_bias"),
        ({"quantization_config": {"quant_method": "fp8"}}, "quantization_config"),
    ],
)
def test_what_cannot_be_computed_is_refused_by_name(
    copy: Path, changes: dict[str, Any], named: str
) -> None:
    configure(copy, **changes)
    assert named in refusal(copy)


def test_a_model_saved_with_scaled_rotation_is_refused(tmp_path: Path) -> None:
    """As transformers itself writes it, whatever the keys are called."""
    config = transformers.LlamaConfig(
        vocab_size=9,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4},
    )
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    assert "rope_type" in refusal(tmp_path)


@pytest.mark.parametrize(
    "missing",
    [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
    ],
)
def test_a_config_without_a_size_is_refused_by_its_name(copy: Path, missing: str) -> None:
    raw = json.loads((copy / "config.json").read_text())
    del raw[missing]
    (copy / "config.json").write_text(json.dumps(raw))
    assert missing in refusal(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "\x00"])
def test_a_config_that_is_no_object_is_refused(copy: Path, text: str) -> None:
    (copy / "config.json").write_text(text)
    assert "config.json" in refusal(copy)


def test_a_missing_config_is_refused(copy: Path, tmp_path: Path) -> None:
    (copy / "config.json").unlink()
    assert "config.json" in refusal(copy)
    for model in (str(copy), ""):
        with pytest.raises(CheckpointError, match=r"config\.json"):
            resolve(model)
    with pytest.raises(CheckpointError, match="there is no such folder"):
        resolve(str(tmp_path / "nowhere"))


def test_older_configs_default_as_transformers_does(copy: Path) -> None:
    """rope_theta beside rope_parameters or without it, no head_dim, no key-value heads."""
    path = copy / "config.json"
    raw = json.loads(path.read_text())
    dropped = ("rope_parameters", "rope_theta", "head_dim", "num_key_value_heads")
    plain = {key: value for key, value in raw.items() if key not in dropped}
    path.write_text(json.dumps(plain | {"rope_theta": 777.0, "rope_scaling": None}))
    shape = read_shape(copy)
    assert (shape.rope_theta, shape.head_dim, shape.num_key_value_heads) == (777.0, 32, 2)
    path.write_text(json.dumps(plain))
    assert read_shape(copy).rope_theta == transformers.LlamaConfig().rope_parameters["rope_theta"]


@pytest.mark.parametrize("kept", [0, 5, 100, 4096, -1])
def test_truncated_weights_are_refused(copy: Path, kept: int) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert "model.safetensors" in refusal(copy)


def test_missing_weights_are_refused(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    assert "model.safetensors" in refusal(copy)


@pytest.mark.parametrize(
    "name",
    [
        "model.embed_tokens.weight",
        "model.layers.1.self_attn.k_proj.weight",
        "model.layers.0.mlp.up_proj.weight",
        "model.norm.weight",
    ],
)
def test_a_missing_tensor_is_refused_by_its_name(copy: Path, name: str) -> None:
    tensors = load_file(copy / "model.safetensors")
    del tensors[name]
    save_file(tensors, copy / "model.safetensors")
    assert name in refusal(copy)


def test_tensors_of_another_size_are_refused(copy: Path) -> None:
    for change in ({"hidden_size": 96}, {"vocab_size": 7}, {"intermediate_size": 64}):
        configure(copy, **change)
        refusal(copy)


def test_an_untied_model_needs_its_head(copy: Path) -> None:
    configure(copy, tie_word_embeddings=False)
    assert "lm_head.weight" in refusal(copy)


def test_saving_in_place_keeps_the_tokenizer_and_the_numbers(copy: Path) -> None:
    before = {name: (copy / name).read_bytes() for name in ("tokenizer.json", "model.safetensors")}
    save_decoder(load_decoder(copy), copy, copy)
    assert {name: (copy / name).read_bytes() for name in before} == before


def test_half_precision_weights_are_read_as_float32(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    halves = {name: tensor.bfloat16() for name, tensor in tensors.items()}
    save_file(halves, copy / "model.safetensors")
    model = load_decoder(copy)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.equal(model.embedding.weight, halves["model.embed_tokens.weight"].float())


def test_a_tied_head_stays_tied_after_loading(copy: Path) -> None:
    model: Decoder = load_decoder(copy)
    assert model.head.weight is model.embedding.weight
