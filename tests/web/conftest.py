"""A built board in Debian's Chromium: every test fails, with the way to install it, where that is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from mrb.leaderboard.build import build

CHROMIUM = Path("/usr/bin/chromium")
# Root has no sandbox; the rest keeps the browser from calling home on its own.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOSTILE = "</script><img src=x onerror=alert(1)><svg onload=alert(2)>\u202e"

OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    if not CHROMIUM.is_file():
        pytest.fail(f"{CHROMIUM} is missing: the board is tested in Chromium; `apt-get install chromium` installs it")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, write_run: Callable[..., Path]) -> Path:
    """A board of four comparable runs, one of them partial and full of hostile words, and one of another depth."""
    root = tmp_path_factory.mktemp("board")
    skills = {"alpha": 0.2, "beta": 0.8, "gamma-with-a-rather-long-name": 0.5}
    runs = [write_run(root / "runs" / name, skill) for name, skill in skills.items()]
    hostile = {"version": HOSTILE[:-1], "source": HOSTILE[:-1], "options": {"note": HOSTILE}}
    runs.append(write_run(root / "runs" / "partial", 0.9, cover=["mini-faq-t2t"], reranker=hostile))
    runs.append(write_run(root / "runs" / "shallow", 0.5, depth=10))
    return build(runs, root / "site")


@pytest.fixture
def open_page(browser: Browser, site: Path) -> Iterator[OpenPage]:
    """`open_page(query="", path="index.html", **context)` opens a page of the board (or of the one whose overview is
    `of`) from disk in a context of its own.

    At the end the test fails if any page said something on the console (a violation of the content policy does),
    raised an error, showed a dialog or asked for anything but the site's own files.
    """
    contexts, said = [], []
    roots = {site.parent.as_uri() + "/"}

    def watch(page: Page) -> None:
        page.on("console", lambda message: said.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: _allowed(request.url) or said.append(f"request: {request.url}"))

    def open_(query: str = "", *, path: str = "index.html", width: int = 1440, of: Path = site, **options: Any) -> Page:
        roots.add(of.parent.as_uri() + "/")
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.set_default_timeout(60_000)  # other work may share the machine
        contexts.append(context)
        page = context.new_page()
        watch(page)
        page.goto(f"{of.parent.as_uri()}/{path}{query}")
        return page

    def _allowed(url: str) -> bool:
        return url.startswith((*roots, "data:"))

    yield open_
    for context in contexts:
        context.close()
    assert said == []
