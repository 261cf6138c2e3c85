"""What the store says serves is what answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.gateway.gateways import ScriptedEngine, routed
from understudy.errors import ConfigError
from understudy.gateway.deciding import Deciding
from understudy.gateway.engine import EngineError
from understudy.gateway.local import LocalSide
from understudy.gateway.policy import NeverAsks
from understudy.gateway.swapping import Swapping
from understudy.store.database import open_database
from understudy.store.versions import Versions


class Loading(ScriptedEngine):
    """An engine that takes versions up, but for those whose folder is called broken."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded = ["tiny@1"]

    def versions(self) -> list[str]:
        return list(self.loaded)

    async def load(self, version: str, folder: Path) -> None:
        if folder.name == "broken":
            raise EngineError(f"{folder}: is broken")
        self.loaded.append(version)

    async def unload(self, version: str) -> None:
        self.loaded.remove(version)


def test_versions_are_taken_up_rolled_back_and_let_go(tmp_path: Path) -> None:
    versions = Versions(open_database(str(tmp_path / "g.db")))
    engine, first = Loading(), routed()
    own = Deciding(lambda task: NeverAsks(), lambda named, text: "own")
    local = LocalSide(engine, lambda task: first, "tiny@1")

    def decide(folder: Path) -> Deciding | None:
        return own if folder.name == "2" else None

    swapping = Swapping(local, versions, decide)

    def add(step: int, name: str = "") -> str:
        folder = tmp_path / (name or str(step))
        folder.mkdir()
        return str(versions.add("tiny", step, folder))

    async def go() -> None:
        await swapping.look()
        assert local.serving == "tiny@1"
        versions.promote(add(2), "better")
        await swapping.look()
        assert (local.serving, local.task_of("", "")) == ("tiny@2", "own")
        assert isinstance(local.policy(""), NeverAsks)
        versions.promote(add(3), "better still")
        await swapping.look()
        assert local.serving == "tiny@3"
        assert local.policy("") is first  # nothing lies beside this one
        versions.roll_back("tiny", "worse")
        await swapping.look()
        assert local.serving == "tiny@2"
        versions.promote(add(4, "broken"), "better?")
        with pytest.raises(EngineError, match="is broken"):
            await swapping.look()
        assert local.serving == "tiny@2"
        for step in (5, 6):
            versions.promote(add(step), "again")
            await swapping.look()
        await asyncio.sleep(0.01)
        assert local.serving == "tiny@6"
        assert engine.loaded == ["tiny@1", "tiny@2", "tiny@5", "tiny@6"]
        versions.promote("tiny", "as it was")
        await swapping.look()
        assert (local.serving, local.policy("")) == ("tiny@1", first)

    asyncio.run(go())


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    versions = Versions(open_database(str(tmp_path / "g.db")))
    policy = routed()
    local = LocalSide(Loading(), lambda task: policy, "tiny@1")
    versions.promote(str(versions.add("tiny", 2, tmp_path / "gone")), "better")
    with pytest.raises(ConfigError, match="is not there"):
        asyncio.run(Swapping(local, versions, lambda folder: None).look())
