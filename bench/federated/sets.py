"""The sets of the study of federations, as the setting `data` takes them.

banking77: FOLDER/train.csv and test.csv of PolyAI's repository (text, category).
sent140: LEAF's users.json.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import torch

from understudy.federate.samples import SampleSet, numbered
from understudy.federate.sources.leaf import samples_of_leaf

_VALIDATION = 4  # every fourth training question of an intent; every fourth user


def banking77(folder: str, held: str = "test") -> SampleSet:
    """77 intents. held: what is tested with. 'test': the public test questions; 'validation': a
    quarter of the training questions, by which the study's settings were chosen, and no others."""
    texts, labels, kept = [], [], []
    seen: dict[str, int] = {}
    for part in ("train", "test"):
        with (Path(folder).expanduser() / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                intent = row["category"]
                seen[intent] = seen.get(intent, -1) + 1
                if part == "test" and held == "validation":
                    continue
                texts.append(row["text"])
                labels.append(intent)
                kept.append(part == "test" or _held_back(held, seen[intent]))
    classes, label = numbered(labels)
    return SampleSet(tuple(texts), label, classes, torch.tensor(kept))


def sent140(file: str, held: str = "test", at_least: int = 10) -> SampleSet:
    """Tweets by user, of users with so many. held: 'test': three quarters of these users;
    'validation': the others, by which the study's settings were chosen."""
    found = samples_of_leaf(Path(file).expanduser(), at_least)
    assert found.user is not None
    own = torch.tensor([user % _VALIDATION == 0 for user in range(len(found.users))])
    if held != "validation":
        own = ~own
    places = own[found.user].nonzero().flatten()
    users, user = numbered([found.users[n] for n in found.user[places].tolist()])
    raw = found.of(places)
    return replace(found, raw=raw, label=found.label[places], user=user, users=users)


def _held_back(held: str, place: int) -> bool:
    return held == "validation" and place % _VALIDATION == 0
