"""Takes the pictures of the board that README and docs show: `python docs/take_pictures.py SITE` after `make demo`.

Needs the `dev` extra and Debian's chromium.
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).with_name("images")
# As root, in a container, without a screen: Chromium needs to be told.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def main(site: Path) -> None:
    """Write docs/images/board.png, the first screens of the page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 1310}, color_scheme="light")
        page.goto((site / "index.html").resolve().as_uri())
        page.screenshot(path=IMAGES / "board.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
