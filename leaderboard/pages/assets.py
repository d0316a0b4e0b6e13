"""The pages' styles and scripts."""

from __future__ import annotations

from collections.abc import Iterator

from mrb.leaderboard.page import Page, find_package_folder
from mrb.leaderboard.site import Site


def make_files(site: Site) -> Iterator[Page]:
    """Yield every file of `static/`."""
    for path in sorted((find_package_folder() / "static").iterdir()):
        if path.is_file():
            yield Page(f"static/{path.name}", path.read_bytes())
