"""The list of every JSON and CSV file of the site."""

from __future__ import annotations

from collections.abc import Iterator

from mrb.leaderboard.data_index import PATH, make_index
from mrb.leaderboard.page import Page
from mrb.leaderboard.site import Site


def make_files(site: Site) -> Iterator[Page]:
    """Yield the one file."""
    yield Page(PATH, f"{make_index(site).model_dump_json(by_alias=True)}\n".encode())
