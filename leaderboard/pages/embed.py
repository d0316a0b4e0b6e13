"""Each table without the rest of the site, for a frame on another page, and the image of previews."""

from __future__ import annotations

from collections.abc import Iterator

from mrb.leaderboard.page import Page, get_embed_path, render
from mrb.leaderboard.preview import PATH as PREVIEW
from mrb.leaderboard.preview import draw_preview
from mrb.leaderboard.site import Site
from mrb.metrics.measures import HEADLINE

ROWS, COLUMNS = 20, 4


def make_files(site: Site) -> Iterator[Page]:
    """Yield `embed/<table>.html` and `preview.png`."""
    for board in site.iterate_boards():
        tab = board.tabs[0]
        chosen = [head for head in tab.heads[2:] if head.default and head.key not in ("parameters", "gain")][:COLUMNS]
        places = [place for place, head in enumerate(h for h in tab.heads if h.key != "name") if head in chosen]
        path = get_embed_path(board.id)
        yield render(
            "embed.html.jinja",
            path,
            board=board,
            tab=tab,
            heads=chosen,
            places=places,
            fixed=board.make_fixed_rows(tab, str(HEADLINE)),
            rows=[
                (run.name, site.labels[run.name], cells)
                for run, cells in board.iterate_rows(tab, str(HEADLINE), 0, ROWS)
            ],
        )
    yield Page(PREVIEW, draw_preview(site))
