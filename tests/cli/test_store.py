"""`understudy keys` and `understudy events`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commands import Command
from understudy.store.database import open_events
from understudy.store.events import Event, EventWriter
from understudy.store.settings import EventSettings


def test_what_was_done_is_json_or_the_least_that_says_it(
    command: Command, store: Path, tmp_path: Path
) -> None:
    code, secret, errors = command("keys", "create", "app", "--quiet")
    assert (code, secret[:3], secret.count("\n")) == (0, "us-", 1)
    assert errors.count("\n") == 1  # a warning: from now on nobody is answered without a key
    revoked = json.loads(command("keys", "revoke", "app", "--json")[1])
    assert revoked["name"] == "app"
    assert revoked["revoked"] == pytest.approx(time.time(), abs=3600)
    assert command("keys", "create", "app", "--quiet")[0] == 0
    assert command("keys", "revoke", "app", "-q")[1] == ""
    EventWriter(open_events(store), EventSettings()).close()
    file = tmp_path / "events.jsonl"
    assert json.loads(command("events", "export", "--out", file, "--json")[1]) == {
        "path": str(file),
        "rows": 0,
        "left_out": {"without_text": 0, "forbidden": 0},
    }
    file.unlink()
    assert command("events", "export", "--out", file, "--quiet")[1] == f"{file}\n"
    made = revoked["id"]
    deleted = command("events", "delete", "--key", made, "--json")[1]
    assert json.loads(deleted) == {"key": made, "deleted": 0}
    assert command("events", "delete", "--key", made, "--quiet")[1] == "0\n"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNDERSTUDY_STORE", str(tmp_path / "store.db"))
    return tmp_path / "store.db"


def test_keys_are_made_listed_and_revoked(command: Command, store: Path) -> None:
    given = ("--team", "blue", "--dial", "0.5", "--max-dollars", "1/day", "--expires", "90d")
    code, out, _ = command("keys", "create", "app", *given, "--scope", "inference", "--json")
    made = json.loads(out)
    assert (code, made["team"], made["scopes"]) == (0, "blue", ["inference"])
    assert made["expires"] == pytest.approx(time.time() + 90 * 86_400, abs=3600)
    assert made["caps"] == [{"scope": f"key:{made['id']}", "dollars": 1.0, "per": "day"}]
    code, out, _ = command("keys", "create", "other", "--expires", "365d")
    secret = out.splitlines()[0]
    code, out, _ = command("keys", "list")
    assert "1 dollars/day" in out
    assert secret not in out
    assert made["key"] not in out
    ended = json.loads(command("keys", "revoke", "other", "--json")[1])
    assert (ended["name"], ended["revoked"] is None) == ("other", False)
    code, out, _ = command("keys", "list", "--json")
    assert [(key["name"], key["revoked"] is None) for key in json.loads(out)] == [
        ("app", True),
        ("other", False),
    ]
    code, _, errors = command("keys", "revoke", "other")
    assert (code, errors.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max-dollars", "much"], "--max-dollars much"),
        (["--expires", "soon"], "soon"),
        (["--expires", "day"], "--expires day"),
        (["--expires", "never"], "--expires never: write a length such as 90d or 12h"),
        (["--expires", "40000d"], "at most 36500d; without it a key never expires"),
        (["--scope", "root"], "scope root"),
        (["--store", "mysql://x"], "mysql"),
    ],
)
def test_what_cannot_be_a_key_is_one_line(
    command: Command, store: Path, arguments: list[str], words: str
) -> None:
    code, out, errors = command("keys", "create", "app", *arguments)
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert words in errors


def test_events_are_exported_and_deleted(
    command: Command, store: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    writer = EventWriter(open_events(store), EventSettings(text="all", days=None))
    for number, key in enumerate(("ann", "ann", "bob")):
        question = {"messages": [{"role": "user", "content": f"Question {number} …"}]}
        answer = {"choices": [{"message": {"role": "assistant", "content": "Yes."}}]}
        about = {"request": question, "answer": answer}
        writer.add(Event(f"c{number}", time.time(), key, "local", "sure", "tiny", **about))
    writer.close()
    code, out, _ = command("events", "export", "--key", "ann")
    rows = [json.loads(line) for line in out.splitlines()]
    assert (code, [row["prompt"][0]["content"] for row in rows]) == (
        0,
        ["Question 0 …", "Question 1 …"],
    )
    code, out, _ = command("events", "export", "--out", tmp_path / "events.jsonl", "--days", "1")
    assert out == f"{tmp_path / 'events.jsonl'}: 3 rows\n"
    for there in (tmp_path, tmp_path / "events.jsonl"):
        assert "is there already" in refused("events", "export", "--out", there)
    missing = tmp_path / "no" / "events.jsonl"
    assert "cannot be written" in refused("events", "export", "--out", missing)
    assert command("events", "delete", "--key", "ann")[1] == "deleted 2 events of ann\n"
    gone = json.loads(command("events", "delete", "--key", "bob", "--json")[1])
    assert gone == {"key": "bob", "deleted": 1}
    assert "no key has that id or name" in refused("events", "delete", "--key", "ann")
    assert command("events", "export")[1] == ""


def test_events_are_those_of_a_key_by_its_name(
    command: Command, store: Path, refused: Callable[..., str]
) -> None:
    made = json.loads(command("keys", "create", "app", "--json")[1])
    writer = EventWriter(open_events(store), EventSettings(days=None))
    writer.add(Event("c", time.time(), made["id"], "local", "sure", "tiny"))
    writer.close()
    assert command("keys", "revoke", "app")[0] == 0
    for count in ("1 event", "0 events"):
        code, out, _ = command("events", "delete", "--key", "app")
        assert (code, out) == (0, f"deleted {count} of {made['id']}\n")
    for verb in ("delete", "export"):
        assert "--key nope: no key" in refused("events", verb, "--key", "nope")
    assert command("keys", "create", "app")[0] == 0
    assert "there are several: key_" in refused("events", "delete", "--key", "app")


def test_a_live_key_has_its_name_to_itself(
    command: Command, store: Path, refused: Callable[..., str]
) -> None:
    made = json.loads(command("keys", "create", "app", "--json")[1])
    assert f"key app: there is one of that name, {made['id']};" in refused("keys", "create", "app")
    assert len(json.loads(command("keys", "list", "--json")[1])) == 1
    assert command("keys", "revoke", "app")[0] == 0
    assert command("keys", "create", "app")[0] == 0


def test_an_export_says_what_it_left_out(command: Command, store: Path, tmp_path: Path) -> None:
    assert command("keys", "create", "app")[0] == 0
    for text in ("off", "all"):
        writer = EventWriter(
            open_events(store), EventSettings.model_validate({"text": text, "days": None})
        )
        question = {"messages": [{"role": "user", "content": "Question"}]}
        answer = {"choices": [{"message": {"role": "assistant", "content": "Yes."}}]}
        about = {"request": question, "answer": answer, "cloud": "main"}
        writer.add(Event(text, time.time(), "ann", "cloud", "sure", "big", **about))
        writer.close()
    file = tmp_path / "events.jsonl"
    textless = "1 without a text, which store.events.text=all keeps"
    forbidden = "1 of clouds with train_on_replies off in clouds.NAME"
    assert f"{file}: 1 row; {textless}" in command("events", "export", "--out", file)[1]
    code, out, errors = command("events", "export", "--for-training")
    assert (code, out, errors.count("\n")) == (0, "", 1)
    assert f"0 rows; {textless}" in errors
    assert forbidden in errors
    assert "0 rows; no such event" in command("events", "export", "--days", "0")[2]


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "list"),
        ("keys", "revoke", "app"),
        ("events", "export"),
        ("events", "delete", "--key", "app"),
    ],
)
def test_a_store_that_is_not_there_is_not_made(
    tmp_path: Path, refused: Callable[..., str], arguments: tuple[str, ...]
) -> None:
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("this is no database\n" * 99)
    (tmp_path / "text-events.db").write_text("this is no database\n" * 99)
    for name in ("mistyped.db", "no/folder.db", "empty.db", "text.db"):
        said = refused(*arguments, "--store", tmp_path / name)
        assert "no gateway keeps its" in said


def test_the_first_key_may_come_before_the_gateway(command: Command, store: Path) -> None:
    code, out, errors = command("keys", "create", "app")
    first, second = errors.splitlines()
    assert (code, first) == (0, f"{store}: made a new store")
    assert "its gateway answers nobody without one" in second
    assert out.startswith("us-")
    assert command("keys", "create", "other")[2] == ""
    assert "app" in command("keys", "list")[1]
