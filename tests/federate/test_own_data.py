"""Every client with a file of its own: all number their classes alike. A foundation that lacks
what a method needs is refused in a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.federate.tiny import config_of
from tests.federate.tiny import foundation as tiny
from understudy.errors import ConfigError
from understudy.federate.population import Federation
from understudy.federate.samples import SampleSet, among


def samples(*classes: str) -> SampleSet:
    return SampleSet(tuple(classes), torch.arange(len(classes)), classes)


def test_a_class_has_one_number_whoever_has_it() -> None:
    names = ["blue", "green", "red"]
    assert among(samples("blue", "red"), names, "x").label.tolist() == [0, 2]
    assert among(samples("green", "red"), names, "x").label.tolist() == [1, 2]
    assert among(samples("green", "red"), names, "x").classes == ("blue", "green", "red")
    assert among(samples("1", "5"), 6, "x").label.tolist() == [1, 5]


def test_what_nobody_could_number_alike_is_refused() -> None:
    with pytest.raises(ConfigError, match="'blue', which is none of classes=2"):
        among(samples("blue", "red"), 2, "x")
    with pytest.raises(ConfigError, match="'7', which is none of classes=6"):
        among(samples("1", "7"), 6, "x")
    with pytest.raises(ConfigError, match="names 'a' twice"):
        config_of(classes=["a", "b", "a"])
    with pytest.raises(ConfigError, match="must be two at least"):
        config_of(classes=1)


def test_clients_of_own_files_share_the_rows_of_a_head(tmp_path: Path) -> None:
    for client, words in ((1, ("red", "blue")), (2, ("green", "red"))):
        rows = [{"text": f"{word} {n}", "label": word} for n in range(10) for word in words]
        path = tmp_path / f"{client}.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    own: dict[str, Any] = {
        "data": f"{tmp_path}/{{client}}.jsonl",
        "data_options": {},
        "foundation": {"name": "tiny"},
        "classes": ["blue", "green", "red"],
        "clients": 2,
        "tasks": 1,
        "method": {"kind": "head"},
        "server": None,
    }
    federation = Federation(config_of(**own))
    federation.check()
    found = [federation._tasks(0, client)[0].classes for client in (1, 2)]
    assert [sorted(each) for each in found] == [[0, 2], [1, 2]]


class Bare:
    """The least that a foundation of one's own has."""

    def __init__(self) -> None:
        known = tiny()
        self.kind, self.width, self.blocks = known.kind, known.width, known.blocks
        self.module, self.target = known.module, known.target
        self.prepare, self.activations = known.prepare, known.activations
        self._known = known

    def features(self, inputs: Any, adapters: Any = None) -> torch.Tensor:
        return self._known.features(inputs, adapters)


def bare() -> Bare:
    return Bare()


def test_a_foundation_that_takes_no_prompts_is_refused_where_they_are_needed() -> None:
    settings: dict[str, Any] = {"foundation": {"name": f"{__file__}:bare"}, "server": None}
    Federation(config_of(**settings, method={"kind": "head"})).check()
    with pytest.raises(ConfigError, match="needs token_width and features") as refused:
        Federation(config_of(**settings, method={"kind": "prompts"})).check()
    assert "\n" not in str(refused.value)
    with pytest.raises(ConfigError, match="needs token_width"):
        Federation(config_of(**settings | {"server": "none"}, method={"kind": "prompts"})).check()
