"""The board as its readers meet it: opened from disk, in a real browser."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from mrb.leaderboard.serve import make_server

pytestmark = pytest.mark.browser

OpenPage = Callable[..., Page]
FIRST = "section.comparison >> nth=0"
NAMES = ["beta", "gamma-with-a-rather-long-name", "alpha", "partial"]


def _names(page: Page) -> list[str]:
    """The runs of the visible table in the order in which they stand there."""
    rows = page.locator(FIRST).locator("table.board tbody.rows tr:visible")
    return rows.evaluate_all("rows => rows.map((row) => row.dataset.run)")


def _head(page: Page, column: str) -> tuple[str | None, str]:
    head = page.locator(FIRST).locator(f"th[data-column={column}]")
    return head.get_attribute("aria-sort"), f"th[data-column={column}] button"


def _settles(page: Page, names: list[str]) -> None:
    """The rows come to stand so: the data of a whole table is loaded when it is first needed."""
    for _ in range(1200):  # a minute: other work may share the machine
        if _names(page) == names:
            return
        page.wait_for_timeout(50)
    assert _names(page) == names


def test_it_opens_from_disk_and_stands_in_the_order_of_the_average(open_page: OpenPage) -> None:
    page = open_page()
    assert page.title().startswith("MRB")
    assert _names(page) == NAMES
    caption = page.locator(FIRST).locator("caption").first.inner_text()
    assert "nDCG@10 × 100" in caption and "best of the column" in caption
    assert page.locator(FIRST).locator("table.board tbody.fixed th").all_inner_texts() == ["first stage", "oracle"]
    assert page.locator("section.comparison").count() == 2
    assert "the depth (all 9 shared tasks)" in page.locator("p.differs").inner_text()


def test_every_kind_of_page_works_under_a_path_of_a_server(open_page: OpenPage, site: Path) -> None:
    with make_server(site.parent.parent, 0) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            base = f"http://127.0.0.1:{running.server_port}/{site.parent.name}"
            page = open_page("?sort=types&measure=MRR%4010", base=base)  # fails if anything is not found
            page.wait_for_selector("table.board[data-drawn]")
            page.get_by_role("link", name="all tasks").first.click()
            assert page.url.startswith(f"{base}/tables/mini-25/tasks.html?")
            for path in ("models/beta.html", "tasks/mini-faq-t2t.html", "compare.html?runs=alpha,beta", "about.html"):
                page.goto(f"{base}/{path}")
                assert page.locator("h1").is_visible()
        finally:
            running.shutdown()
            thread.join()


def test_without_javascript_every_table_can_be_read(open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    assert not page.locator("#toolbar").is_visible()
    assert page.locator("th button").count() == 0
    assert _names(page) == NAMES
    assert page.locator(FIRST).locator("th[data-column=licence]").is_visible(), "every column is there"
    assert page.locator("figure.plots svg[role=group]").first.is_visible()
    page.locator(FIRST).get_by_role("link", name="all tasks").click()
    assert page.locator("table.board tbody.rows tr").count() == 4
    page.get_by_role("link", name="each task’s own measure").click()
    assert page.url.endswith("/tables/mini-25/tasks-source.html")
    assert "each task’s own measure × 100" in page.locator("caption").inner_text()
    page.get_by_role("link", name="averages").click()
    page.get_by_role("link", name="MRR@10").click()
    assert "MRR@10 × 100" in page.locator("caption").inner_text()


def test_rows_of_the_script_lead_on_from_any_folder(open_page: OpenPage) -> None:
    for path in ("index.html", "tables/mini-25/tasks.html"):
        page = open_page(path=path)
        page.locator("table.board >> nth=0 >> th[data-column=name] button").click()
        page.wait_for_selector("table.board[data-drawn] >> nth=0")
        heads = page.locator("table.board >> nth=0 >> thead th[data-column]").count()
        assert {row.locator("> *").count() for row in page.locator("tr[data-run]").all()} == {heads}, path
        page.locator("tr[data-run=alpha] th a").first.click()
        assert page.url.endswith("/models/alpha.html")


def test_sorting_by_mouse_says_so_and_keeps_blanks_and_fixed_rows_in_place(open_page: OpenPage) -> None:
    page = open_page()
    state, button = _head(page, "t2t")
    assert state == "none"
    page.locator(FIRST).locator(button).click()
    _settles(page, ["partial", "beta", "gamma-with-a-rather-long-name", "alpha"])
    assert _head(page, "t2t")[0] == "descending"
    _, button = _head(page, "types")
    page.locator(FIRST).locator(button).click()
    _settles(page, NAMES)
    page.locator(FIRST).locator(button).click()
    _settles(page, ["alpha", "gamma-with-a-rather-long-name", "beta", "partial"])
    assert _head(page, "types")[0] == "ascending"
    assert _head(page, "t2t")[0] == "none"
    assert page.locator(FIRST).locator("table.board tbody").first.get_attribute("class") == "fixed"


def test_sorting_by_keyboard(open_page: OpenPage) -> None:
    page = open_page()
    page.locator(FIRST).locator("th[data-column=name] button").focus()
    page.keyboard.press("Enter")
    _settles(page, sorted(NAMES))
    assert _head(page, "name")[0] == "ascending"
    page.keyboard.press("Space")
    _settles(page, sorted(NAMES, reverse=True))
    assert _head(page, "name")[0] == "descending"
    focused = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"
    assert page.evaluate(focused) == "solid", "the focus can be seen"


def test_the_overview_needs_no_mouse(open_page: OpenPage) -> None:
    page = open_page()
    focused = "document.activeElement.id || document.activeElement.textContent.trim()"
    address = "location.search"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "measure", "after the two links of the first words"
    page.keyboard.press("ArrowDown")
    assert "measure=" in page.evaluate(address)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert "show=interval" in page.evaluate(address)
    page.keyboard.press("Tab")
    page.keyboard.type("gamma")
    _settles(page, ["gamma-with-a-rather-long-name"])
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "Filters"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "Columns"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "preset"
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert "columns=" in page.evaluate(address) and not _visible(page, "rank").is_visible()
    page.locator("#reset").focus()
    page.keyboard.press("Enter")
    _settles(page, NAMES)
    assert page.evaluate(address) == "" and _visible(page, "rank").is_visible()


def test_what_one_takes_along_parses(open_page: OpenPage, site: Path) -> None:
    page = open_page()
    links = page.locator(FIRST).locator("p.count a").evaluate_all("all => all.map((one) => one.getAttribute('href'))")
    files = {Path(link).name: (site.parent / link).read_text() for link in links}
    assert sorted(files) == ["all.csv", "all.json", "citation.bib", "overview.csv", "overview.tex"]
    shown = page.locator(FIRST).locator("tr[data-run=beta] td").nth(2).locator("b, a").first.inner_text()
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(files["overview.csv"]))}
    assert f"{100 * float(rows['beta']['types']):.2f}" == shown and set(NAMES) < set(rows)
    whole = json.loads(files["all.json"])
    numbers = [dict(zip(whole["fields"], line, strict=True)) for line in whole["numbers"]]
    (found,) = [n for n in numbers if (n["model"], n["task"], n["measure"]) == ("beta", "types", "nDCG@10")]
    assert f"{100 * found['mean']:.2f}" == shown
    assert len(list(csv.DictReader(io.StringIO(files["all.csv"])))) == len(numbers)
    assert shown in files["overview.tex"]
    assert files["overview.tex"].count("{tabular}") == 2 and files["citation.bib"].count("@misc") == 2


def test_filtering_by_name_hides_rows_and_counts_them(open_page: OpenPage) -> None:
    page = open_page()
    page.locator("#filter").fill("ALPH")
    _settles(page, ["alpha"])
    assert page.locator(FIRST).locator("[data-count]").inner_text() == "1–1 of 1 model (of 4)"
    assert page.locator("g.mark.off").count() > 0
    page.locator("#filter").fill("<img src=x onerror=alert(1)>")
    _settles(page, [])
    page.locator("#reset").click()
    _settles(page, NAMES)
    assert "?" not in page.url


def test_training_data_is_no_filter_until_it_is_asked_for(open_page: OpenPage) -> None:
    page = open_page()
    assert _names(page) == NAMES
    page.get_by_text("Filters").click()
    page.locator("#training").select_option("clean")
    _settles(page, [])
    assert page.get_by_text("Filters").inner_text() == "Filters (1)"
    assert page.evaluate("location.search") == "?training=clean"
    page.locator("#training").select_option("untrained")
    _settles(page, NAMES)


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_the_first_screen_has_rows_and_heads_stay_above_them(open_page: OpenPage, width: int, height: int) -> None:
    page = open_page(width=width)
    page.set_viewport_size({"width": width, "height": height})
    assert page.locator("p.lead").first.inner_text().startswith("beta leads with ")
    bottom = "row => row.getBoundingClientRect().bottom"
    assert page.locator("table.board tbody.rows tr").first.evaluate(bottom) < height
    frame = page.locator(".scroll").first
    frame.evaluate("frame => { frame.style.maxHeight = '16rem'; frame.scrollTop = 1000; }")
    top = frame.evaluate("frame => frame.getBoundingClientRect().top")
    parts = [page.locator(f"table.board >> nth=0 >> {name}").first for name in ("thead", "tbody.fixed")]
    head, fixed = (one.evaluate("one => [one.getBoundingClientRect().top, " + f"({bottom})(one)]") for one in parts)
    assert abs(head[0] - top) <= 2 and abs(fixed[0] - head[1]) <= 2, "one below the other, at the frame's top"


def test_a_cell_has_one_number_and_a_switch_chooses_which(open_page: OpenPage) -> None:
    page = open_page()
    cells = page.locator(FIRST).locator("tr[data-run=beta] td:has(> .same)").first
    score, interval, gain = (cells.locator(name) for name in ("> :is(a, b)", "> small:not([class])", "> .same"))
    shown = {"score": (score,), "interval": (interval,), "gain": (gain,), "all": (score, interval, gain)}
    for choice, wanted in shown.items():
        page.locator("#show").select_option(choice)
        assert [one.is_visible() for one in (score, interval, gain)] == [
            one in wanted for one in (score, interval, gain)
        ]
        assert page.evaluate("location.search") == ("" if choice == "score" else f"?show={choice}")


def test_the_measure_changes_every_table(open_page: OpenPage) -> None:
    page = open_page()
    before = page.locator(FIRST).locator("tbody.rows td").nth(2).inner_text()
    page.locator("#measure").select_option("MRR@10")
    for number in range(2):
        page.wait_for_selector(f"table.board[data-drawn] >> nth={number}")
        assert "MRR@10 × 100" in page.locator("table.board caption").nth(number).inner_text()
    assert page.locator(FIRST).locator("tbody.rows td").nth(2).inner_text() != before
    page = open_page(path="tables/mini-25/tasks.html")
    page.locator("#measure").select_option("source")
    page.wait_for_selector("table.board[data-drawn]")
    heads = page.locator("tr.tasks th:has(a) small").all_inner_texts()
    assert len(heads) == 9 and all("@" in text for text in heads)


def test_columns_are_chosen_and_stand_in_the_address(open_page: OpenPage) -> None:
    page = open_page()
    licence, families = _visible(page, "licence"), page.locator(FIRST).locator("th[scope=colgroup]", has_text="family")
    assert not licence.is_visible() and families.is_visible()
    page.locator(".chooser summary", has_text="Columns").click()
    page.locator("#columns input[value=licence]").check()
    for name in ("single", "cross", "fused"):
        page.locator(f"#columns input[value={name}]").uncheck()
    assert licence.is_visible() and not families.is_visible() and not _visible(page, "single").is_visible()
    again = open_page("?" + page.url.partition("?")[2])
    assert _visible(again, "licence").is_visible() and not _visible(again, "single").is_visible()
    assert again.locator("#columns input[value=licence]").is_checked()
    again.locator("#reset").click()
    assert not _visible(again, "licence").is_visible() and "?" not in again.url


def _visible(page: Page, column: str) -> Locator:
    return page.locator(FIRST).locator(f"th[data-column={column}]")


def test_the_address_holds_the_state_and_brings_it_back(open_page: OpenPage) -> None:
    page = open_page()
    page.locator("#measure").select_option("Recall@5")
    page.locator("#filter").fill("a")
    page.locator(FIRST).locator("th[data-column=name] button").click()
    page.locator(FIRST).locator("th[data-column=name] button").click()
    query = "?" + page.url.partition("?")[2]
    for again in (open_page(query), page):
        if again is page:
            page.reload()
        _settles(again, sorted(NAMES, reverse=True))
        assert again.locator("#measure").input_value() == "Recall@5"
        assert again.locator("#filter").input_value() == "a"
        assert _head(again, "name")[0] == "descending"


@pytest.mark.parametrize("scripted", [False, True])
def test_every_row_of_a_long_table_can_be_reached(open_page: OpenPage, long_site: Path, scripted: bool) -> None:
    page = open_page(java_script_enabled=scripted)
    page.goto((long_site / "index.html").as_uri())
    assert len(_names(page)) == 2
    pages = page.locator(".pages >> nth=0")
    seen = []
    page.goto((long_site / "tables" / "mini-25" / "overview.html").as_uri())
    for number in ("1", "2", "3"):
        if number != "1":
            pages.get_by_text(number, exact=True).click()
            expect(pages.locator("[aria-current]")).to_have_text(number)
        seen += [row.get_attribute("data-run") for row in page.locator("tbody.rows tr").all()]
    assert len(seen) == 5 and len(set(seen)) == 5
    if scripted:
        page.locator("#filter").fill(str(seen[0]))
        # Of the whole table, not of the page, whose one row is another.
        expect(page.locator("tbody.rows tr")).to_have_attribute("data-run", str(seen[0]))


@pytest.mark.parametrize("query", ["?measure=x&sort=y&order=z", "?sort=types&order=<b>", "?filter=%22%3E%3Cscript%3E"])
def test_an_address_that_nobody_made_does_no_harm(open_page: OpenPage, query: str) -> None:
    page = open_page(query)
    assert page.locator("#measure").input_value() == "nDCG@10"
    _settles(page, [] if "filter" in query else NAMES)


def test_each_number_links_to_its_file(open_page: OpenPage, site: Path) -> None:
    page = open_page(path="tables/mini-25/tasks.html")
    link = page.locator("tr[data-run=beta] td a[href$='/mini-flag-t2i.json']")
    assert link.get_attribute("href") == "../../data/beta/mini-flag-t2i.json"
    shown = float(link.inner_text())
    result = json.loads((site.parent / "data/beta/mini-flag-t2i.json").read_text())
    assert shown == round(100 * result["measures"]["nDCG@10"]["mean"], 2)
    link.click()
    assert page.url.endswith("data/beta/mini-flag-t2i.json")


def test_hostile_words_stay_words(open_page: OpenPage) -> None:
    page = open_page(path="models/partial.html")
    card = page.locator("dl.facts").inner_text()
    assert card.count("onerror=alert(1)") == 3 and "\\u{202e}" in card
    assert page.locator("img:not([src^='../badges/']), main script").count() == 0


def test_one_goes_from_the_overview_to_a_task_to_a_model_and_back(open_page: OpenPage) -> None:
    page = open_page()
    page.locator(FIRST).get_by_role("link", name="all tasks").click()
    shown = page.locator("tr[data-run=beta] td a[href$='/mini-flag-t2i.json']").inner_text()
    page.locator("th[data-column=mini-flag-t2i] a").click()
    assert page.url.endswith("/tasks/mini-flag-t2i.html")
    table = page.locator("table.scores >> nth=0")
    assert table.locator("tr[data-run=beta] td[data-column='nDCG@10'] a").inner_text() == shown
    table.locator("tr[data-run=beta] th a").click()
    assert page.url.endswith("/models/beta.html")
    assert page.locator("h1").inner_text() == "beta"
    assert page.locator("tr[data-task=mini-flag-t2i] td[data-column=own] a").inner_text() == shown
    page.get_by_role("link", name="with the other models").click()
    assert page.url.endswith("/index.html#mini-25")


def test_a_task_page_is_sorted_and_filtered_with_all_state_in_the_address(open_page: OpenPage) -> None:
    page = open_page(path="tasks/mini-faq-t2t.html")
    rows = page.locator("table.scores >> nth=0 >> tbody.rows tr:visible")
    by_headline = [row.get_attribute("data-run") for row in rows.all()]
    assert by_headline[0] == "partial" and len(by_headline) == 4
    page.locator("th[data-column=name] button >> nth=0").click()
    assert [row.get_attribute("data-run") for row in rows.all()] == sorted(NAMES)
    page.locator("#filter").fill("a")
    assert page.locator("#status").inner_text() == "5 of 5 models, sorted by name, ascending"
    page.locator("#filter").fill("beta")
    assert page.evaluate("location.search") == "?filter=beta&sort=name&order=ascending"
    page.reload()
    assert [row.get_attribute("data-run") for row in rows.all()] == ["beta"]
    assert page.locator("#filter").input_value() == "beta"


def test_the_list_of_tasks_is_filtered_and_sorted_by_number(open_page: OpenPage) -> None:
    page = open_page(path="tasks.html", query="?sort=documents")
    cells = page.locator("tbody.rows tr:visible td[data-column=documents]")
    numbers = [int(text.replace(",", "")) for text in cells.all_inner_texts()]
    assert len(numbers) == 9 and numbers == sorted(numbers, reverse=True)
    page.locator("#filter").fill("fused")
    assert page.locator("#status").inner_text() == "4 of 9 tasks, sorted by documents, descending"
