"""The door opens where neither torch nor numpy is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.gateway.served import ROOT, child_environment

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
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.stdout == "200\n", done.stderr


SERVE = """
import sys
sys.modules["torch"] = None
sys.argv = ["understudy", "serve", "--port", "0"]
from understudy.__main__ import main
main()
"""


def test_a_model_in_this_process_is_refused_in_one_line_without_torch(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVE],
        cwd=ROOT,
        env=child_environment(XDG_DATA_HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 2
    (line,) = (each for each in done.stderr.splitlines() if not each.startswith("{"))  # no log
    assert line.startswith("error: local.path=")
    assert "understudy[local]" in line
