"""The questions of the study on real models, out of the ordinary public files of four data sets.

A run names a function of this file, `bench/real/data.py:bank`, and finds the files in the folder
that the variable UNDERSTUDY_DATA names (`data` by default). Every set is divided by a hash of its
text into at most TRAIN, VALIDATION and TEST questions, so that a cloud need answer only these.

- bank: ten intents of banking77 (CC BY 4.0), named in plain words;
- sent: tweets of sent140 as LEAF writes them, positive or negative;
- arc: ARC-Easy, with the letter of an option as the answer;
- spam: all spam of the SMS Spam Collection (CC BY 4.0), and as many other messages.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TRAIN, VALIDATION, TEST = 640, 256, 1000
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


def divided(rows: Iterable[Row], text: str = "text") -> dict[str, list[Row]]:
    """Test, validation and train of rows in the order of their luck, each text once."""
    once = {row[text]: row for row in rows}
    ordered = [once[each] for each in sorted(once, key=luck)]
    held = min(TEST, len(ordered) * 4 // 7)
    checked = held + min(VALIDATION, len(ordered) // 7)
    return {
        "test": ordered[:held],
        "validation": ordered[held:checked],
        "train": ordered[checked : checked + TRAIN],
    }


def bank() -> dict[str, list[Row]]:
    rows = []
    for name in ("train.csv", "test.csv"):
        with (folder() / "banking77" / name).open(newline="", encoding="utf-8") as file:
            rows += [row for row in csv.DictReader(file) if row["category"] in BANK]
    return divided({"text": row["text"].strip(), "label": BANK[row["category"]]} for row in rows)


def sent() -> dict[str, list[Row]]:
    users = json.loads((folder() / "sent140" / "users.json").read_text(encoding="utf-8"))
    rows = []
    for tweets in users["user_data"].values():
        for text, positive in zip(tweets["x"], tweets["y"], strict=True):
            label = "positive" if int(positive) else "negative"
            rows.append({"text": " ".join(text.split()), "label": label})
    return divided(row for row in rows if len(row["text"]) > 20)


def arc() -> dict[str, list[Row]]:
    rows = []
    for name in ("easy-train.json", "easy-test.json"):
        rows += json.loads((folder() / "arc" / name).read_text(encoding="utf-8"))
    return divided(rows, "instruction")


def spam() -> dict[str, list[Row]]:
    text = (folder() / "sms-spam" / "SMSSpamCollection").read_text(encoding="utf-8")
    pairs = [line.split("\t", 1) for line in text.split("\n") if "\t" in line]
    junk = [{"text": body.strip(), "label": "spam"} for kind, body in pairs if kind == "spam"]
    ham = {body.strip() for kind, body in pairs if kind == "ham"}
    drawn = sorted(ham, key=lambda body: luck(body, "ham"))[: len(junk)]
    return divided([*junk, *({"text": body, "label": "ham"} for body in drawn)])
