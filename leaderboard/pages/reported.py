"""Numbers reported by others, on a page of their own: never in one table with a computed number."""

from __future__ import annotations

from collections.abc import Iterator

from mrb.leaderboard.page import Page, render
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.published import published

PATH = "reported.html"


def make_files(site: Site) -> Iterator[Page]:
    """Yield the one page."""
    yield render("reported.html.jinja", PATH, published=published())
