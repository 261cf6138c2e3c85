"""The examples of agents that share: their data, their net, and their settings."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml

from understudy.errors import ConfigError
from understudy.settings import check_settings
from understudy.share.population import Agents, shape_of
from understudy.share.variants import ShareRun, variants_of
from understudy.tasks.instances import Instances

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "sharing"
EVERY = sorted(path.name for path in FOLDER.glob("*.yaml"))


@pytest.fixture(scope="module")
def texts() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sharing_texts", FOLDER / "texts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def settings_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return found


def test_all_examples_are_known() -> None:
    assert EVERY == ["digits.yaml", "modes.yaml", "texts.yaml"]


@pytest.mark.parametrize("name", EVERY)
def test_its_settings_fit_its_data_in_every_variant(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "digits.yaml":
        pytest.importorskip("sklearn")
    monkeypatch.chdir(ROOT)
    run = ShareRun(**settings_of(name))
    for config in variants_of(run).values():
        Agents(config).check()


@pytest.mark.parametrize(
    "path",
    [ROOT / "examples" / "flower" / "settings.yaml", *(ROOT / "bench" / "sharing").glob("*.yaml")],
    ids=lambda path: path.name,
)
def test_other_settings_that_are_shipped_are_settings(path: Path) -> None:
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert variants_of(check_settings(ShareRun, settings))


def test_questions_are_told_apart_from_padding_and_from_each_other(texts: ModuleType) -> None:
    tokens, labels = texts.questions(per_intent=50)
    assert tokens.shape == (12 * 50, 40)
    assert labels.bincount().tolist() == [50] * 12
    assert len(tokens.unique(dim=0)) > 0.95 * len(tokens)  # some differ beyond their 40th token
    with pytest.raises(ConfigError, match="ask for fewer"):
        texts.questions(per_intent=1000)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_questions_of_ones_own_are_read(texts: ModuleType, tmp_path: Path, form: str) -> None:
    rows = [{"text": "Is It\nhere?", "category": "where"}, {"text": "no", "category": "a"}]
    path = tmp_path / f"own.{form}"
    with path.open("w", newline="") as file:
        if form == "json":
            json.dump(rows, file)
        else:
            writer = csv.DictWriter(file, ["text", "category"])
            writer.writeheader()
            writer.writerows(rows)
    tokens, labels = texts.questions(path=str(path), longest=20)
    assert labels.tolist() == [1, 0]
    known = texts.Tokens(texts.resolve("tiny"))
    assert [known.decode(row.tolist()) for row in tokens] == ["is it\nhere?", "no"]
    path.write_text("text\nno" if form == "csv" else "[{}]")
    with pytest.raises(ConfigError, match="cannot be read"):
        texts.questions(path=str(path))


def test_without_its_adapters_the_net_is_the_language_model(texts: ModuleType) -> None:
    """Its features are of the decoder's own final states, however long the padding is."""
    config = ShareRun(net=f"{FOLDER / 'texts.py'}:language_model", learner="monolithic", tasks=2)
    tokens, labels = texts.questions()
    own = shape_of(config, Instances(tokens, labels), config.nets[0]).own
    assert own is not None
    modules = {name: weight[None, None] for name, weight in own.new_weights(0).items()}
    lengths = (tokens != own.net.pad).sum(dim=1)  # type: ignore[attr-defined]
    one, short = tokens[lengths.argmin(), None], int(lengths.min())
    assert short < 40
    decoder = own.net.decoder  # type: ignore[attr-defined]
    head, decoder.head = decoder.head, torch.nn.Identity()
    states = decoder(one[:, :short])
    decoder.head = head
    for length in (short, 40):
        h = own.entrance(one[:, :length].clone())[None]
        for layer in range(own.net.layers):
            base, given = own.before(layer, h)
            h = base + own.applied(modules, given).squeeze(2)
        found = own.features_of(h)[0]
        torch.testing.assert_close(found, 4 * states.amax(dim=1), rtol=1e-4, atol=1e-4)
