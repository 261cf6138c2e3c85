"""Every phase's adapter stands on its own: peft loads it, with its tokenizer, to the same model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import Tensor

from tests.models.gguf_files import all_ids, write_both
from tests.models.small import TEXTS, questions, write_checkpoint
from tests.offload.runs import (
    EVERYTHING,
    Silent,
    StoppedError,
    config_of,
    results_of,
    run_new,
    run_on,
)
from understudy.models.built_in import BuiltInModel
from understudy.models.policy import Policy
from understudy.offload.config import Config
from understudy.offload.session import trained_policy

ADAPTED: dict[str, Any] = EVERYTHING | {"lora__rank": 2, "learning_rate": 0.05, "dtype": "float32"}
ADAPTED |= {"max_completion_length": 4, "backend": "builtin"}


def config(model: Path | str) -> Config:
    return config_of("understudy", Path(model), **ADAPTED)


@torch.no_grad()
def ours(folder: Path) -> Tensor:
    return Policy.load(str(folder), backend="builtin").network(all_ids())  # type: ignore[no-any-return]


@pytest.mark.parametrize("words", [320, 330])  # the request is a row more, or a spare one
def test_peft_loads_the_adapter_of_every_phase(words: int, tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", "llama", chat=True, vocab_size=words)
    run = run_new(tmp_path / "run", config(base))
    last, _ = trained_policy(run, config(base))
    assert isinstance(last.model, BuiltInModel)
    logits = []
    for folder in sorted(run.adapters.iterdir()):
        model = peft.AutoPeftModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        with torch.no_grad():
            theirs = model(all_ids()).logits
        torch.testing.assert_close(ours(folder), theirs, atol=2e-4, rtol=2e-4)
        logits.append(theirs)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        turns = [{"role": "user", "content": TEXTS[0]}]
        chat = tokenizer.apply_chat_template(turns, add_generation_prompt=True)["input_ids"]
        plain = Policy.load(str(folder), request="")
        assert chat == plain.prompts(questions(TEXTS[0])).ids[0].tolist()
        assert tokenizer.convert_tokens_to_ids("<ask>") == last.tokens.ask
    assert len(logits) == 2
    assert (logits[0] - logits[1]).abs().max() > 0.01
    with torch.no_grad():
        assert torch.equal(last.network(all_ids()), ours(run.adapters / "phase-2"))


def test_a_run_of_a_gguf_file_resumes_after_its_unpacked_folder_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "model.gguf"
    write_both(tmp_path / "folder", file)
    whole = run_new(tmp_path / "whole", config(file))
    assert whole.settings()["model"] == str(file)
    with pytest.raises(StoppedError):
        run_new(tmp_path / "stopped", config(file), Silent(stop_at=4))
    shutil.rmtree(tmp_path / "cache")
    stopped = whole.open(tmp_path / "stopped")
    assert results_of(run_on(stopped, config(file))) == results_of(whole)
