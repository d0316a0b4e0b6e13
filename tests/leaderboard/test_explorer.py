"""The query explorer and the comparison of runs in a real browser, over real runs of mini, opened from disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from mrb.evaluation.run import run
from mrb.evaluation.spec import select_tasks
from mrb.leaderboard.build import build

pytestmark = pytest.mark.browser

OpenPage = Callable[..., Page]
TASKS = ("mini-faq-t2t", "mini-flag-t2i", "mini-page-t2vd")
PATHS = (
    "queries.html",
    "queries/mini-faq-t2t.html",
    "queries/mini-faq-t2t/1.html",
    "queries/mini-flag-t2i/2.html",
    "queries/mini-page-t2vd/1.html",
    "compare.html",
    "compare/surface/random.html",
)


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board of three runs of the first queries of three tasks."""
    root = tmp_path_factory.mktemp("explored")
    chosen = select_tasks("mini", TASKS, (), None)
    for model in ("constant", "random", "surface"):
        asked = replace(chosen, model=model, out=root / "runs", limit=17, command=["mrb", "run", "--model", model])
        run(asked)
    return build([root / "runs" / name for name in ("constant", "random", "surface")], root / "site")


@pytest.fixture
def show(open_page: OpenPage, explored: Path) -> OpenPage:
    return partial(open_page, of=explored)


def _main(page: Page) -> str:
    """The page's content as markup, without what the script alone shows."""
    inside = "Array.from(document.querySelectorAll('article, #pairs'), (e) => e.outerHTML).join('')"
    return _same(page.evaluate(inside))


def _same(markup: str) -> str:
    """Markup without what lies between tags, which no reader sees here."""
    return re.sub(r">\s+<", "><", markup).strip()


def test_images_are_seen_and_have_words(show: OpenPage) -> None:
    page = show(path="queries/mini-flag-t2i/1.html")
    images = page.locator("article img")
    assert images.count() == 15 * 20
    images.last.scroll_into_view_if_needed()
    # Waits until they are loaded, and fails if one cannot be. (Waiting for an expression would be polled with `eval`,
    # which the pages' content policy forbids.)
    page.evaluate("Promise.all(Array.from(document.images).slice(-10).map((i) => i.decode()))")
    assert page.evaluate("document.images[0].naturalWidth") == 128
    assert all(alt.startswith("image of ") for alt in page.evaluate("Array.from(document.images, (i) => i.alt)"))


def test_without_javascript_the_first_run_is_there_whole(show: OpenPage) -> None:
    page = show(path="queries/mini-faq-t2t/1.html", java_script_enabled=False)
    assert not page.locator("#toolbar").is_visible()
    assert page.get_by_text("choosing another needs JavaScript").is_visible()
    assert page.locator("#q1 ol.first li").count() == page.locator("#q1 ol.own li").count() == 10
    page.get_by_role("link", name="next →").first.click()
    assert page.locator("article").count() == 2
    page.get_by_role("link", name="Compare", exact=True).click()
    assert page.locator("#pairs table").count() == 3
    page.locator("table.matrix td[data-pair='surface/random'] a").click()
    assert page.url.endswith("compare/surface/random.html")
    assert page.locator("svg .dots").count() == 9
    page.locator(".extremes a").first.click()
    expect(page.locator("article:target")).to_have_count(1)


@pytest.mark.parametrize("path", ["queries/mini-faq-t2t/1.html", "queries/mini-page-t2vd/2.html"])
def test_another_run_takes_its_place_and_the_first_comes_back_as_it_was(show: OpenPage, path: str) -> None:
    page = show(path=path)
    served = _main(page)
    page.locator("#run").select_option("surface")
    expect(page.locator("article bdi[data-slot=run]").first).to_have_text("surface")
    assert "run=surface" in page.url
    other = _main(page)
    assert other != served
    assert "run=surface" in (page.get_by_role("link", name="all queries by gain").first.get_attribute("href") or "")
    page.locator("#run").select_option("constant")
    expect(page.locator("article bdi[data-slot=run]").first).to_have_text("constant")
    assert _main(page) == served, "what the script makes is what the server made"
    assert "?" not in page.url
    again = show("?run=surface", path=path)
    expect(again.locator("article bdi[data-slot=run]").first).to_have_text("surface")
    assert _main(again) == other


def test_two_runs_stand_side_by_side_and_ties_are_said(show: OpenPage) -> None:
    page = show(path="queries/mini-flag-t2i/1.html")
    assert page.locator("#q1 [data-slot=tied]").inner_text() == "all 25 candidates tie: a fixed hash orders them"
    assert page.locator("#q1 ol.own li a:has(img)").count() == 10, "an image leads to itself"
    assert not page.locator(".beside").first.is_visible()
    page.locator("#beside").select_option("surface")
    expect(page.locator("#q1 .beside [data-slot=beside]")).to_have_text("surface")
    beside = page.locator("#q1 .beside ol").inner_html()
    assert page.locator(".beside li").count() == 15 * 10 and "beside=surface" in page.url
    assert "beside=surface" in (page.get_by_role("link", name="next →").first.get_attribute("href") or "")
    page.locator("#run").select_option("surface")
    expect(page.locator("#q1 bdi[data-slot=run]")).to_have_text("surface")
    assert page.locator("#q1 ol.own").inner_html() == beside
    assert not page.locator("#q1 [data-slot=tied]").is_visible()
    page.locator("#beside").select_option("")
    expect(page.locator(".beside").first).to_be_hidden()


def test_marks_and_moves_are_words_not_colours_alone(show: OpenPage) -> None:
    page = show(path="queries/mini-faq-t2t/1.html", query="?run=surface#q1")
    expect(page.locator("#q1 bdi[data-slot=run]")).to_have_text("surface")
    assert "✓ relevant" in page.locator("#q1 ol.own li.relevant .note").first.inner_text()
    for entry in page.locator("ol.own li .move.up").all()[:20]:
        assert entry.inner_text().startswith("↑ from ")
    assert (
        page.locator("ol.own .move", has_text=", new").count()
        == page.locator("ol.first .move", has_text=", out").count()
    )


def test_queries_are_ordered_and_filtered_with_all_state_in_the_address(show: OpenPage) -> None:
    page = show(path="queries/mini-faq-t2t.html", query="?run=surface")
    expect(page.locator("#status")).to_have_text("17 of 17 queries")
    gains = page.locator("tbody tr:visible [data-slot=gain]")
    numbers = [float(text.replace("−", "-")) for text in gains.all_inner_texts()]
    assert numbers == sorted(numbers, reverse=True) and numbers[0] > 0 > numbers[-1]
    page.locator("#order").select_option("loss")
    assert [float(text.replace("−", "-")) for text in gains.all_inner_texts()] == sorted(numbers)
    page.locator("#only").select_option("lost")
    lost = sum(number < 0 for number in numbers)
    assert gains.count() == lost
    assert f"{lost} lost" in page.locator("[data-slot=counts]").inner_text()
    assert (page.locator("path.lost").get_attribute("d") or "").count("M") == lost
    page.reload()
    expect(page.locator("#status")).to_have_text(f"{lost} of 17 queries")
    assert gains.count() == lost
    page.locator("tbody tr:visible a").first.click()
    expect(page.locator("article:target bdi[data-slot=run]")).to_have_text("surface")


def test_two_runs_are_compared_through_the_form_and_the_link_brings_it_back(show: OpenPage) -> None:
    page = show(path="compare.html")
    served = _main(page)
    assert page.locator("#pairs h2").inner_text() == "constant over random"
    page.locator("#run-2").select_option("surface")
    expect(page.locator("#pairs h2")).to_have_text("constant over surface")
    assert page.evaluate("new URLSearchParams(location.search).get('runs')") == "constant,surface"
    page.locator("#run-3").select_option("random")
    expect(page.locator("#pairs h2")).to_have_count(3)
    titles = page.locator("#pairs h2").all_inner_texts()
    assert titles == ["constant over random", "constant over surface", "random over surface"]
    again = show("?" + page.url.partition("?")[2], path="compare.html")
    expect(again.locator("#pairs h2")).to_have_count(3)
    assert _main(again) == _main(page)
    assert [again.locator(f"#run-{n}").input_value() for n in (1, 2, 3)] == ["constant", "surface", "random"]
    page.goto(page.url.partition("?")[0] + "?runs=surface,constant")
    expect(page.locator("#pairs h2")).to_have_text("constant over surface")
    own = page.locator("#pairs section").inner_html()
    page.goto(page.url.partition("compare.html")[0] + "compare/surface/constant.html")
    alone = page.locator("section.pair").inner_html().replace("../../", "").replace('"pair', '"pair-1')
    assert _same(alone) == _same(own), "the pair's page says the same"
    for strange in ("?runs=constant", "?runs=x,y", "?runs=%3Cimg src=x onerror=alert(1)%3E,constant", "?runs=,,,"):
        assert _main(show(strange, path="compare.html")) == served


def test_everything_is_reached_by_keyboard(show: OpenPage) -> None:
    page = show(path="compare.html")
    page.locator("#run-2").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#pairs h2")).to_have_text("constant over surface")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page = show(path="queries/mini-faq-t2t/1.html")
    page.locator("#run").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("article bdi[data-slot=run]").first).to_have_text("random")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "beside"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "all queries by gain"


@pytest.mark.parametrize("width", [390, 820, 1440])
def test_no_page_scrolls_sideways(show: OpenPage, explored: Path, width: int) -> None:
    page = show(width=width)
    for path in PATHS:
        page.goto(f"{explored.parent.as_uri()}/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") == width, path
        repeated = (
            "Array.from(document.querySelectorAll('[id]'), e => e.id).filter((id, i, all) => all.indexOf(id) !== i)"
        )
        assert page.evaluate(repeated) == [], path
        assert page.evaluate("document.querySelectorAll('table:not(:has(caption)), th:not([scope])').length") == 0, path
