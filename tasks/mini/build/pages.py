"""Manuals as page images: the title of a section -> the pages that the section is on."""

import gzip
import io
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import pypdfium2
from sources import BIOPYTHON_DOC, ERLANG_DOC, Library, Source
from tables import Item, TaskTables

PAGE_WIDTH = 640
# Eight shades of grey: letters stay smooth, and a lossless page is a third smaller than with 256.
SHADES = 7
CONTINUATION_PAGES = 4
HEAD_LIMIT = 600
# Below this height (in points) on its first page, a heading leaves no room for the section before it.
TOP_OF_PAGE = 100
VAGUE = frozenset(
    (
        "what to do next",
        "see also",
        "getting started",
        "use cases",
        "reference manual",
        "error types",
        "example 1",
        "basic usage",
        "general approach",
        "simple examples",
        "in general",
    )
)


@dataclass(frozen=True)
class Manual:
    """A PDF inside a package, and the range of its pages in use (counted from 1, both included)."""

    source: Source
    path: str
    first: int
    last: int


ERLANG_ROOT = "usr/share/doc/erlang-doc/"
MANUALS = {
    "test": Manual(BIOPYTHON_DOC, "usr/share/doc/python-biopython-doc/Doc/Tutorial.pdf.gz", 15, 214),
    "dev": Manual(ERLANG_DOC, ERLANG_ROOT + "lib/mnesia-4.21.3/doc/pdf/mnesia-4.21.3.pdf", 4, 68),
    "train": Manual(ERLANG_DOC, ERLANG_ROOT + "doc/pdf/otp-system-documentation-13.1.5.pdf", 60, 259),
}


@dataclass(frozen=True)
class Heading:
    """An entry of a PDF outline: depth, title, page (from 1) and height above the foot of the page in points."""

    level: int
    title: str
    page: int
    height: float


def build_t2vd(library: Library, split: str) -> TaskTables:
    """Section title -> page images, graded: 2 for the page it starts on, 1 for those it continues on."""
    manual = MANUALS[split]
    document = _open(library, manual)
    texts = {number: _text(document, number) for number in range(manual.first, manual.last + 1)}
    # Blank pages answer nothing and look alike.
    pages = [number for number, text in texts.items() if len(text) > 100]
    headings = _outline(document)
    queries, qrels = [], []
    for index in _asked(headings, pages):
        queries.append(Item(str(index), text=headings[index].title))
        for page, grade in _pages_of(headings, index, document).items():
            if page in pages:
                qrels.append((str(index), str(page), grade))
    corpus = [Item(str(number), image=_picture(document, number)) for number in pages]
    side = [Item(str(number), text=texts[number][:HEAD_LIMIT]) for number in pages]
    return TaskTables(corpus, queries, qrels, side)


@cache
def _open(library: Library, manual: Manual) -> Any:
    data = library.members(manual.source, manual.path)[""]
    return pypdfium2.PdfDocument(gzip.decompress(data) if manual.path.endswith(".gz") else data)


def _outline(document: Any) -> list[Heading]:
    headings = []
    for entry in document.get_toc():
        destination = entry.get_dest()
        if destination is not None and destination.get_index() is not None:
            position = destination.get_view()[1]
            height = position[1] if len(position) > 1 else position[0] if position else 0.0
            title = re.sub(r"\s+", " ", entry.get_title()).strip()
            headings.append(Heading(entry.level, title, destination.get_index() + 1, height or 0.0))
    return headings


def _asked(headings: list[Heading], pages: list[int]) -> list[int]:
    """Headings that name one section only: two words or more, unique in the whole manual, not a stock phrase."""
    seen = Counter(heading.title.lower() for heading in headings)
    return [
        index
        for index, heading in enumerate(headings)
        if heading.page in pages
        and len(heading.title.split()) >= 2
        and seen[heading.title.lower()] == 1
        and heading.title.lower() not in VAGUE
    ]


def _pages_of(headings: list[Heading], index: int, document: Any) -> dict[int, int]:
    """Page -> grade for one section, which ends where a heading of the same or a higher level begins."""
    start = headings[index]
    following = next((h for h in headings[index + 1 :] if h.level <= start.level), None)
    last = len(document) if following is None else following.page
    if following is not None and last > start.page and _distance_from_top(following, document) < TOP_OF_PAGE:
        last -= 1
    grades = {start.page: 2}
    for page in range(start.page + 1, min(last, start.page + CONTINUATION_PAGES) + 1):
        grades[page] = 1
    return grades


def _distance_from_top(heading: Heading, document: Any) -> float:
    return float(document[heading.page - 1].get_height()) - heading.height


def _text(document: Any, number: int) -> str:
    text = document[number - 1].get_textpage().get_text_range()
    return re.sub(r"\s+", " ", text).strip()


def _picture(document: Any, number: int) -> bytes:
    """A page as lossless WebP, which stores text on white in three quarters of the bytes of a PNG."""
    page = document[number - 1]
    grey = page.render(scale=PAGE_WIDTH / page.get_width(), grayscale=True).to_pil().convert("L")
    shaded = grey.point([(value * SHADES + 127) // 255 * 255 // SHADES for value in range(256)])
    stream = io.BytesIO()
    shaded.save(stream, format="WEBP", lossless=True, quality=75, method=4)
    return stream.getvalue()
