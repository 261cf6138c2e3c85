"""How long an answer may be is counted in the model's own tokens of the labels themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.models.small import write_checkpoint
from understudy.models.tokens import Tokens
from understudy.offload.answer_length import longest_label, needed_length
from understudy.offload.settled import Choices, settled
from understudy.offload.start import build_tasks, load_policy
from understudy.recipes import resolve_config
from understudy.tasks import open_tasks
from understudy.tasks.data import DataConfig
from understudy.tasks.stream import load_stream

LABELS = ["fox", "lazy_dog_that_jumps", "quick brown"]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("chat"), "llama", chat=True)


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    labelled = [{"text": f"text {i}", "label": LABELS[i % 3]} for i in range(60)]
    choices = {"text": ["dry", "wet", "cold"], "label": ["1", "2", "3"]}
    asked = [{"question": f"q{i}?", "choices": choices, "answerKey": "2"} for i in range(60)]
    found = {}
    for name, rows in (("label", labelled), ("choice", asked)):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        found[name] = {"path": str(path), "form": name}
    return found


def counted(chat: Path, data: dict[str, Any], *names: str, request: str = "") -> list[int | None]:
    tokens, stream = (
        Tokens(chat, request),
        load_stream([{"families": list(names)}], [*data, "sums"]),
    )
    with open_tasks({name: DataConfig(**each) for name, each in data.items()}) as tasks:
        return [count(tokens, tasks, stream) for count in (longest_label, needed_length)]


def test_the_longest_label_its_end_and_room_to_ask_in_words(chat: Path, data: Any) -> None:
    tokens = Tokens(chat)
    longest = max(int(tokens.encode_written([label])[1].sum()) for label in LABELS)
    assert longest > 5
    assert counted(chat, data, "label") == [longest, longest]
    asks = len(tokens.encode_plain(tokens.request))
    assert counted(chat, data, "label", request=tokens.request) == [longest, longest + asks]
    assert counted(chat, data, "choice") == [2, 2]
    assert counted(chat, data, "label", "choice") == [longest, longest]


def test_answers_of_which_none_is_the_longest_have_no_length(chat: Path, data: Any) -> None:
    assert counted(chat, data, "label", "sums") == [None, None]


def test_a_run_takes_that_length_where_none_is_set(chat: Path, data: Any) -> None:
    tokens = Tokens(chat)
    given = [f"model={chat}", "stream=[{families: label}]", f"data={json.dumps(data)}"]
    wanted = counted(chat, data, "label", request=tokens.request)[1]
    run = Choices(resolve_config("understudy", None, given))
    vars(run)["parameters"] = 135_000_000  # smaller ones have the tiny model's length
    assert run["max_completion_length"] == wanted


def test_a_length_that_cuts_the_longest_label_off_is_said(chat: Path, data: Any) -> None:
    given = [f"model={chat}", "stream=[{families: label}]", f"data={json.dumps(data)}"]
    given += ["max_completion_length=3"]
    config = settled(resolve_config("understudy", None, given))
    with pytest.warns(UserWarning, match="the longest answer of label takes"):
        build_tasks(config, load_policy(config)).close()
