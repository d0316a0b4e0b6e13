"""The page that explains how to read the board, and how to get onto it."""

from __future__ import annotations

from collections.abc import Iterator

from mrb.leaderboard.page import Page, render
from mrb.leaderboard.site import Site
from mrb.leaderboard.snapshots import INDEX, INDEX_OF_SNAPSHOT


def make_files(site: Site) -> Iterator[Page]:
    """Yield the one page."""
    yield render("about.html.jinja", "about.html", site=site, snapshots=INDEX_OF_SNAPSHOT if site.snapshot else INDEX)
