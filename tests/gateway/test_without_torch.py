"""The door opens where neither torch nor numpy is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import sys
for name in ("torch", "numpy", "transformers", "tokenizers", "safetensors", "matplotlib"):
    sys.modules[name] = None
from tests.gateway.door.wire import ask
from tests.gateway.serving import serving
import understudy.gateway.serving
with serving() as served:
    print(ask(served).status)
"""


def test_a_question_is_answered_without_torch_and_numpy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.stdout == "200\n", done.stderr
