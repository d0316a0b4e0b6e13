"""Pages of a built board, read as a browser reads them; and hostile words to put on them."""

from __future__ import annotations

import posixpath
from html.parser import HTMLParser
from pathlib import Path

HOSTILE_WORDS = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)><svg onload=alert(3)>",
    "\" autofocus onfocus=alert(4) x='",
    "<a href='javascript:alert(5)'>x</a><iframe srcdoc='<script>alert(6)</script>'></iframe>",
    "{{ 7*7 }}{% raw %}${alert(7)}<!--]]>",
    "=HYPERLINK(1);@SUM(1)+cmd|' /C calc'!A0",
)
# Of a hostile board's explorer, pages made from a judgement pack: larger ones of their kinds have images.
PACKED = ("queries/vidore3-hr.html", "queries/vidore3-hr/1.html")
UNSEEN = "\u202egnp.exe\u2066\x1b[2J\x07"


def read_pages(root: Path) -> dict[str, Html]:
    """The pages of a built board by path."""
    return {str(path.relative_to(root)): Html(path) for path in sorted(root.rglob("*.html"))}


def find_broken_links(root: Path, pages: dict[str, Html]) -> list[str]:
    """The links within the site that lead nowhere: to no file, or to no part of a page."""
    found = []
    for path, page in pages.items():
        for link in page.links:
            if ":" in link:
                continue
            address, _, part = link.partition("#")
            target = address.partition("?")[0]
            place = posixpath.normpath(posixpath.join(posixpath.dirname(path), target)) if target else path
            inside = not place.startswith(("..", "/")) and (root / place).is_file()
            if not inside or (part and part not in pages[place].ids):
                found.append(f"{path}: {link}")
    return found


def pick_page_kinds(root: Path) -> list[str]:
    """The path of the largest page of each kind, told by folder and depth; snapshots have the same kinds."""
    found: dict[tuple[str, ...], Path] = {}
    for path in sorted(root.rglob("*.html")):
        parts = path.relative_to(root).parts
        if parts[0] == "snapshots" and len(parts) > 2:
            continue
        kind = parts if len(parts) == 1 else (parts[0], str(len(parts)))
        if kind not in found or path.stat().st_size > found[kind].stat().st_size:
            found[kind] = path
    return [str(path.relative_to(root)) for path in found.values()]


class Html(HTMLParser):
    """What a browser would make of a page: its tags with attributes, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """Its words, with single spaces."""
        return " ".join(" ".join(self.words).split())

    @property
    def links(self) -> list[str]:
        """Every address in it."""
        return [attributes[name] or "" for _, attributes in self.tags for name in ("href", "src") if name in attributes]

    @property
    def ids(self) -> list[str]:
        """What its parts are called, in order."""
        return [attributes["id"] or "" for _, attributes in self.tags if "id" in attributes]
