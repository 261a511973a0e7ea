"""Draw a report as a PNG picture: `python docs/screenshot.py REPORT.html PICTURE.png`."""  # noqa: INP001 - a script

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTH = 1180
MARGIN = 8
SCALE = 1.5


def chromium() -> str | None:
    """Return the path of Chromium: what CHROMIUM names, else the one on PATH; None where there is none."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def screenshot(html: Path, png: Path, width: int = WIDTH, height: int | None = None) -> None:
    """Draw the top of a report.

    Args:
        html: The page.
        png: The picture to write.
        width: Width of the window, in CSS pixels.
        height: Height of the picture, in CSS pixels; default: to just below the first chart.

    Raises:
        SystemExit: There is no Chromium.
    """
    executable = chromium()
    if executable is None:
        raise SystemExit("no Chromium: install the package chromium, or name one in the variable CHROMIUM")
    png.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        page = browser.new_page(
            viewport={"width": width, "height": height or 1000}, device_scale_factor=SCALE, color_scheme="light"
        )
        page.goto(html.resolve().as_uri())
        page.wait_for_selector(".chart .main-svg")
        chart = page.locator("figure").first.bounding_box()
        bottom = height or (chart["y"] + chart["height"] + MARGIN if chart else 1000)
        page.screenshot(path=png, full_page=True, clip={"x": 0, "y": 0, "width": width, "height": bottom})
        browser.close()


def main() -> None:
    """Read the command line and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("html", type=Path, help="the report")
    parser.add_argument("png", type=Path, help="the picture to write")
    parser.add_argument("--width", type=int, default=WIDTH, help="width of the window in CSS pixels")
    parser.add_argument("--height", type=int, help="height in CSS pixels; default: to just below the first chart")
    arguments = parser.parse_args()
    screenshot(arguments.html, arguments.png, arguments.width, arguments.height)


if __name__ == "__main__":
    main()
