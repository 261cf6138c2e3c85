"""The local engine: one thread runs the models, and answers come out as they are written."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from understudy.errors import UnderstudyError
from understudy.gateway.engine import EngineError, EngineLoad, Job, Piece, Written
from understudy.gateway.engine.adapters import Fitted, read_adapter
from understudy.gateway.engine.base import Base
from understudy.gateway.engine.digests import adapter_digest
from understudy.gateway.engine.fields import unserved
from understudy.gateway.engine.loop import Loop
from understudy.gateway.engine.options import DEFAULT, EngineOptions
from understudy.gateway.engine.rows import Row
from understudy.models.hub import ADAPTER, is_hub_name, resolve

_LOOK_SECONDS = 0.01  # between looks at whether a version's last request has ended

OpenBase = Callable[[Path], Base]  # of a folder with all weights


@dataclass(frozen=True, slots=True)
class _Version:
    base: Base
    digest: str  # of its adapter; "": all weights


class LocalEngine:
    """Serves the versions of one base, and of others that are loaded as whole checkpoints.

    version: the first one's name; adapter: its folder; None: the base as it is. open_base: loads a
    whole checkpoint; None: adapters only.
    """

    signals = frozenset({"margin", "mean_entropy", "mean_logprob"})

    def __init__(
        self,
        base: Base,
        version: str,
        options: EngineOptions = DEFAULT,
        open_base: OpenBase | None = None,
        on_close: Callable[[], None] | None = None,
        adapter: Path | None = None,
    ) -> None:
        self.base, self.options = base, options
        self._open_base, self._on_close = open_base, on_close
        self._versions: dict[str, _Version] = {}
        self._users: Counter[str] = Counter()  # requests, from before they wait
        self._mail: list[tuple[asyncio.AbstractEventLoop, asyncio.Queue[Any], Any]] = []
        self._loop = Loop(options, self._deliver)
        # One at a time: a tokenizer has a state while it encodes.
        self._preparing = ThreadPoolExecutor(1, "understudy-prompts")
        self._loop.start()
        try:
            if adapter is None:
                self._add(version, _Version(base, ""), None)
            else:
                self._load_adapter(version, adapter, "")
        except BaseException:
            self._loop.close()
            raise

    async def write(self, job: Job) -> AsyncIterator[Piece | Written]:
        version = self._versions.get(job.version)
        if version is None:
            known = ", ".join(self._versions) or "none"
            raise EngineError(f"version {job.version} is not loaded; there is {known}")
        self._loop.check_room()
        self._users[job.version] += 1  # from now on it is not unloaded
        try:
            async with aclosing(self._written(job, version.base)) as items:
                async for item in items:
                    yield item
        finally:
            self._users[job.version] -= 1

    async def _written(self, job: Job, base: Base) -> AsyncGenerator[Piece | Written, None]:
        here = asyncio.get_running_loop()
        prepared = await here.run_in_executor(self._preparing, base.prompts.prepare, job)
        if prepared.schema is not None:  # it may take a while, and nobody else waits for it
            grammar = await here.run_in_executor(None, base.prompts.grammars.of, prepared.schema)
            prepared = replace(prepared, grammar=grammar)
        items: asyncio.Queue[Any] = asyncio.Queue()
        row = Row(prepared, lambda item: self._mail.append((here, items, item)))
        self._loop.submit(row)
        try:
            while True:
                item = await items.get()
                if isinstance(item, EngineError):
                    raise item
                yield item
                if isinstance(item, Written):
                    return
        finally:
            self._loop.leave(row)

    def unserved(self, body: Mapping[str, Any]) -> str:
        return unserved(body)

    def versions(self) -> list[str]:
        return list(self._versions)

    def digest(self, version: str) -> str:
        """Of the tensors of a version's adapter; "" for all weights."""
        return self._versions[version].digest

    async def load(self, version: str, folder: Path, digest: str = "") -> None:
        """Take up an adapter's folder, or a whole checkpoint, between two tokens.

        digest: what its tensors are known to be; "": as the folder has them. An adapter whose
        tensors are not those is refused, and so is a name that stands for others already.
        """
        here = asyncio.get_running_loop()
        try:
            if (folder / ADAPTER).is_file():
                await here.run_in_executor(None, self._load_adapter, version, folder, digest)
            else:
                await here.run_in_executor(None, self._load_base, version, folder)
        except UnderstudyError as error:
            raise EngineError(f"version {version} is not loaded: {error}") from error

    async def unload(self, version: str) -> None:
        if version not in self._versions:
            raise EngineError(f"version {version} is not loaded")
        if len(self._versions) == 1:
            raise EngineError(f"version {version} is the only one; load another first")
        gone = self._versions.pop(version)
        while self._users[version] or self._loop.users(version):
            await asyncio.sleep(_LOOK_SECONDS)
        del self._users[version]
        await asyncio.wrap_future(self._between(lambda: self._forget(version, gone)))

    def load_now(self) -> EngineLoad:
        return self._loop.load_now()

    async def close(self) -> None:
        self._loop.close()
        here = asyncio.get_running_loop()
        await here.run_in_executor(None, self._loop.join)
        self._preparing.shutdown(wait=False)
        if self._on_close is not None:
            self._on_close()
            self._on_close = None

    def _load_adapter(self, version: str, folder: Path, digest: str) -> None:
        adapter = read_adapter(folder, self.base.ask)
        again = digest or adapter_digest(folder)
        if adapter.digest != again:
            raise EngineError(
                f"version {version} is not loaded: the tensors read from {folder} are not those "
                "that it should hold; copy it again"
            )
        if version in self._versions:
            if self._versions[version].digest == adapter.digest:
                return
            raise EngineError(
                f"version {version} is loaded already with other tensors; give these another name"
            )
        if not _same(adapter.base, self.base.name):
            raise EngineError(
                f"version {version} is not loaded: it was trained on {adapter.base}, and this "
                f"engine serves {self.base.name}"
            )
        held, fitted = _Version(self.base, adapter.digest), self.base.adapters.fit(adapter)
        self._between(lambda: self._add(version, held, fitted)).result()

    def _load_base(self, version: str, folder: Path) -> None:
        if version in self._versions:
            raise EngineError(f"version {version} is loaded already; give this another name")
        if self._open_base is None or not (folder / "config.json").is_file():
            raise EngineError(f"version {version} is not loaded: {folder} holds no {ADAPTER}")
        held = _Version(self._open_base(folder), "")
        self._between(lambda: self._add(version, held, None)).result()

    def _add(self, version: str, held: _Version, fitted: Fitted | None) -> None:
        if version in self._versions:  # loaded twice at once
            return
        if fitted is not None:
            held.base.adapters.add(version, fitted)
        self._loop.models[version] = held.base.model
        self._versions = self._versions | {version: held}

    def _forget(self, version: str, held: _Version) -> None:
        self._loop.forget(version)
        held.base.adapters.remove(version)

    def _between(self, command: Callable[[], None]) -> Future[None]:
        """Have something done between two tokens."""
        done: Future[None] = Future()

        def run() -> None:
            try:
                command()
                done.set_result(None)
            except BaseException as error:
                done.set_exception(error)

        self._loop.call(run)
        return done

    def _deliver(self) -> None:
        """Hand over what rows sent in a pass, at once to every event loop."""
        mail, self._mail = self._mail, []
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Queue[Any], Any]]] = {}
        for loop, items, item in mail:
            by_loop.setdefault(loop, []).append((items, item))
        for loop, letters in by_loop.items():
            try:
                loop.call_soon_threadsafe(_put, letters)
            except RuntimeError:  # its event loop has ended, and so has whoever waited there
                continue


def _put(letters: list[tuple[asyncio.Queue[Any], Any]]) -> None:
    for items, item in letters:
        items.put_nowait(item)


def _same(one: str, other: str) -> bool:
    """Whether two names are of one base."""
    if one == other:
        return True
    if is_hub_name(one) or is_hub_name(other):  # nothing is downloaded to know
        name, _, revision = one.partition("@")
        own, _, known = other.partition("@")
        return name == own and not (revision and known)
    try:
        return resolve(one).resolve() == resolve(other).resolve()
    except UnderstudyError:
        return False
