"""What is shown of a board elsewhere: one sentence, an image, and tables for frames."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from PIL import Image

from mrb.leaderboard.pages import embed, overview
from mrb.leaderboard.preview import HEIGHT, WIDTH, describe_board, draw_preview
from mrb.leaderboard.site import Site, make_site
from mrb.leaderboard.tables.runs import read_entries
from tests.builders.run_folders import write_run_folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("runs")
    return make_site(read_entries([write_run_folder(folder / f"run-{n}", n / 10, queries=12) for n in (1, 9)]))


def test_the_sentence_names_the_first_row_and_the_first_stage(site: Site) -> None:
    view = site.tables["mini-25"].get_view("nDCG@10")
    own, first = (100 * row.cells["types"].mean for row in (view.row("run-9"), view.fixed[0]))
    words = describe_board(site)
    assert f"run-9 leads with nDCG@10 {own:.2f}; the first stage alone has {first:.2f}." in words
    assert words.startswith("2 models ")


def test_the_image_has_the_size_of_previews_and_the_same_bytes_each_time(site: Site) -> None:
    data = draw_preview(site)
    assert data == draw_preview(site) and len(data) < 100_000
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == ("PNG", (WIDTH, HEIGHT))
    assert data != draw_preview(replace(site, snapshot="v1")), "a snapshot's says so"


def test_only_a_board_that_knows_its_address_names_an_image(site: Site) -> None:
    plain, known = (
        next(overview.make_files(one)).data.decode() for one in (site, replace(site, url="https://example.org/b/"))
    )
    assert "og:image" not in plain and '<meta name="description" content="2 models' in plain
    assert '<meta property="og:image" content="https://example.org/b/preview.png">' in known


def test_a_table_to_embed_has_its_rows_and_leads_out_of_the_frame(site: Site) -> None:
    pages = {page.path: page.data.decode() for page in embed.make_files(site) if page.path.endswith(".html")}
    assert pages.keys() == {"embed/mini-25.html", "embed/mini-text-query-25.html"}
    text = pages["embed/mini-25.html"]
    mean = 100 * site.tables["mini-25"].get_view("nDCG@10").row("run-9").cells["types"].mean
    assert f"<b>{mean:.2f}</b>" in text and "<nav" not in text and "<script" not in text
    assert text.count("<a ") == text.count('target="_top"') == 4
