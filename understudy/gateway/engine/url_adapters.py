"""How engines elsewhere take up adapters: vLLM loads them, llama.cpp scales those it began with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, Protocol

import aiohttp

from understudy.clouds.completions import error_message
from understudy.gateway.engine import EngineError


class UrlAdapters(Protocol):
    """base: what a request's body says to be answered without a loaded adapter."""

    base: Mapping[str, Any]

    async def load(self, version: str, folder: Path) -> dict[str, Any]:
        """What a request's body says to be answered by a version; raises EngineError."""
        ...

    async def unload(self, version: str) -> None: ...


async def find_adapters(session: aiohttp.ClientSession, base: str) -> UrlAdapters:
    root = base.removesuffix("/v1")
    try:
        async with session.get(f"{root}/lora-adapters") as response:
            if response.status == 200 and isinstance(known := await response.json(), list):
                return LlamaCppAdapters(known)
    except (aiohttp.ClientError, TimeoutError, ValueError):
        pass
    try:
        # Without a name it says what is missing, where it is there at all.
        async with session.post(f"{base}/load_lora_adapter", json={}) as response:
            if response.status in (400, 422):
                return VllmAdapters(session, base)
    except (aiohttp.ClientError, TimeoutError):
        pass
    return NoAdapters(base)


class VllmAdapters:
    """vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True; it reads the folder on its own machine."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session, self.url = session, base
        self.base: Mapping[str, Any] = {}

    async def load(self, version: str, folder: Path) -> dict[str, Any]:
        path = str(folder.resolve())
        await self._post("load_lora_adapter", {"lora_name": version, "lora_path": path})
        return {"model": version}

    async def unload(self, version: str) -> None:
        await self._post("unload_lora_adapter", {"lora_name": version})

    async def _post(self, verb: str, body: dict[str, str]) -> None:
        try:
            async with self.session.post(f"{self.url}/{verb}", json=body) as response:
                if response.status == 200:
                    return
                text = await response.text()
                try:
                    reason = error_message(await response.json(content_type=None)) or text
                except ValueError:
                    reason = text
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = type(error).__name__
        raise EngineError(f"{self.url}: {verb} of {body['lora_name']} failed: {reason[:240]}")


class LlamaCppAdapters:
    """llama.cpp's server: adapters are given at its start, and every request says how much of each
    it wants, so that versions answer side by side."""

    def __init__(self, known: list[Mapping[str, Any]]) -> None:
        self.known = {int(each["id"]): str(each.get("path", "")) for each in known}
        scales = [{"id": int(each["id"]), "scale": each.get("scale", 0.0)} for each in known]
        self.base: Mapping[str, Any] = {"lora": scales} if scales else {}

    async def load(self, version: str, folder: Path) -> dict[str, Any]:
        wanted = [number for number, path in self.known.items() if _names(path, version, folder)]
        if len(wanted) != 1:
            has = ", ".join(PurePath(path).name for path in self.known.values()) or "none"
            raise EngineError(
                f"version {version} is not loaded: llama.cpp takes adapters at its start only, and "
                f"has {has}; export {folder} by `understudy export --to gguf-lora`, and start it "
                f"with --lora {version}.gguf"
            )
        return {"lora": [{"id": n, "scale": float(n == wanted[0])} for n in self.known]}

    async def unload(self, version: str) -> None:
        """It stays in the server, and no request asks for it."""


def _names(path: str, version: str, folder: Path) -> bool:
    """Whether a file is that of a version: by its name, or as the only one in the folder."""
    place = PurePath(path)
    return place.stem == version or PurePath(str(folder.resolve())) == place.parent


class NoAdapters:
    """An engine whose adapters lie in its own files: Ollama, LM Studio."""

    def __init__(self, base: str) -> None:
        self.url = base
        self.base: Mapping[str, Any] = {}

    async def load(self, version: str, folder: Path) -> dict[str, Any]:
        raise EngineError(
            f"version {version} is not loaded: {self.url} takes no adapter while it runs; use "
            "vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, llama.cpp's server with --lora, or "
            "serve the model here"
        )

    async def unload(self, version: str) -> None:
        """None was loaded."""
