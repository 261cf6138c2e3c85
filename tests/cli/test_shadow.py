"""`understudy shadow` from the command line: what is refused before anything is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.gateway.shadow import logged

NOBODY = "http://localhost:9/v1"


def test_a_sheet_that_somebody_filled_in_is_not_written_over(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    rows = [logged.standard_payload(f"echo {n}", str(n), str(n)) for n in range(20)]
    log = logged.write(tmp_path / "log.jsonl", rows)
    sheet = tmp_path / "labels.jsonl"
    sheet.write_text('{"right": true}\n')
    given = ("--local", NOBODY, "--out", tmp_path / "out", "--sheet", sheet)
    assert f"--sheet {sheet}: is there already" in refused("shadow", log, *given)


def test_a_store_that_is_not_there_is_not_made(refused: Callable[..., str], tmp_path: Path) -> None:
    given = ("--local", NOBODY, "--out", tmp_path / "out")
    assert "no gateway keeps its events" in refused("shadow", tmp_path / "typo.db", *given)


def test_a_settings_file_is_read_and_options_come_before_it(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    file, missing = tmp_path / "shadow.yaml", tmp_path / "typo.db"
    file.write_text("max_wrong: 3\n")
    given = ("--local", NOBODY, "--out", tmp_path / "out", "--config", file)
    assert "max_wrong=3" in refused("shadow", missing, *given)
    assert "no gateway keeps its events" in refused("shadow", missing, *given, "--max-wrong", "0.1")
