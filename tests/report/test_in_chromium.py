"""Every kind of page in a real Chromium: it fits a phone, it is dark where the system is."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.gateway.pages.browser import CHROMIUM, Browser, browser
from tests.gateway.shadow import logged
from tests.report.federate.test_page import written_run as written_federation
from tests.report.offload.conftest import written_run
from tests.report.share.sharing import TWELVE, written_share_run
from understudy.gateway.shadow.logs import read_logs
from understudy.gateway.shadow.settings import ShadowSettings
from understudy.gateway.shadow.study import answer_log, study, verdicts_of, write_report
from understudy.report import write, write_comparison

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here"),
]
PAGES = ("train", "share", "federate", "compare", "shadow")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    tasks = ("stories", "strings", "facts", "calendar", "sums", "a task with a rather long name")
    runs = [
        written_run(folder / "trained", tasks, {"learning_rate": 2e-4}),
        written_share_run(folder / "shared", TWELVE, agents=6),
        written_federation(folder / "federated"),
    ]
    for name, run in zip(PAGES, runs, strict=False):
        write(run)
        shutil.copy(run.report, folder / f"{name}.html")
    write_comparison(runs, folder / "compare.html")
    rows = [logged.standard_payload(f"{n}+{n}", str(2 * n), str(n)) for n in range(40)]
    log, settings = logged.write(folder / "log.jsonl", rows), ShadowSettings()
    calls = read_logs([str(log)])
    answers, verdicts = answer_log(calls, settings, None), verdicts_of(calls.calls, settings)
    done = study(calls, answers, settings, [str(log)], verdicts)
    shutil.copy(write_report(done, folder / "shadow"), folder / "shadow.html")
    return folder


@pytest.mark.parametrize("width", [1280, 390])
async def test_nothing_is_wider_than_the_window(pages: Path, tmp_path: Path, width: int) -> None:
    async with browser(tmp_path / "profile") as page:
        await page.look(width)
        for name in PAGES:
            await page.go(f"file://{pages}/{name}.html")
            assert await page.run("document.documentElement.scrollWidth") <= width, name
            assert await page.run(_TOO_WIDE) == [], name
            assert await page.run("document.querySelectorAll('figure svg').length") > 0, name
            assert await page.run(_SMALL_LETTERS) == [], name
            assert page.errors == [], name


# What stands out of the window, but for tables and commands, which scroll by themselves; and plots
# that would have to be scrolled.
_TOO_WIDE = """
[...document.querySelectorAll('body *')].filter((each) => {
  const box = each.getBoundingClientRect();
  if (!each.checkVisibility() || each.closest('.table table, pre code, svg *')) return false;
  const scrolls = each.matches('figure') && each.scrollWidth > each.clientWidth;
  return scrolls || box.left < 0 || box.right > window.innerWidth + 0.5;
}).map((each) => each.outerHTML.slice(0, 120))
"""

# Plots whose letters are shown with less than nine pixels. matplotlib's are drawn with 10 units.
_SMALL_LETTERS = """
[...document.querySelectorAll('.wide > svg, .narrow > svg')]
  .filter((each) => each.checkVisibility())
  .map((each) => [each.getAttribute('aria-label'), (each.getAttribute('font-size') || 10)
                  * each.getBoundingClientRect().width / each.viewBox.baseVal.width])
  .filter(([label, size]) => size < 9)
"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", PAGES)
async def test_plots_are_as_bright_as_their_page(
    pages: Path, tmp_path: Path, name: str, dark: bool
) -> None:
    async with browser(tmp_path / "profile") as page:
        await page.look(1280, dark=dark)
        await page.go(f"file://{pages}/{name}.html")
        picture = await _shown(page, tmp_path / "page.png")
        for box in await page.run(_PLOTS):
            left, top, right, bottom = (round(each) for each in box)
            # What it is drawn on, also where a map of shades covers most of it.
            below, above = np.percentile(picture[top:bottom, left:right], [10, 90])
            assert below < 70 if dark else above > 185, (box, below, above)
        assert page.errors == []


_PLOTS = """
[...document.querySelectorAll('figure svg')].filter((each) => each.checkVisibility())
  .map((each) => each.getBoundingClientRect()).map((box) => [
    box.left + window.scrollX, box.top + window.scrollY,
    box.right + window.scrollX, box.bottom + window.scrollY])
"""


async def _shown(page: Browser, file: Path) -> Any:
    """The whole page as lightness, from 0 to 255."""
    await page.picture(file)
    return np.asarray(Image.open(io.BytesIO(file.read_bytes())).convert("L"))


async def test_no_two_variants_share_a_colour(pages: Path, tmp_path: Path) -> None:
    """A row for each, in its colour; of one compared run no user is known."""
    async with browser(tmp_path / "profile") as page:
        await page.look(1280)
        rows = {"share": ("agents", len(TWELVE)), "federate": ("clients", 2)}
        for name, (plot, count) in {**rows, "compare": ("users", 2)}.items():
            await page.go(f"file://{pages}/{name}.html")
            colours = await page.run(_COLOURS % plot)
            assert len(set(colours)) == len(colours) == count, name


# Of the large points of a plot: matplotlib fills each by a style of its own.
_COLOURS = """
[...document.querySelectorAll('.wide g[id^="%s-line2d"] use')]
  .filter((each) => each.style.stroke === 'rgb(255, 255, 255)' || each.style.stroke === '#ffffff')
  .map((each) => each.style.fill)
"""
