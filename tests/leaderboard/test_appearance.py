"""What the board's pages look like: widths, colours, paper, and what a table or plot says of itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

OpenPage = Callable[..., Page]
FIRST = "section.comparison >> nth=0"
PATHS = (
    "tasks.html",
    "tasks/mini-flag-t2i.html",
    "models.html",
    "models/partial.html",
    "about.html",
    "reported.html",
    "tables/mini-25/tasks.html",
    "tables/mini-25/columns.html",
    "index.html",
)


@pytest.mark.parametrize("width", [390, 820, 1440])
@pytest.mark.parametrize("scripted", [True, False])
def test_no_page_scrolls_sideways(open_page: OpenPage, site: Path, width: int, scripted: bool) -> None:
    page = open_page(width=width, java_script_enabled=scripted)
    for path in PATHS:
        page.goto(f"{site.parent.as_uri()}/{path}")
        page.evaluate("document.querySelectorAll('details').forEach((folded) => { folded.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == width, path
        frames = page.evaluate(
            "Array.from(document.querySelectorAll('.scroll, .panel'), e => e.getBoundingClientRect().right)"
        )
        assert any(frames) or path == "about.html"
        assert all(right <= width for right in frames), path


def test_the_first_column_stays_when_a_table_is_scrolled_on_a_phone(open_page: OpenPage) -> None:
    page = open_page(width=390)
    frame, name = page.locator(FIRST).locator(".scroll").first, page.locator(FIRST).locator("tbody.rows th").first
    assert frame.evaluate("e => e.scrollWidth > e.clientWidth")
    frame.focus()
    frame.evaluate("e => { e.scrollLeft = 400; }")
    assert frame.evaluate("e => e.scrollLeft") == 400
    edge, stays = frame.bounding_box(), name.bounding_box()
    assert edge and stays and abs(stays["x"] - edge["x"]) < 3, "the name is the first thing that one sees"


CONTRASTS = """
() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = {};
  for (const element of document.querySelectorAll("body *:not(svg *):not(option)")) {
    const own = Array.from(element.childNodes).some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !element.getClientRects().length) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) found[element.tagName + "." + element.className] = contrast;
  }
  return found;
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_scheme_and_contrast_is_enough(open_page: OpenPage, site: Path, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(v) for v in ground[4:-1].split(",")) < 200) == (scheme == "dark")
    for row in page.locator(FIRST).locator("tbody.rows tr").all():
        row.hover()
    assert page.evaluate(CONTRASTS) == {}
    for path in PATHS:
        page.goto(f"{site.parent.as_uri()}/{path}")
        assert page.evaluate(CONTRASTS) == {}, path


def test_tables_and_plots_say_what_they_are(open_page: OpenPage, site: Path) -> None:
    page = open_page()
    captions = "Array.from(document.querySelectorAll('table'), t => t.querySelectorAll('caption').length)"
    bare = "document.querySelectorAll('table th:not([scope])').length"
    repeated = "Array.from(document.querySelectorAll('[id]'), e => e.id).filter((id, i, all) => all.indexOf(id) !== i)"
    for path in PATHS:
        page.goto(f"{site.parent.as_uri()}/{path}")
        assert set(page.evaluate(captions)) <= {1}, path
        assert page.evaluate(bare) == 0, path
        assert page.evaluate(repeated) == [], path
    plot = page.locator(".panel svg[role=group]").first  # its points are links
    told = plot.locator("desc").text_content() or ""
    assert "First stage" in told and "oracle" in told and "beta: " in told and "gain +" in told


def test_on_paper_there_are_no_controls_and_no_frames_that_cut(open_page: OpenPage) -> None:
    page = open_page()
    page.emulate_media(media="print")
    assert not page.locator("#toolbar").is_visible()
    assert page.locator(FIRST).locator(".scroll").first.evaluate("e => getComputedStyle(e).overflowX") == "visible"
