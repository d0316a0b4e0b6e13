"""What rerankers add to several first stages: a page, if runs of a suite are on the lists of several candidate sets."""

from __future__ import annotations

from collections.abc import Iterator

from mrb.leaderboard.page import Page, render
from mrb.leaderboard.site import Site

PATH = "first-stages.html"


def make_files(site: Site) -> Iterator[Page]:
    """Yield the one page, or nothing."""
    if site.gains:
        yield render("first_stages.html.jinja", PATH, section="index.html", tables=site.gains)
