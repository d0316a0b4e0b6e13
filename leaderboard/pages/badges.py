"""A badge for each model, as SVG and as JSON."""

from __future__ import annotations

from collections.abc import Iterator

from mrb.leaderboard.badges import draw_badge, get_badge_path, make_badge
from mrb.leaderboard.page import Page
from mrb.leaderboard.site import Site


def make_files(site: Site) -> Iterator[Page]:
    """Yield `badges/<name>.svg` and `badges/<name>.json` of every run."""
    for run in site.runs:
        badge = make_badge(site, run)
        yield Page(get_badge_path(run.name, "svg"), draw_badge(badge))
        yield Page(get_badge_path(run.name, "json"), f"{badge.model_dump_json(by_alias=True)}\n".encode())
