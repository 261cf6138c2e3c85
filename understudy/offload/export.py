"""What a run trained, written for the programs that serve models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from understudy.errors import ConfigError, RunError, UnderstudyError
from understudy.files import write_folder
from understudy.models import adapters
from understudy.models.policy import Policy
from understudy.offload.config import Config
from understudy.offload.session import trained_policy
from understudy.offload.start import build_tasks
from understudy.run import RunDirectory
from understudy.tasks import DataSet

PROMPTS = "prompts.json"
FORMATS = ("peft", "merged", "gguf-lora")
_QUESTION = "?"  # stands for the question while what is before it is written
_CONVERTER = "convert_lora_to_gguf.py"


def export(run: RunDirectory, config: Config, to: str, out: Path | None = None) -> Path:
    """Write a run's newest model; returns where.

    to: `peft`, the adapter with its tokenizer; `merged`, a whole checkpoint of transformers;
    `gguf-lora`, the adapter as a file of llama.cpp, by its own converter. Beside a chat model
    stands how it was asked, in prompts.json or, of a file, FILE.prompts.json. out: a folder or, of
    gguf-lora, a file that is to be made; None: one in the run's directory.
    """
    if to not in FORMATS:
        raise ConfigError(f"to={to}: is not one of {', '.join(FORMATS)}")
    converter = _converter() if to == "gguf-lora" else None
    target = out or run.path / ("exported-lora.gguf" if converter else f"exported-{to}")
    if target.exists():
        raise ConfigError(f"{target} is there already; give another --out, or remove it")
    policy, _ = trained_policy(run, config)
    if to != "merged" and policy.lora is None:
        raise ConfigError(f"to={to}: {run.path} trained all weights, no adapter; use merged")
    prompts = _prompts(config, policy)

    def fill(folder: Path) -> None:
        (policy.save if to == "peft" else policy.merged)(folder)
        if prompts:
            (folder / PROMPTS).write_text(prompts)

    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        if converter:
            _convert(policy, converter, target)
            if prompts:
                target.with_name(f"{target.name}.{PROMPTS}").write_text(prompts)
        else:
            write_folder(target, fill)
    except OSError as error:
        raise RunError(f"{target}: cannot be written ({error.strerror or error})") from error
    return target


def _prompts(config: Config, policy: Policy) -> str | None:
    """What stands before a question of each data set, as chat messages and a prefix, and what ends
    its answer; None without a chat template or data sets."""
    tokens, chat, found = policy.tokens, policy.tokens.chat, {}
    if chat is None or not config.data:
        return None
    try:
        with build_tasks(config, policy) as tasks:
            data = [each for each in tasks.families.values() if isinstance(each, DataSet)]
    except UnderstudyError as error:  # the data may have gone since
        warnings.warn(f"{PROMPTS} is left out: {error}", stacklevel=2)
        return None
    for each in data:
        asked = each.question(_QUESTION).local_question.messages
        turns = [turn for turn in asked if turn.role != "system"]
        *before, last = chat.messages(turns, tokens.system_message(asked))
        found[each.name] = {
            "messages": [{"role": turn.role, "content": turn.content} for turn in before],
            "prefix": last.content.removesuffix(_QUESTION),
            "stop": list(each.stop),
            "max_tokens": config.max_completion_length,
        }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _converter() -> Path:
    """llama.cpp's script, in the folder that LLAMA_CPP names or on the PATH."""
    named = os.environ.get("LLAMA_CPP")
    found = Path(named) / _CONVERTER if named else Path(shutil.which(_CONVERTER) or "")
    if not found.is_file():
        raise ConfigError(
            f"to=gguf-lora: needs {_CONVERTER} of llama.cpp; set LLAMA_CPP to llama.cpp's folder, "
            "or use --to merged"
        )
    return found


def _convert(policy: Policy, converter: Path, target: Path) -> None:
    """By the converter, without the request's row, for which llama.cpp's format has no place."""
    assert policy.lora is not None
    with tempfile.TemporaryDirectory(prefix="understudy-export-") as place:
        adapter, made = Path(place) / "adapter", Path(place) / "made.gguf"
        adapters.save_adapter(policy.model, adapter, policy.base, policy.lora, with_row=False)
        arguments = ["--base", str(policy.folder), "--outfile", str(made), str(adapter)]
        done = subprocess.run(
            [sys.executable, str(converter), *arguments], capture_output=True, text=True
        )
        if done.returncode or not made.is_file():
            reason = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
            raise RunError(f"{converter}: failed ({reason[:300]})")
        part = target.with_name(f".{target.name}.part")
        shutil.copyfile(made, part)
        part.replace(target)
