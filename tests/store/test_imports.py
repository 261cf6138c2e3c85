"""The store needs neither torch nor numpy: a gateway in front of engines by URL has none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import importlib, pkgutil, sys
for name in ("torch", "numpy", "transformers", "matplotlib"):
    sys.modules[name] = None
import understudy.store
for found in pkgutil.iter_modules(understudy.store.__path__, "understudy.store."):
    importlib.import_module(found.name)
    print(found.name)
"""


def test_every_module_is_imported_without_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "understudy.store.ledger" in done.stdout.split()


def test_its_settings_are_read_with_pydantic_only() -> None:
    script = "import sys, understudy.store.settings; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert {"sqlalchemy", "orjson", "torch", "numpy"} & set(done.stdout.split()) == set()
