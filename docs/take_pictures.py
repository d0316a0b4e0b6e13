"""Takes the pictures of the board that README and docs show: `python docs/take_pictures.py SITE` after `make demo`.

One for each kind of page that the site has: `docs/images/board.png` of the overview, `board-<kind>.png` of the others.
A kind that it lacks is named, and its picture left as it is. Needs the `dev` extra and Debian's chromium.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).with_name("images")
# As root, in a container, without a screen: Chromium needs to be told.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
# Of each kind the first page that is there, in the order of these patterns; the width and height of its picture.
KINDS: dict[str, tuple[tuple[str, ...], tuple[int, int]]] = {
    "board": (("index.html",), (1280, 1000)),
    "board-model": (("models/mini-panel.html", "models/*.html"), (1280, 1000)),
    "board-task": (("tasks/mini-flag-t2i.html", "tasks/*.html"), (1280, 1000)),
    "board-compare": (
        ("compare/surface/mini-panel.html", "compare/*/mini-panel.html", "compare/*/*.html", "compare.html"),
        (1280, 1000),
    ),
    "board-queries": (("queries/mini-flag-t2i/1.html", "queries/*/1.html", "queries.html"), (1280, 1000)),
}
MAX_BYTES = 200_000
COLOURS = 256


def main(site: Path) -> None:
    """Write a picture of each kind of page into docs/images."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = browser.new_page(color_scheme="light")
        for name, (patterns, (width, height)) in KINDS.items():
            path = found(site, patterns)
            if path is None:
                sys.stdout.write(f"{name}: {site} has no such page; nothing written\n")
                continue
            page.set_viewport_size({"width": width, "height": height})
            page.goto(path.resolve().as_uri())
            picture = compressed(taken(page))
            (IMAGES / f"{name}.png").write_bytes(picture)
            sys.stdout.write(f"{name}: {path.relative_to(site)}, {len(picture):,} bytes\n")
        browser.close()


def found(site: Path, patterns: tuple[str, ...]) -> Path | None:
    """The first page of the site that fits, by pattern, then by name."""
    return next((path for pattern in patterns for path in sorted(site.glob(pattern))), None)


def taken(page: Page) -> bytes:
    """The first screen as PNG, once its pictures are there."""
    shown = "Array.from(document.images).filter((image) => image.getBoundingClientRect().top < window.innerHeight)"
    page.evaluate(f"Promise.all({shown}.map((image) => image.decode()))")
    return page.screenshot()


def compressed(data: bytes) -> bytes:
    """The picture in so few colours, which drawn pages do not miss. ValueError if it stays larger than MAX_BYTES."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    if buffer.tell() > MAX_BYTES:
        raise ValueError(f"a picture of {buffer.tell():,} bytes, more than {MAX_BYTES:,}: make it smaller in KINDS")
    return buffer.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
