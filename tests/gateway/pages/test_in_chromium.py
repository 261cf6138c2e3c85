"""The dashboard in a real Chromium: no error, nothing wider than the window, keys that work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.gateway.pages.board import HOSTILE, Board
from tests.gateway.pages.browser import CHROMIUM, Browser, browser
from understudy.store.caps import Cap
from understudy.store.events import Event

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here"),
]
PLACES = ("/", "/?span=day", "/dashboard/decisions", "/dashboard/versions", "/dashboard/playground")
CHARTS = "document.querySelectorAll('.plot canvas').length === 4"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    board = Board(tmp_path, caps=[Cap.of("total", "dollars", 5, "day")])
    board.fill(300, 3000, ["ann", "bob"])
    board.writer.add(Event(HOSTILE, board.now, HOSTILE, "local", HOSTILE, HOSTILE, task="x" * 300))
    board.writer.flush()
    yield board
    board.close()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
async def test_pages_fit_their_window_without_an_error(
    board: Board, tmp_path: Path, width: int, dark: bool
) -> None:
    with board.served() as gateway:
        async with browser(tmp_path / "profile") as page:
            await page.look(width, dark=dark)
            for path in PLACES:
                await page.go(gateway.url + path)
                if path.startswith("/?") or path == "/":
                    await page.until(CHARTS)
                    await page.until("document.getElementById('line').textContent === 'live'")
                assert await page.run("document.documentElement.scrollWidth") <= width, path
                assert await page.run("document.querySelectorAll('h1').length") == 1
                assert await page.run(_UNNAMED) == []
                assert await page.run(_FAINT) == []
                assert page.errors == [], path
            hosts = {urlsplit(url).netloc for url in page.requested if url.startswith("http")}
            assert hosts == {f"127.0.0.1:{gateway.port}"}


# Controls that a screen reader could not name.
_UNNAMED = """
[...document.querySelectorAll('button, a[href], input:not([type=hidden]), select, textarea')]
  .filter((each) => !each.textContent.trim() && !(each.labels && each.labels.length))
  .map((each) => each.outerHTML)
"""


# Texts whose contrast is below WCAG's AA, over whatever stands behind them.
_FAINT = """
(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const over = (below, colour) => {  // as the browser itself blends them
    canvas.clearRect(0, 0, 1, 1);
    for (const each of [below, colour]) { canvas.fillStyle = each; canvas.fillRect(0, 0, 1, 1); }
    return `rgb(${[...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).join(',')})`;
  };
  const behind = (element) => element === null ? 'rgb(255,255,255)'
    : over(behind(element.parentElement), getComputedStyle(element).backgroundColor);
  const light = (colour) => {
    const parts = colour.match(/[0-9.]+/g).slice(0, 3).map((each) => each / 255)
      .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const found = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    if (element.closest('script, style, noscript, :disabled, .hidden, .skip')) continue;
    const below = behind(element), own = over(below, getComputedStyle(element).color);
    const [dark, bright] = [light(below), light(own)].sort((a, b) => a - b);
    const ratio = (bright + 0.05) / (dark + 0.05);
    const pair = `${own} on ${below}: ${ratio.toFixed(2)}`;
    if (ratio < 4.5) found.set(pair, element.outerHTML.slice(0, 200));
  }
  return [...found];
})()
"""


async def test_the_playground_is_used_with_the_keyboard_alone(board: Board, tmp_path: Path) -> None:
    with board.served() as gateway:
        async with browser(tmp_path / "profile") as page:
            await page.look(1280)
            await page.go(f"{gateway.url}/dashboard/playground")
            await page.until("document.activeElement.name === 'question'")
            await page.send("Input.insertText", text=f"one two {HOSTILE}")
            for _ in range(6):  # model, dial, tokens, deadline, instructions, ask
                await page.press("Tab")
            assert await page.run("document.activeElement.textContent") == "Ask"
            await page.press("Enter")
            await page.until("document.querySelector('.judge') !== null")
            text = await page.run("document.getElementById('answer-text').textContent")
            assert text == f"one two {HOSTILE}"
            assert "echo@7" in await page.run("document.getElementById('decided').textContent")
            assert (
                await page.run("document.querySelectorAll('#answer script, #answer img').length")
                == 0
            )
            assert page.errors == []


async def test_what_happens_appears_while_one_looks_and_the_theme_is_kept(
    board: Board, tmp_path: Path
) -> None:
    with board.served() as gateway:
        async with browser(tmp_path / "profile") as page:
            await page.look(1280)
            await page.go(gateway.url)
            await page.until("document.getElementById('line').textContent === 'live'")
            await page.run("document.querySelector('.decisions summary').click()")
            await page.until("document.querySelector('.told .facts') !== null")
            board.writer.add(Event("new", board.now + 5, "ann", "cloud", "just now", "big"))
            await page.until("document.getElementById('recent').textContent.includes('just now')")
            # What was open stays open, with what it had loaded.
            assert await page.run("document.querySelectorAll('details[open] .facts').length") == 1
            await page.run("document.getElementById('theme').click()")
            await page.run("document.getElementById('theme').click()")
            await page.go(f"{gateway.url}/dashboard/decisions")
            assert await page.run("document.documentElement.dataset.theme") == "dark"
            assert (
                await page.run("getComputedStyle(document.body).backgroundColor")
                == "rgb(14, 17, 20)"
            )
            assert page.errors == []


@pytest.mark.parametrize("width", [1280, 1000, 700, 390])
async def test_tiles_fill_their_rows_and_a_choice_shows_its_words(
    board: Board, tmp_path: Path, width: int
) -> None:
    with board.served() as gateway:
        async with browser(tmp_path / "profile") as page:
            await page.look(width)
            await page.go(gateway.url)
            assert await page.run(_EMPTY_TILES) == 0
            assert await page.run(_CUT_TILES) == []
            await page.go(f"{gateway.url}/dashboard/playground")
            # Nothing is kept free at the window's edge, in another colour than the header's.
            assert await page.run("document.querySelector('header').clientWidth") == width
            assert await page.run(_CUT_CHOICE) <= 0


# Places of the grid that no tile stands in.
_EMPTY_TILES = """
(() => {
  const tiles = [...document.querySelectorAll('.tiles > div')];
  const right = Math.max(...tiles.map((each) => each.getBoundingClientRect().right));
  return Math.round(right - tiles.at(-1).getBoundingClientRect().right);
})()
"""
_CUT_TILES = """
[...document.querySelectorAll('.tiles > div')].filter((each) => each.scrollWidth > each.clientWidth)
  .map((each) => each.textContent.trim())
"""
# By how many pixels the longest option is wider than the field for models.
_CUT_CHOICE = """
(() => {
  const choice = document.querySelector('select[name=model]');
  const copy = choice.cloneNode(true);
  copy.style.cssText = 'position: absolute; width: auto; visibility: hidden';
  document.body.append(copy);
  return copy.offsetWidth - choice.offsetWidth;
})()
"""


async def test_a_key_opens_a_session(board: Board, tmp_path: Path) -> None:
    _, secret = board.key("looks", "dashboard")
    with board.served(with_keys=True) as gateway:
        async with browser(tmp_path / "profile") as page:
            await page.look(390)
            await page.go(f"{gateway.url}/dashboard/versions")
            await page.until("document.activeElement.name === 'key'")
            await page.send("Input.insertText", text=secret)
            await page.press("Enter")
            await page.until("document.title.startsWith('Versions')")
            await _signed_out(page)
            assert page.errors == []


async def _signed_out(page: Browser) -> None:
    await page.run("document.querySelector('form[action$=sign-out] button').click()")
    await page.until("document.title.startsWith('Sign in')")
