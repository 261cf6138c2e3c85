"""What the command line says of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from tests.cli.commands import Command
from understudy.cli.program import app
from understudy.recipes import RECIPES, load_method
from understudy.settings import described_settings


def verbs(group: Any = None, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every verb, and every one within a group: ("ask",), ("keys", "create"), ..."""
    for name, each in (group or get_command(app)).commands.items():
        words = (*before, name)
        yield from verbs(each, words) if hasattr(each, "commands") else [words]


@pytest.mark.parametrize("words", list(verbs()), ids=" ".join)
def test_every_verb_has_help_prints_json_and_can_be_quiet(
    words: tuple[str, ...], command: Command
) -> None:
    code, out, err = command(*words, "--help")
    assert (code, err) == (0, "")
    assert "Usage: " in out
    assert words[-1] in command(*words[:-1], "--help")[1]
    for option in ("--json", "--quiet"):
        assert re.search(rf"^ +(-q, )?{option}\b", out, re.MULTILINE), option


def test_every_option_and_argument_says_what_it_is() -> None:
    def silent(command: Any, path: str) -> Iterator[str]:
        for each in command.params:
            if not getattr(each, "help", None):
                yield f"{path} {each.name}"
        for name, inner in getattr(command, "commands", {}).items():
            yield from silent(inner, f"{path} {name}")

    assert list(silent(get_command(app), "understudy")) == []


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_recipe_s_help_lists_every_setting_with_its_meaning(name: str, command: Command) -> None:
    code, out, err = command("train", name, "--help")
    assert (code, err) == (0, "")
    words = " ".join(out.split())
    for row in described_settings(load_method(name).Settings):
        assert f"  {row.key}\n" in out
        assert row.meaning in words
    for option in ("--out", "--config", "--set", "--resume", "--dry-run"):
        assert option in out


@pytest.mark.parametrize("arguments", [[], ["train"]])
def test_without_a_verb_the_help_is_shown(arguments: list[str], command: Command) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: ")
    assert ("dagrpo" if arguments else "train") in err


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("understudy tr", "train"),
        ("understudy train da", "dagrpo"),
        ("understudy ask --js", "--jsonl"),
    ],
)
def test_a_shell_completes_verbs_recipes_and_options(
    typed: str, offered: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_UNDERSTUDY_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    code, out, _ = command()
    assert code == 0
    assert offered in out.split()
