"""Agents on a graph and federations in one process, such as a notebook."""

from __future__ import annotations

import subprocess
import sys


def test_records_of_both_have_names_of_their_own() -> None:
    both = "import understudy.share.population, understudy.federate.population"
    subprocess.run([sys.executable, "-c", both], check=True)
