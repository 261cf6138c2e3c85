"""The questions of the study on real models, out of the ordinary public files of four data sets.

A run names a function of this file, `bench/real/data.py:bank`, and finds the files in the folder
that the variable UNDERSTUDY_DATA names (`data` by default). Every set is divided by a hash of its
text, or stays as it was divided, and is cut to so many questions that a cloud can answer them all.

- bank: ten intents of banking77 (CC BY 4.0), named in plain words;
- sent: tweets of sent140 as LEAF writes them, positive or negative;
- arc: ARC-Easy, with the letter of an option as the answer;
- spam: all spam of the SMS Spam Collection (CC BY 4.0), and as many other messages;
- challenge: ARC-Challenge; intents: all 77 intents of banking77;
- gsm8k: GSM8K (MIT); mbpp: MBPP (CC BY 4.0).
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Sizes = tuple[int, int, int]  # of training, validation and test, at most
LARGE: Sizes = (640, 256, 1000)
SMALL: Sizes = (240, 96, 96)  # for a model that takes long to answer
BANK = {
    "card_arrival": "card not arrived",
    "lost_or_stolen_card": "lost card",
    "exchange_rate": "exchange rate",
    "change_pin": "change pin",
    "top_up_failed": "top up failed",
    "cancel_transfer": "cancel transfer",
    "transaction_charged_twice": "charged twice",
    "age_limit": "age limit",
    "edit_personal_details": "change details",
    "terminate_account": "close account",
}
Row = dict[str, Any]


def folder() -> Path:
    return Path(os.environ.get("UNDERSTUDY_DATA", "data"))


def luck(text: str, use: str = "split") -> bytes:
    """A number that depends on the text alone: what is first by it is a fair draw."""
    return hashlib.blake2b(f"{use} {text}".encode(), digest_size=8).digest()


def divided(rows: Iterable[Row], text: str = "text", sizes: Sizes = LARGE) -> dict[str, list[Row]]:
    """Test, validation and train of rows in the order of their luck, each text once."""
    train, validation, test = sizes
    ordered = shuffled(rows, text)
    held = min(test, len(ordered) * 4 // 7)
    checked = held + min(validation, len(ordered) // 7)
    return {
        "test": ordered[:held],
        "validation": ordered[held:checked],
        "train": ordered[checked : checked + train],
    }


def shuffled(rows: Iterable[Row], text: str) -> list[Row]:
    """Each text once, in the order of their luck."""
    once = {row[text]: row for row in rows}
    return [once[each] for each in sorted(once, key=luck)]


def bank() -> dict[str, list[Row]]:
    named = [{**row, "label": BANK[row["label"]]} for row in banking() if row["label"] in BANK]
    return divided(named)


def banking() -> list[Row]:
    rows = []
    for name in ("train.csv", "test.csv"):
        with (folder() / "banking77" / name).open(newline="", encoding="utf-8") as file:
            rows += list(csv.DictReader(file))
    return [{"text": row["text"].strip(), "label": row["category"]} for row in rows]


def sent() -> dict[str, list[Row]]:
    users = json.loads((folder() / "sent140" / "users.json").read_text(encoding="utf-8"))
    rows = []
    for tweets in users["user_data"].values():
        for text, positive in zip(tweets["x"], tweets["y"], strict=True):
            label = "positive" if int(positive) else "negative"
            rows.append({"text": " ".join(text.split()), "label": label})
    return divided(row for row in rows if len(row["text"]) > 20)


def arc() -> dict[str, list[Row]]:
    return divided(arc_rows("easy"), "instruction")


def challenge() -> dict[str, list[Row]]:
    return divided(arc_rows("challenge"), "instruction", SMALL)


def arc_rows(kind: str) -> list[Row]:
    rows = []
    for split in ("train", "test"):
        file = folder() / "arc" / f"{kind}-{split}.json"
        rows += json.loads(file.read_text(encoding="utf-8"))
    return rows


def intents() -> dict[str, list[Row]]:
    return divided(banking(), sizes=SMALL)


def gsm8k() -> dict[str, list[Row]]:
    train, validation, test = SMALL
    known = shuffled(lines_of("gsm8k/train.jsonl"), "question")
    return {
        "test": shuffled(lines_of("gsm8k/test.jsonl"), "question")[:test],
        "validation": known[:validation],
        "train": known[validation : validation + train],
    }


def mbpp() -> list[Row]:
    """Its own numbers divide it: 601 to 974 train, 511 to 600 validation, 11 to 510 test."""
    rows = shuffled(lines_of("mbpp/mbpp.jsonl"), "text")
    tested = [row for row in rows if 11 <= row["task_id"] <= 510]
    return [*tested[: SMALL[2]], *(row for row in rows if row["task_id"] > 510)]


def lines_of(name: str) -> list[Row]:
    return [json.loads(line) for line in (folder() / name).open(encoding="utf-8")]


def spam() -> dict[str, list[Row]]:
    text = (folder() / "sms-spam" / "SMSSpamCollection").read_text(encoding="utf-8")
    pairs = [line.split("\t", 1) for line in text.split("\n") if "\t" in line]
    junk = [{"text": body.strip(), "label": "spam"} for kind, body in pairs if kind == "spam"]
    ham = {body.strip() for kind, body in pairs if kind == "ham"}
    drawn = sorted(ham, key=lambda body: luck(body, "ham"))[: len(junk)]
    return divided([*junk, *({"text": body, "label": "ham"} for body in drawn)])
