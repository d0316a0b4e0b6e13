"""The site as a whole: every page of it, its links, what each page must have, and hostile words on all of them."""

from __future__ import annotations

import os
import posixpath
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mrb.data.task import load_suite, load_task
from mrb.errors import ResultError
from mrb.leaderboard import build as building
from mrb.leaderboard.build import build, make_pages
from mrb.leaderboard.fork import run_forked
from mrb.leaderboard.page import NAVIGATION, Page
from mrb.leaderboard.site import Site, make_site
from mrb.leaderboard.tables.published import published
from mrb.leaderboard.tables.runs import read_entries
from tests.builders.pages import find_broken_links, read_pages
from tests.builders.run_folders import write_run_folder

MakeRun = Callable[..., Path]
MINI = load_suite("mini").tasks
SOURCES = {source.link for source in published().sources.values()}
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'"
)
HOSTILE = "</script><img src=x onerror=alert(1)><a href='javascript:alert(1)'>{{ 7*7 }}</a>"


def _outside(page: Any) -> set[str]:
    return {link for link in page.links if ":" in link} - {"data:,"}


def _values(page: Any, name: str) -> list[str]:
    """What an attribute says, wherever it stands on the page."""
    return [attributes[name] for _, attributes in page.tags if name in attributes]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board of runs that share a table, of one that does not, of one of single tasks of `mrb`, and a hostile one."""
    folder = tmp_path_factory.mktemp("site")
    info = {"version": HOSTILE, "source": HOSTILE, "options": {HOSTILE: HOSTILE + "\u202e\x00\x1b[31m"}}
    record = {
        "command": (HOSTILE, "\u2066\x07"),
        "environment": {"processor": HOSTILE, "cores": '"><script>alert(1)</script>', HOSTILE: HOSTILE},
        "not_covered": [{"task": task_id, "reason": HOSTILE} for task_id in MINI[1:]],
    }
    runs = [
        write_run_folder(folder / "runs" / "one", 0.5),
        write_run_folder(folder / "runs" / "Two.b_c-d", 0.3, depth=10),
        write_run_folder(folder / "runs" / "oracle", 0.3, suite=None, tasks=["scifact", "arxivqa"], depth=100),
        write_run_folder(folder / "runs" / "hostile", 0.5, cover=MINI[:1], reranker=info, record=record),
    ]
    return build(runs, folder / "site").parent


@pytest.fixture(scope="module")
def pages(root: Path) -> dict[str, Any]:
    return read_pages(root)


@pytest.mark.slow
def test_every_task_and_run_has_its_page_and_every_link_leads_somewhere(root: Path, pages: dict[str, Any]) -> None:
    wanted = {path for _, path in NAVIGATION}
    wanted |= {f"tasks/{task_id}.html" for task_id in (*MINI, "scifact", "arxivqa")}
    wanted |= {f"models/{name}.html" for name in ("one", "Two.b_c-d", "oracle", "hostile")}
    wanted |= {"compare/hostile/one.html", "snapshots/index.html", "submit.html"}
    suites = ("mini-25", "mini-10", "mini-text-query-25", "mini-text-query-10")
    wanted |= {f"tables/{name}/columns.html" for name in (*suites, "single-100")}
    wanted |= {f"embed/{name}.html" for name in (*suites, "single-100")}
    measures = ("", "-ndcg-5", "-hitrate-1", "-hitrate-5", "-hitrate-10", "-recall-5", "-recall-10", "-mrr-10")
    wanted |= {f"tables/{name}/overview{own}.html" for name in suites for own in measures}
    wanted |= {f"tables/{name}/tasks{own}.html" for name in (*suites, "single-100") for own in ("", "-source")}
    assert set(pages) == wanted
    assert find_broken_links(root, pages) == []
    linked = {
        posixpath.normpath(posixpath.join(posixpath.dirname(path), link.partition("#")[0]))
        for path, page in pages.items()
        for link in page.links
    }
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    loaded = {f"data/compare/{cell}.js" for cell in _values(pages["compare.html"], "data-pair")}
    loaded |= {"data/compared.js"}  # by the overview, once two models are picked
    explorer = {f"static/{name}.js" for name in ("queries", "lists", "gains")}  # this board has no task in it
    explorer |= {"preview.png"}  # previews name it by its full address
    for page in pages.values():
        for tag, stated in page.tags:
            if tag == "table" and "data-rows" in stated:
                for measure in stated["data-measures"].split():
                    linked.add(f"data/{stated['data-rows']}{measure.lower().replace('@', '-')}.js")
    assert files <= linked | loaded | explorer, "every file of the site can be reached"


def test_a_link_that_leads_nowhere_is_found(root: Path, pages: dict[str, Any], tmp_path: Path) -> None:
    assert len(find_broken_links(tmp_path, {"index.html": pages["index.html"]})) > 20
    broken = find_broken_links(root, {**pages, "about.html": pages["tasks.html"]})
    assert {"index.html: about.html#reading", "index.html: about.html#adding"} <= set(broken)
    assert {link.rpartition("about.html")[2] for link in broken} == {"#reading", "#adding"}


def test_the_site_links_outside_only_where_sources_are(pages: dict[str, Any]) -> None:
    homepages = {load_task(task_id).homepage for task_id in ("scifact", "arxivqa")}
    for path, page in pages.items():
        assert _outside(page) <= (SOURCES if path == "reported.html" else homepages if "tasks/" in path else set()), (
            path
        )
        outside = [attributes for tag, attributes in page.tags if tag == "a" and ":" in (attributes["href"] or "")]
        assert all(attributes["rel"] == "noopener nofollow" for attributes in outside), path


def test_every_page_has_what_a_page_needs(pages: dict[str, Any]) -> None:
    titles = []
    for path, page in pages.items():
        if path.startswith("embed/"):
            continue
        tags = [tag for tag, _ in page.tags]
        assert page.source.startswith("<!DOCTYPE html>\n"), path
        assert page.tags[0] == ("html", {"lang": "en"}), path
        assert ("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}) in page.tags, path
        assert [tags.count(name) for name in ("h1", "main", "header", "footer")] == [1] * 4, path
        navigations = [stated.get("aria-label") for tag, stated in page.tags if tag == "nav"]
        assert "Site" in navigations and None not in navigations, path
        assert page.source.partition("</head>")[0].count("<title>") == 1, path
        assert ("a", {"class": "skip", "href": "#main"}) in page.tags, path
        assert len(page.ids) == len(set(page.ids)), path
        titles.append(page.source.partition("<title>")[2].partition("</title>")[0])
    assert all("MRB" in title for title in titles) and len(set(titles)) == len(titles)


def test_the_navigation_says_where_one_is(pages: dict[str, Any]) -> None:
    for path, page in pages.items():
        if path.startswith("embed/"):
            continue
        header = page.source.partition("<main")[0]
        current = [stated for _, stated in page.tags if "aria-current" in stated and f'"{stated["href"]}"' in header]
        section = path if "/" not in path else path.partition("/")[0] + ".html"
        section = {"tables.html": "index.html", "snapshots.html": "about.html", "submit.html": "about.html"}.get(
            section, section
        )
        up = "../" * path.count("/")
        kind = "page" if path == section else "true"
        assert current == [{"href": up + section, "aria-current": kind}], path


def test_hostile_words_are_text_on_every_page(pages: dict[str, Any]) -> None:
    for path, page in pages.items():
        scripts = [attributes for tag, attributes in page.tags if tag == "script"]
        assert all(attributes.keys() == {"src", "defer"} for attributes in scripts), path
        assert not [tag for tag, _ in page.tags if tag in {"iframe", "object", "style", "base"}], path
        images = [attributes for tag, attributes in page.tags if tag == "img"]
        if path.startswith("models/"):
            assert [one["src"] for one in images] == [f"../badges/{Path(path).stem}.svg"], path
            continue
        assert all("/images/" in (attributes["src"] or "") for attributes in images), path
        assert not images or path.startswith("tasks/"), path
        names = [name for _, attributes in page.tags for name in attributes]
        assert not [name for name in names if name.startswith("on") or name == "style"], path
        for strange in "\u202e\u2066\x00\x07\x1b":
            assert strange not in page.source, path
    for path, times in (("index.html", 1), ("models/hostile.html", 8), ("models.html", 1)):
        assert pages[path].text.count("{{ 7*7 }}") >= times, path
        assert ">49</a>" not in pages[path].source
    assert "\\u{202e}" in pages["models/hostile.html"].text


def test_the_pages_of_a_task_and_a_run_show_what_the_table_has(root: Path, pages: dict[str, Any]) -> None:
    site = make_site(read_entries([root.parent / "runs" / "one"]))
    view = site.tables["mini-25"].compute_view("nDCG@10")
    for task_id in MINI[:2]:
        shown = pages[f"tasks/{task_id}.html"].text
        cell, first, oracle = (row.cells[task_id] for row in (view.rows[0], *view.fixed))
        for number in (cell, first, oracle):
            assert f"{100 * number.mean:.2f} {100 * number.low:.2f}–{100 * number.high:.2f}" in shown
            assert f"{100 * number.mean:.2f} {100 * number.low:.2f}–" in pages["models/one.html"].text
        assert load_task(task_id).instruction in shown and load_task(task_id).licence in shown
    assert f"average over types {100 * view.fixed[0].cells['types'].mean:.2f}" in pages["models/one.html"].text
    assert "mrb run --model toy" in pages["models/one.html"].text
    alone = pages["models/oracle.html"].text
    assert "average over" not in alone and "2 of 2 tasks" in alone
    assert "source’s measure" in alone and load_task("arxivqa").source_measure in alone


@pytest.mark.slow
def test_the_same_runs_in_any_order_give_the_same_bytes_and_the_overview_is_last(
    make_run: MakeRun, tmp_path: Path
) -> None:
    made = {"one": {}, "two": {"depth": 10}, "three": {"suite": None}}
    folders = [make_run(name, 0.4, tasks=["mini-flag-t2i"], **changes) for name, changes in made.items()]
    first, second = build(folders, tmp_path / "site"), build(folders[::-1], tmp_path / "again")
    files = {path.relative_to(first.parent): path for path in first.parent.rglob("*") if path.is_file()}
    assert {second.parent / name for name in files} == {p for p in second.parent.rglob("*") if p.is_file()}
    assert all(path.read_bytes() == (second.parent / name).read_bytes() for name, path in files.items())
    copied = first.parent / "data" / "one" / "mini-flag-t2i.json"
    assert copied.read_bytes() == (folders[0] / "mini-flag-t2i" / "result.json").read_bytes()
    paths = [page.path for page in make_pages(make_site(read_entries(folders)))]
    assert paths[-1] == "index.html" and {Path(path) for path in paths} == set(files) - {Path("snapshots/index.html")}


def test_what_lies_beside_the_site_is_left_alone(make_run: MakeRun, tmp_path: Path) -> None:
    own = tmp_path / "site" / "models" / "notes.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    build([make_run("one", 0.5, tasks=["mini-flag-t2i"])], tmp_path / "site")
    assert own.read_text() == "mine"


@pytest.mark.parametrize(
    "path", ["../x.html", "/x.html", "a/../b", "a//b", "", "models/", "con.html", "a b.html", "x.", "é", "a\\b", ".x"]
)
def test_a_path_that_leads_out_or_is_no_file_name_is_no_page(path: str) -> None:
    with pytest.raises(ValueError, match="not a path of the site"):
        Page(path, b"")


class Fixed:
    """A kind with these pages, or one that fails."""

    def __init__(self, *paths: str) -> None:
        self.paths = paths

    def make_files(self, site: Site) -> Iterator[Page]:
        for path in self.paths:
            yield Page(path, b"1")
        if not self.paths:
            raise ResultError("no such run")


def test_two_pages_on_one_path_are_a_mistake_that_is_named(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run("one", 0.5, tasks=["mini-flag-t2i"])
    site = make_site(read_entries([folder]))
    with pytest.raises(ValueError, match=r"A\.html is written twice"):
        list(make_pages(site, (Fixed("a.html", "A.html"),)))
    other = Fixed("A.html")
    monkeypatch.setattr(building, "MANY", 1)
    monkeypatch.setattr(building, "FORKED", (other,))
    monkeypatch.setattr(building, "KINDS", (Fixed("index.html"), other, Fixed("a.html")))
    with pytest.raises(ValueError, match=r"a\.html is written twice"):
        build([folder], tmp_path / "site")
    assert not (tmp_path / "site" / "index.html").exists(), "the overview is the last"


def test_two_processes_write_what_one_does(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [make_run(name, 0.4, tasks=["mini-flag-t2i"]) for name in ("one", "two")]
    alone = build(folders, tmp_path / "alone").parent
    monkeypatch.setattr(building, "MANY", 1)
    shared = build(folders, tmp_path / "shared").parent
    files = {path.relative_to(alone) for path in alone.rglob("*") if path.is_file()}
    assert {path.relative_to(shared) for path in shared.rglob("*") if path.is_file()} == files
    assert all((alone / path).read_bytes() == (shared / path).read_bytes() for path in files)


def test_what_goes_wrong_in_the_second_process_is_said_here(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Fixed()
    monkeypatch.setattr(building, "MANY", 1)
    monkeypatch.setattr(building, "FORKED", (broken,))
    monkeypatch.setattr(building, "KINDS", (Fixed("index.html"), broken, Fixed("a.html")))
    with pytest.raises(ResultError, match="no such run"):
        build([make_run("one", 0.5, tasks=["mini-flag-t2i"])], tmp_path / "site")
    with pytest.raises(RuntimeError, match="ended with 3"), run_forked(lambda: os._exit(3)):
        pass
    with pytest.raises(KeyError), run_forked(lambda: time.sleep(60)):
        raise KeyError("the other is ended, not waited for")
    with run_forked(lambda: os.getpid()) as found:
        pass
    assert (found.value == os.getpid()) == (sys.platform != "linux")
