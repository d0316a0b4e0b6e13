"""Every kind of page under axe-core, in both colour schemes: no finding of WCAG 2.2 AA, none that it calls serious."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.builders.pages import PACKED, pick_page_kinds

pytestmark = pytest.mark.browser

OpenPage = Callable[..., Page]
GRAVE = ("serious", "critical")


@pytest.fixture(scope="session")
def site(full_site: Path) -> Path:
    """The board with pages of every kind."""
    return full_site


def grave(page: Page, *rules: str) -> list[str]:
    """What axe-core finds against WCAG 2.2 AA on the page as it stands, or calls serious or critical, a line for each
    element; by `rules`, or all.

    The size of targets is a rule that axe-core leaves out unless asked for. Without preloading: it would fetch the
    style sheets, which the policy of the pages forbids. What passes is not told node by node: on large pages that takes
    as long as the rules.
    """
    options: dict[str, Any] = {"preload": False, "resultTypes": ["violations"]}
    options |= {"runOnly": list(rules)} if rules else {"rules": {"target-size": {"enabled": True}}}
    violations: list[dict[str, Any]] = Axe().run(page, options=options).response["violations"]
    return [
        f"{violation['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for violation in violations
        if violation["impact"] in GRAVE or any(tag.startswith("wcag") for tag in violation["tags"])
        for node in violation["nodes"]
    ]


# The schemes differ in colours alone, and looking takes its time: every rule once.
@pytest.mark.parametrize(("scheme", "rules"), [("light", ()), ("dark", ("color-contrast",))])
def test_nothing_serious_on_any_kind_of_page(
    open_page: OpenPage, site: Path, scheme: str, rules: tuple[str, ...]
) -> None:
    page = open_page(color_scheme=scheme)
    paths = [*pick_page_kinds(site.parent), *PACKED]
    assert {"index.html", "tasks.html", "models.html", "about.html", "first-stages.html"} <= set(paths)
    kinds = {"tasks", "models", "tables", "compare", "queries", "changes", "embed", "snapshots"}
    assert {path.partition("/")[0] for path in paths} >= kinds
    found = {}
    for path in paths:
        page.goto(f"{site.parent.as_uri()}/{path}")
        page.evaluate("document.querySelectorAll('details').forEach((folded) => { folded.open = true; })")
        found[path] = grave(page, *rules)
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_nothing_serious_where_the_script_has_made_the_page(open_page: OpenPage, site: Path) -> None:
    page = open_page("?sort=types&order=ascending&columns=rank.types.licence.source&measure=MRR%4010&show=interval")
    expect(page.locator("table.board[data-drawn]").first).to_be_visible()
    for summary in page.locator(".chooser summary").all():
        summary.click()
    assert grave(page) == []
    page.goto(f"{site.parent.as_uri()}/compare.html?runs=well,meant,hostile")
    expect(page.locator("#pairs h2")).to_have_count(3)
    assert grave(page) == []


def test_the_checker_sees_what_is_wrong(open_page: OpenPage) -> None:
    page = open_page(path="about.html")
    page.evaluate("document.querySelector('main').append(document.createElement('input'))")
    page.evaluate("document.querySelector('.lead, p').style.color = 'rgba(128, 128, 128, 0.3)'")
    lines = grave(page)
    assert any(line.startswith("label") for line in lines) and any(line.startswith("color-contrast") for line in lines)
