"""How to read the board, and how to get onto it."""

from __future__ import annotations

from collections.abc import Iterator

from mrb.leaderboard.page import Page, render
from mrb.leaderboard.site import Site


def pages(site: Site) -> Iterator[Page]:
    """The one page."""
    yield render("about.html.jinja", "about.html")
