"""What a run trained, read again by those who serve it."""

from __future__ import annotations

import json
from pathlib import Path

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

import understudy
from tests.models.gguf_files import all_ids
from tests.models.small import NO_SYSTEM, TEMPLATE, write_checkpoint
from tests.offload.runs import config_of, run_new
from understudy.errors import ConfigError, RunError
from understudy.offload.phases import phases_of
from understudy.offload.session import trained_policy
from understudy.offload.start import build_tasks
from understudy.recipes import saved_config
from understudy.run import RunDirectory

CONVERTER = """import json, pathlib, shutil, sys
base, out, adapter = sys.argv[2], sys.argv[4], pathlib.Path(sys.argv[5])
assert sys.argv[1::2][:2] == ["--base", "--outfile"], sys.argv
assert (pathlib.Path(base) / "config.json").is_file()
assert json.loads((adapter / "adapter_config.json").read_text())["trainable_token_indices"] is None
shutil.copyfile(adapter / "adapter_model.safetensors", out)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    base = write_checkpoint(tmp_path_factory.mktemp("base"), "llama", chat=True, vocab_size=320)
    phases = [{"families": "facts", "levels": [1, 1], "steps": 2}]
    small = {"stream": phases, "max_completion_length": 4, "learning_rate": 0.05, "distill": 0.5}
    config = config_of("understudy", base, lora__rank=2, **small)
    return run_new(tmp_path_factory.mktemp("runs") / "run", config)


@pytest.fixture(scope="module")
def logits(run: RunDirectory) -> Tensor:
    policy, _ = trained_policy(run, saved_config(run))
    with torch.no_grad():
        return policy.network(all_ids())  # type: ignore[no-any-return]


def test_the_adapter_and_the_merged_model_are_what_was_trained(
    run: RunDirectory, logits: Tensor, tmp_path: Path
) -> None:
    readers = {
        "peft": peft.AutoPeftModelForCausalLM,
        "merged": transformers.AutoModelForCausalLM,
    }
    for to, reader in readers.items():
        written = understudy.export(run.path, to, tmp_path / "deeper" / to)
        assert written == tmp_path / "deeper" / to
        with torch.no_grad():
            theirs = reader.from_pretrained(written, dtype=torch.float32).eval()(all_ids()).logits
        torch.testing.assert_close(theirs, logits, atol=2e-4, rtol=2e-4)
        tokenizer = transformers.AutoTokenizer.from_pretrained(written)
        assert tokenizer.chat_template
        assert len(tokenizer) == 321
    with pytest.raises(ConfigError, match="is there already"):
        understudy.export(run.path, "peft", tmp_path / "deeper" / "peft")


def test_llama_cpp_gets_the_adapter_through_its_own_converter(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLAMA_CPP", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "lora.gguf"
    with pytest.raises(ConfigError, match="LLAMA_CPP"):
        understudy.export(run.path, "gguf-lora", out)
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))
    script = tmp_path / "convert_lora_to_gguf.py"
    script.write_text("raise ValueError('an architecture of no kind')")
    with pytest.raises(RunError, match="an architecture of no kind"):
        understudy.export(run.path, "gguf-lora", out)
    assert not out.exists()
    script.write_text(CONVERTER)
    assert understudy.export(run.path, "gguf-lora", out) == out
    handed = load_file(out)
    trained = load_file(run.adapters / "phase-1" / "adapter_model.safetensors")
    rows = {name for name in trained if "trainable_tokens_delta" in name}
    assert rows
    assert handed.keys() == trained.keys() - rows
    assert all(torch.equal(handed[name], trained[name]) for name in handed)


def test_what_there_is_no_adapter_of_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="to=onnx: is not one of peft, merged, gguf-lora"):
        understudy.export(run.path, "onnx")
    phases = [{"families": "facts", "levels": [1, 1], "steps": 1}]
    whole = run_new(
        tmp_path / "run", config_of("grpo", Path(saved_config(run).model), stream=phases)
    )
    with pytest.raises(ConfigError, match="trained all weights"):
        understudy.export(whole.path, "peft")
    assert understudy.export(whole.path, "merged") == whole.path / "exported-merged"


@pytest.mark.parametrize("examples", [2, 0])
@pytest.mark.parametrize("template", [TEMPLATE, NO_SYSTEM + TEMPLATE], ids=["system", "none"])
def test_how_the_model_was_asked_stands_beside_it(
    template: str, examples: int, tmp_path: Path
) -> None:
    """With the question as the last message it is the prompt of training, token by token."""
    rows = [{"text": f"message {i}", "label": ("ham", "spam")[i % 2]} for i in range(80)]
    file = tmp_path / "sms.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    wide = {"max_position_embeddings": 4096}
    base = write_checkpoint(tmp_path / "base", "llama", chat=True, vocab_size=320, **wide)
    (base / "chat_template.jinja").write_text(template)
    data = {"sms": {"path": str(file), "form": "label", "examples": examples}}
    phase = {"families": "sms", "steps": 1}
    config = config_of(
        "grpo", base, lora__rank=2, stream=[phase], data=data, max_completion_length=5
    )
    run = run_new(tmp_path / "run", config)
    written = understudy.export(run.path, "peft", tmp_path / "peft")
    (asked,) = json.loads((written / "prompts.json").read_text()).values()
    assert (asked["stop"], asked["max_tokens"]) == (["\n"], 5)
    system = ["system"] if template == TEMPLATE else []
    assert [turn["role"] for turn in asked["messages"]] == system + ["user", "assistant"] * examples
    assert bool(asked["prefix"]) == (not system and not examples)
    policy, _ = trained_policy(run, config)
    with build_tasks(config, policy) as tasks:
        problem = tasks.batch(phases_of(config)[0], 1, "train", "0")[0]
    ids, _ = policy.tokens.encode_questions([problem.local_question])
    tokenizer = transformers.AutoTokenizer.from_pretrained(written)
    question = {"role": "user", "content": asked["prefix"] + problem.prompt}
    theirs = tokenizer.apply_chat_template(
        [*asked["messages"], question], add_generation_prompt=True, return_dict=False
    )
    assert theirs == ids[0].tolist()
    file.unlink()
    with pytest.warns(UserWarning, match=r"prompts\.json is left out"):
        written = understudy.export(run.path, "merged", tmp_path / "merged")
    assert not (written / "prompts.json").exists()
