"""Chromium, driven by its DevTools protocol over a websocket."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_SECONDS = 60.0  # for anything, on a busy machine


class Browser:
    """One page. What it writes to its console as an error is kept in `errors`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._loaded: set[str] = set()  # documents, by the id of what loaded them
        self._some_loaded = asyncio.Event()
        self._session = ""
        self.errors: list[str] = []
        self.requested: list[str] = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            found = message.json()
            if (future := self._waiting.pop(found.get("id"), None)) is not None:
                future.set_result(found)
            self._note(found.get("method", ""), found.get("params", {}))

    def _note(self, method: str, about: dict[str, Any]) -> None:
        if method == "Page.lifecycleEvent" and about["name"] == "load":
            self._loaded.add(about["loaderId"])
            self._some_loaded.set()
        elif method == "Network.requestWillBeSent":
            self.requested.append(about["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(about["exceptionDetails"]))
        elif method == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.errors.append(f"{about['entry']['text']} {about['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "assert"):
            self.errors.append(str([each.get("value") for each in about["args"]]))

    async def send(self, method: str, **given: Any) -> Any:
        number = next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        call = {"id": number, "method": method, "params": given}
        if self._session:
            call["sessionId"] = self._session
        await self._socket.send_json(call)
        found = await asyncio.wait_for(future, _SECONDS)
        assert "error" not in found, (method, found)
        return found["result"]

    async def attach(self) -> None:
        """To the page that is open: another would be in the background, and pause."""
        targets = (await self.send("Target.getTargets"))["targetInfos"]
        target = next(each["targetId"] for each in targets if each["type"] == "page")
        found = await self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        await self.send("Page.bringToFront")
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")
        await self.send("Page.setLifecycleEventsEnabled", enabled=True)

    async def look(self, width: int, height: int = 900, dark: bool = False) -> None:
        """A window so wide, of a system that is light or dark."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def go(self, url: str) -> None:
        """Until it is loaded; the page before may still say that it was."""
        loader = (await self.send("Page.navigate", url=url))["loaderId"]
        async with asyncio.timeout(_SECONDS):
            while loader not in self._loaded:
                self._some_loaded.clear()
                await self._some_loaded.wait()

    async def run(self, script: str) -> Any:
        """The value of an expression."""
        found = await self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, script: str) -> Any:
        """The value of an expression, once it is true."""
        async with asyncio.timeout(_SECONDS):
            while not (found := await self.run(script)):
                await asyncio.sleep(0.1)
        return found

    async def press(self, key: str) -> None:
        """Tab or Enter."""
        code, text = {"Tab": (9, ""), "Enter": (13, "\r")}[key]
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **about)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    async def picture(self, file: Path, whole: bool = True) -> None:
        found = await self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(found["data"]))

    async def stop(self) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Browser]:
    """folder: an empty one for its profile."""
    assert CHROMIUM is not None
    process = subprocess.Popen(
        [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu"),
            *("--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage"),
            *("--remote-debugging-port=0", f"--user-data-dir={folder}"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = await _address(folder / "DevToolsActivePort")
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(address, max_msg_size=0) as socket,
        ):
            page = Browser(socket)
            await page.attach()
            try:
                yield page
            finally:
                await page.stop()
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()


async def _address(file: Path) -> str:
    async with asyncio.timeout(_SECONDS):
        while True:
            lines = file.read_text().splitlines() if file.exists() else []
            if len(lines) >= 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            await asyncio.sleep(0.1)
