"""Hostile words on every kind of page in Chromium: no dialog, no request, nothing on the console, no element of theirs.

What a submission may say at all, `tests/submission/test_hostile.py` holds; here is what of it reaches the pages.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Page

from tests.builders.pages import HOSTILE_WORDS, PACKED, UNSEEN, pick_page_kinds

pytestmark = pytest.mark.browser

OpenPage = Callable[..., Page]
# Elements and attributes that only the words could have made.
FOREIGN = """
() => Array.from(document.querySelectorAll("*"), (e) => e)
  .filter((e) => ["IFRAME", "OBJECT", "EMBED", "BASE"].includes(e.tagName)
    || Array.from(e.attributes).some((a) => a.name.startsWith("on") || /^\\s*javascript:/i.test(a.value))
    || (e.tagName === "IMG" && !/(^|\\/)(images|badges)\\//.test(e.getAttribute("src"))))
  .map((e) => e.outerHTML.slice(0, 200))
"""


@pytest.fixture(scope="session")
def site(full_site: Path) -> Path:
    """The board with pages of every kind, and hostile words."""
    return full_site


@pytest.fixture
def paths(site: Path) -> list[str]:
    """A page of each kind, and those of the two that mean harm."""
    root = site.parent
    own = [str(path.relative_to(root)) for path in root.rglob("*.html") if "hostile" in path.name or "__" in path.name]
    return list(dict.fromkeys([*pick_page_kinds(root), *PACKED, *own]))


@pytest.mark.parametrize("scripted", [True, False])
def test_nothing_happens_on_any_kind_of_page(open_page: OpenPage, site: Path, paths: list[str], scripted: bool) -> None:
    assert {"models/hostile.html", "models/mrb__random.html"} <= set(paths)
    page = open_page(java_script_enabled=scripted)
    seen = 0
    for path in paths:
        page.goto(f"{site.parent.as_uri()}/{path}")
        page.evaluate("document.querySelectorAll('details').forEach((folded) => { folded.open = true; })")
        assert page.evaluate(FOREIGN) == [], path
        text = page.content()
        assert not [character for character in UNSEEN if character in text and not character.isprintable()], path
        assert "49$" not in text and ">49<" not in text, path
        seen += page.evaluate("document.body.innerText.includes('onerror=alert(2)')")
    assert seen >= 2, "the words are there, as words"


def test_no_word_makes_a_page_wider_than_a_phone(open_page: OpenPage, site: Path, paths: list[str]) -> None:
    page = open_page(width=390)
    for path in paths:
        page.goto(f"{site.parent.as_uri()}/{path}")
        page.evaluate("document.querySelectorAll('details').forEach((folded) => { folded.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == 390, path


def test_the_feed_holds_hostile_titles_as_words(site: Path) -> None:
    words = "".join(ElementTree.parse(site.parent / "feed.xml").getroot().itertext())
    assert all(word in words for word in HOSTILE_WORDS[:2])


def test_hostile_addresses_change_nothing(open_page: OpenPage, site: Path, paths: list[str]) -> None:
    page = open_page()
    for number, path in enumerate(paths):
        word = quote(HOSTILE_WORDS[number % len(HOSTILE_WORDS)])
        fields = ("filter", "sort", "order", "measure", "run", "a", "b", "query", "task", "columns", "__proto__")
        query = "&".join(f"{field}={word}" for field in fields)
        page.goto(f"{site.parent.as_uri()}/{path}?{query}#{word}")
        assert page.evaluate(FOREIGN) == [], path
