"""The version that answers is the one that the store says serves, within a moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from understudy.errors import ConfigError, LedgerUnavailable, UnderstudyError
from understudy.gateway.deciding import Deciding
from understudy.gateway.engine import EngineError
from understudy.gateway.local import LocalSide
from understudy.store.versions import Served, Version, Versions

_LOOK_SECONDS = 0.25
_RETRY_SECONDS = 5.0  # after a version could not be taken up
_KEPT = 2  # versions beside the one that serves, for whoever names them and for going back

log = logging.getLogger(__name__)

# Who decides for a version, by what lies in its folder; None: as before.
DecideFor = Callable[[Path], Deciding | None]


class Swapping:
    """Follows what is promoted or rolled back under a local model's name.

    A version is loaded before it serves. A request finishes on the version that it began with. One
    that cannot be loaded is said in the log, and what served goes on serving.
    """

    def __init__(self, local: LocalSide, versions: Versions, decide_for: DecideFor) -> None:
        self.local, self.versions = local, versions
        self.name = local.serving.partition("@")[0]
        self._base = local.serving  # what answers where nothing was promoted
        self._base_deciding = Deciding(local.policy, local.task_of, local.tasks)
        self._decide_for = decide_for
        self._served: Served | None = None
        self._recent: list[str] = []
        self._unloading: set[asyncio.Task[None]] = set()

    async def follow(self) -> None:
        """For as long as the gateway runs."""
        while True:
            wait = _LOOK_SECONDS
            try:
                await self.look()
            except LedgerUnavailable as error:
                log.warning("which version serves cannot be read: %s", error)
                wait = _RETRY_SECONDS
            except (EngineError, UnderstudyError) as error:
                log.error("%s goes on serving: %s", self.local.serving, error)
                wait = _RETRY_SECONDS
            await asyncio.sleep(wait)

    async def look(self) -> None:
        """Once. Raises EngineError and UnderstudyError."""
        served = await asyncio.to_thread(self.versions.serving, self.name)
        if served is None or served == self._served:
            return
        if served.step is None:
            wanted, deciding = self._base, self._base_deciding
        else:
            wanted = str(served)
            version = await asyncio.to_thread(self.versions.find, wanted)
            deciding = await self._taken_up(wanted, version) or self._base_deciding
        before, local = self.local.serving, self.local
        local.serving, local.policy, local.task_of = wanted, deciding.policy, deciding.task_of
        local.tasks = deciding.tasks
        self._served = served
        if wanted != before:
            log.info("%s serves from now on, in place of %s: %s", wanted, before, served.why)
            self._forget(before)

    async def _taken_up(self, wanted: str, version: Version) -> Deciding | None:
        if not await asyncio.to_thread(version.folder.is_dir):
            raise ConfigError(f"version {wanted}: {version.folder} is not there")
        if wanted not in self.local.versions():
            given = (version.digest,) if version.digest else ()
            await self.local.engine.load(wanted, version.folder, *given)
        return await asyncio.to_thread(self._decide_for, version.folder)

    def _forget(self, before: str) -> None:
        """Unload what served long ago, after its last request."""
        serving = self.local.serving
        self._recent = [each for each in self._recent if each not in (before, serving)] + [before]
        while len(self._recent) > _KEPT:
            old = self._recent.pop(0)
            if old == self._base:
                continue
            task = asyncio.create_task(self.local.engine.unload(old))
            self._unloading.add(task)
            task.add_done_callback(self._unloaded)

    def _unloaded(self, task: asyncio.Task[None]) -> None:
        self._unloading.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a version could not be unloaded: %s", error)
