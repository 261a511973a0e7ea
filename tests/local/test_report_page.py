"""The report in a real browser: everything is drawn, nothing is cut off, and nothing is asked of the network."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
import report_case
from conftest import lacking
from playwright.sync_api import Browser, Page, Route, sync_playwright

from presage.report.data import Report
from presage.report.html import render

pytestmark = pytest.mark.browser

WIDTHS = (360, 768, 1440)
SCREENSHOT = Path(__file__).parents[2] / "docs" / "screenshot.py"
LONG = "gradient_boosting_with_a_name_that_goes_on_and_on_<script>alert(1)</script>"
LONGER = "sp500." + "a_column_whose_name_is_as_long_as_a_name_may_be_and_has_no_place_to_break_it_" * 2

# What stands outside its box, as text: page-wide scrolling, text wider than its element, labels outside their chart.
CUT_OFF = """() => {
  const found = [];
  const inner = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > inner) found.push("the page scrolls sideways");
  for (const part of document.querySelectorAll("h1, h2, h3, p, li, dt, dd, summary, figure, .card, .scroll, .chart")) {
    const box = part.getBoundingClientRect();
    if (box.width === 0) continue;
    if (box.left < 0 || box.right > inner + 0.5) found.push(`outside the page: ${part.tagName} ${part.textContent}`);
    const scrolls = part.classList.contains("scroll");
    const wide = !scrolls && part.scrollWidth > part.clientWidth + 1;
    if (wide) found.push(`too wide: ${part.tagName} ${part.textContent}`);
  }
  for (const cell of document.querySelectorAll("th, td")) {
    if (cell.clientWidth && cell.scrollWidth > cell.clientWidth + 1) found.push(`cell: ${cell.textContent}`);
  }
  for (const chart of document.querySelectorAll(".chart")) {
    const frame = chart.getBoundingClientRect();
    for (const label of chart.querySelectorAll("text")) {
      const box = label.getBoundingClientRect();
      if (!box.width) continue;
      const outside = box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1
        || box.bottom > frame.bottom + 1;
      if (outside) found.push(`${chart.id}: the label ${label.textContent} is outside the chart`);
    }
  }
  return found;
}"""

# How many marks each chart has drawn, by the chart's name: 0 where its drawing has no size.
DRAWN = """() => Object.fromEntries([...document.querySelectorAll(".chart")].map((chart) => {
  const sized = (part) => { const box = part.getBoundingClientRect(); return box.width > 0 || box.height > 0; };
  const marks = [...chart.querySelectorAll(".js-line, .js-fill, .point, .point path, .box")].filter(sized);
  const drawing = chart.querySelector(".main-svg");
  return [chart.id, drawing && sized(drawing) ? marks.length : 0];
}))"""

# A chart follows its box a moment after the window's size has changed.
FITTED = """() => [...document.querySelectorAll(".chart")].every((chart) =>
  Math.abs(chart.querySelector(".main-svg").getBoundingClientRect().width - chart.clientWidth) < 1)"""

HEADINGS = "() => [...document.querySelectorAll('h1, h2, h3, h4')].map((one) => Number(one.tagName[1]))"
AXIS_COLOUR = "() => getComputedStyle(document.querySelector('.xtick text')).fill"
PILL = """() => { const style = getComputedStyle(document.querySelector('.outcome'));
  return [style.color, style.backgroundColor]; }"""


@dataclass
class Opened:
    """A page with what it complained of and what it asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("screenshot", SCREENSHOT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.chromium() is None:
        lacking("no Chromium; install the package chromium, or name one in CHROMIUM")
    return module


@pytest.fixture(scope="module")
def browser(tool: ModuleType) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=tool.chromium(), args=list(tool.FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    promoted = report_case.volatility_report()
    long = report_case.renamed(report_case.volatility_report(horizon=3), "ridge", LONG)
    changes = {"target": LONGER, "unit": "a unit of many words", "features": (LONGER, LONG)}
    reports: dict[str, Report] = {
        "promoted": promoted,
        "refused": report_case.price_report(),
        "long": report_case.replace(long, scorecard=long.scorecard.model_copy(update=changes)),
    }
    directory = tmp_path_factory.mktemp("pages")
    paths = {}
    for name, report in reports.items():
        paths[name] = directory / f"{name}.html"
        paths[name].write_text(render(report), encoding="utf-8")
    return paths


@pytest.fixture
def open_page(browser: Browser) -> Iterator:
    contexts = []

    def opened(path: Path, width: int = 1440, scheme: str = "light") -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        found = Opened(context.new_page())

        def only_the_page(route: Route) -> None:
            found.requests.append(route.request.url)
            if route.request.url == path.as_uri():
                route.continue_()
            else:
                route.abort()

        context.route("**/*", only_the_page)
        found.page.on("console", lambda message: found.complaints.append(f"{message.type}: {message.text}"))
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.on("requestfailed", lambda request: found.complaints.append(f"failed: {request.url}"))
        found.page.goto(path.as_uri())
        found.page.wait_for_function(
            "() => [...document.querySelectorAll('.chart')].every((chart) => chart.querySelector('.main-svg'))"
        )
        found.page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        return found

    yield opened
    for context in contexts:
        context.close()


CHARTS = {
    "promoted": [
        "fan",
        "market",
        "actual-against-forecast",
        "newest-forecasts",
        "skill-by-fold",
        "advantage-over-time",
    ],
    "refused": [
        "fan",
        "actual-against-forecast",
        "newest-forecasts",
        "skill-by-fold",
        "advantage-over-time",
        "error-by-horizon",
    ],
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["promoted", "refused"])
def test_the_page_is_whole_at_every_width_and_in_both_schemes(name, scheme, pages, open_page):
    opened = open_page(pages[name], WIDTHS[0], scheme)
    for summary in opened.page.locator("summary").all():
        summary.click()
    for width in WIDTHS:
        opened.page.set_viewport_size({"width": width, "height": 800})
        opened.page.wait_for_function(FITTED)
        drawn = opened.page.evaluate(DRAWN)
        assert list(drawn) == [*CHARTS[name], "coverage", "importance"]
        assert {chart: marks for chart, marks in drawn.items() if not marks} == {}
        assert opened.page.evaluate(CUT_OFF) == []
    assert _contrast(*opened.page.evaluate(PILL)) >= 4.5
    assert opened.complaints == []
    assert opened.requests == [pages[name].as_uri()]


@pytest.mark.parametrize("width", [360, 1440])
def test_long_names_are_broken_and_not_cut_off(width, pages, open_page):
    opened = open_page(pages["long"], width)
    assert opened.page.evaluate(CUT_OFF) == []
    assert opened.complaints == []
    assert LONG in opened.page.inner_text("h1")


def test_headings_do_not_skip_a_level_and_charts_say_in_words_what_they_show(pages, open_page):
    page = open_page(pages["promoted"]).page
    levels = page.evaluate(HEADINGS)
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    for chart in page.locator(".chart").all():
        assert chart.get_attribute("role") == "img"
        assert len(chart.get_attribute("aria-label")) > 40


def test_charts_follow_a_change_of_the_colour_scheme(pages, open_page):
    opened = open_page(pages["promoted"])
    light = opened.page.evaluate(AXIS_COLOUR)
    opened.page.emulate_media(color_scheme="dark")
    opened.page.wait_for_function(f"(light) => ({AXIS_COLOUR})() !== light", arg=light)
    assert opened.complaints == []


def test_the_page_can_be_read_without_scripts(browser, pages):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 360, "height": 800})
    page = context.new_page()
    page.goto(pages["promoted"].as_uri())
    assert "The charts need JavaScript" in page.inner_text("noscript")
    assert "ridge is promoted" in page.inner_text("h1")
    context.close()


def test_the_picture_for_the_readme_can_be_drawn(tool, pages, tmp_path):
    picture = tmp_path / "new" / "scorecard.png"
    # A process of its own: Playwright has one loop a thread, and this module's browser holds it.
    subprocess.run([sys.executable, SCREENSHOT, pages["promoted"], picture, "--width", "800"], check=True, timeout=120)
    header = picture.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(header[16:20]) == 800 * tool.SCALE


def _contrast(first: str, second: str) -> float:
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    # WCAG 2.2, definition of relative luminance.
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
