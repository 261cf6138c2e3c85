"""TRL's side of a comparison: its trainer in a process of its own, told when to take a step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from understudy.models.checkpoint import resolve
from understudy.models.tokens import Tokens
from understudy.offload.config import Config
from understudy.types import Problem

ROOT = Path(__file__).resolve().parents[1]
Row = dict[str, Any]


class Theirs:
    """TRL's GRPOTrainer in its own process, held before each step until it is asked for."""

    def __init__(
        self,
        config: Config,
        problems: list[Problem],
        texts: list[str] | None = None,
        portions: int = 1,
    ) -> None:
        """texts: what the model reads of each problem, if not its plain prompt; portions: in how
        many backward passes of equal size a step's gradient is computed."""
        model = resolve(config.model)
        tokens = Tokens(model)
        texts = texts or [problem.prompt + "\n" for problem in problems]
        case = {
            "model": str(model),
            "problems": [
                asdict(problem) | {"prompt": text}
                for problem, text in zip(problems, texts, strict=True)
            ],
            "data": {name: each.model_dump() for name, each in config.data.items()},
            "lora": config.lora.rank and config.lora.model_dump(),
            "stops": [tokens.end, tokens.ask],
            "group": config.num_generations,
            "portions": portions,
            "reward": next(iter(config.reward.functions), None),
        }
        names = "batch_size max_completion_length temperature learning_rate"
        names += " loss_type epsilon max_grad_norm threads seed bf16 device"
        case |= {name: getattr(config, name) for name in names.split()}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("trl_step.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ
            | {
                "PYTHONPATH": str(ROOT),
                "HF_HUB_OFFLINE": "1",
                "OMP_NUM_THREADS": str(config.threads),
            },
        )
        self._write(json.dumps(case))
        self.versions = self._read()
        self._read()  # ready for its first step

    def step(self, _: list[Problem], last: bool) -> Row:
        self._write("step")
        told = self._read()
        if not last:
            self._read()  # ready for the next
        return told

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _write(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _read(self) -> Row:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("TRL's process ended; its error stands above")
        told: Row = json.loads(line)
        return told
