"""Choosing columns, picking models and downloading what is shown, in a real browser."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

OpenPage = Callable[..., Page]


def test_what_is_chosen_goes_with_the_tabs(open_page: OpenPage) -> None:
    page = open_page("?filter=A&columns=licence.-size&picked=beta")
    page.get_by_role("link", name="all tasks").first.click()
    assert page.url.endswith("/tables/mini-25/tasks.html?filter=A&columns=licence.-size&picked=beta")
    page.get_by_role("link", name="averages").click()
    assert page.url.endswith("/overview.html?filter=A&columns=licence.-size&picked=beta")
    expect(page.locator("th[data-column=licence]")).to_be_visible()
    page.get_by_text("Columns", exact=True).click()
    page.locator("#preset").select_option("scores")
    expect(page.locator("th[data-column=licence], th[data-column=parameters]").locator("visible=true")).to_have_count(0)
    assert "columns" not in page.url, "a set of columns starts afresh"


def test_picked_models_are_compared_by_keyboard(open_page: OpenPage) -> None:
    page = open_page()
    for name in ("alpha", "beta"):
        page.locator(f"tr[data-run={name}] input").focus()
        page.keyboard.press("Space")
    expect(page.locator("#picked a")).to_have_attribute("href", "compare/alpha/beta.html")
    page.locator("#filter").fill("gamma")
    expect(page.locator("table.board >> nth=0 >> tbody.rows tr")).to_have_count(1)
    page.locator("tr[data-run^=gamma] input").focus()
    page.keyboard.press("Space")
    assert page.evaluate("document.activeElement.checked"), "the box is still there, with the focus"
    link = page.locator("#picked a")
    expect(link).to_have_text("Compare (3)")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#pairs h2")).to_have_count(3)
    page.goto(f"{page.url.partition('?')[0]}?runs=alpha,beta,gamma-with-a-rather-long-name,partial")
    expect(page.locator("#status")).to_contain_text("4 models")
    expect(page.locator("table.matrix >> nth=0 >> tbody.rows tr:visible")).to_have_count(3)


def test_the_rows_shown_are_a_file_with_units(open_page: OpenPage, site: Path) -> None:
    page = open_page("?filter=a&sort=t2t&columns=speed.-single.-cross.-fused")
    page.wait_for_selector("table.board[data-drawn] >> nth=0")
    with page.expect_download() as begun:
        page.locator("[data-download]").first.click()
    assert begun.value.suggested_filename == "mini-25-overview-nDCG@10.csv"
    rows = list(csv.reader(io.StringIO(begun.value.path().read_text(), newline="")))
    assert [row[0] for row in rows] == [
        "model", "first stage", "oracle", "partial", "beta", "gamma-with-a-rather-long-name", "alpha",
    ]  # fmt: skip
    shown = page.locator("tr[data-run=beta] >> nth=0").locator("td:visible >> nth=1").locator("a, b").inner_text()
    place = rows[0].index("over types (nDCG@10 x 100)")
    assert rows[4][place] == shown
    assert "pairs/s (pairs per second)" in rows[0] and not any("single" in head for head in rows[0])
