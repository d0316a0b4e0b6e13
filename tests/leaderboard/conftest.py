"""A built board in Debian's Chromium: every test fails, with the way to install it, where that is missing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import synthetic
from click.testing import CliRunner

from mrb._util.hashing import hash_bytes
from mrb.cli.main import cli
from mrb.data.task import load_suite
from mrb.leaderboard.board_summary import PATH as SUMMARY
from mrb.leaderboard.board_summary import read_summary
from mrb.leaderboard.build import build
from mrb.leaderboard.pages import overview, tables
from mrb.leaderboard.snapshots import write_index
from mrb.leaderboard.tables import board
from tests.builders.pages import HOSTILE_WORDS, UNSEEN
from tests.builders.run_folders import write_run_folder

CHROMIUM = Path("/usr/bin/chromium")
# Root has no sandbox; the rest keeps the browser from calling home on its own.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOSTILE = "</script><img src=x onerror=alert(1)><svg onload=alert(2)>\u202e"

MINI = load_suite("mini").tasks

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

OpenPage = Callable[..., "Page"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    if not CHROMIUM.is_file():
        pytest.fail(f"{CHROMIUM} is missing: the board is tested in Chromium; `apt-get install chromium` installs it")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)  # other work may share the machine
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board of four comparable runs, one of them partial and full of hostile words, and one of another depth."""
    root = tmp_path_factory.mktemp("board")
    skills = {"alpha": 0.2, "beta": 0.8, "gamma-with-a-rather-long-name": 0.5}
    runs = [write_run_folder(root / "runs" / name, skill) for name, skill in skills.items()]
    hostile = {"version": HOSTILE[:-1], "source": HOSTILE[:-1], "options": {"note": HOSTILE}}
    runs.append(write_run_folder(root / "runs" / "partial", 0.9, cover=["mini-faq-t2t"], reranker=hostile))
    runs.append(write_run_folder(root / "runs" / "shallow", 0.5, depth=10))
    return build(runs, root / "site")


def _hostile_submission(folder: Path) -> Path:
    """A real submission of a few queries, with hostile words wherever a valid one may have any."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        for command in (
            "run --model random --suite mini --limit 4 --out raw",
            "submission make raw/random --organisation mrb --model-name random --allow-incomplete",
        ):
            done = CliRunner().invoke(cli, command.split())
            assert done.exit_code == 0, done.output
    finally:
        os.chdir(before)
    made = folder / "submissions" / "mrb__random"
    path = made / "submission.json"
    value: dict[str, Any] = json.loads(path.read_text())
    # What looks like a path is refused before it could be shown: these do not.
    words = [word for word in HOSTILE_WORDS if "/" not in word]
    closing = "</script><img src=x onerror=alert(8)>"
    for reranker in (value["reranker"], *(result["reranker"] for result in value["results"].values())):
        reranker |= {"version": closing, "source": words[0]}
        reranker["options"] = {word: word + UNSEEN for word in words} | {"__proto__": "x"}
    value["environment"] |= {"processor": closing, "cores": words[1], "note": words[2]}
    value["command"] += [word + UNSEEN for word in (*words, closing)]
    path.write_text(json.dumps(value))
    return made


@pytest.fixture(scope="session")
def full_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board with pages of every kind: of a hostile submission, a hostile run, and two that mean well."""
    root = tmp_path_factory.mktemp("hostile")
    info = {
        "version": HOSTILE_WORDS[0],
        "source": HOSTILE_WORDS[1],
        "options": {word: word + UNSEEN for word in HOSTILE_WORDS},
    }
    record = {
        "command": tuple(word + UNSEEN for word in HOSTILE_WORDS),
        "environment": {word: word for word in HOSTILE_WORDS}
        | {"processor": HOSTILE_WORDS[0], "date": HOSTILE_WORDS[2]},
        "not_covered": [{"task": task_id, "reason": HOSTILE_WORDS[1]} for task_id in MINI[2:]],
    }
    runs = [write_run_folder(root / "runs" / name, 0.5) for name in ("well", "meant")]
    runs.append(write_run_folder(root / "runs" / "hostile", 0.7, cover=MINI[:2], reranker=info, record=record))
    for word in HOSTILE_WORDS[:2]:
        listed: dict[str, Any] = {"tracks": [word], "candidates": hash_bytes(word.encode())}
        runs.append(write_run_folder(root / "runs" / f"set-{len(runs)}", 0.6, **listed))
    _write_packed(root)
    page = build([*runs, _hostile_submission(root), root / "packed"], root / "site", packs=root / "packs")
    _add_snapshots(page.parent)
    return page


def _write_packed(root: Path) -> None:
    """Two submissions on tasks that have judgement packs alone, with hostile ids of queries."""
    ids = synthetic.SyntheticTask.query_ids.func
    hostile = property(lambda task: [f"{one} {HOSTILE_WORDS[at % 6]}{UNSEEN}" for at, one in enumerate(ids(task))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic.SyntheticTask, "query_ids", hostile)
        synthetic.write_submissions(root / "packed", 2, suite_id="vidore-v3.1", queries=16, rankings=True)
        synthetic.write_packs(root / "packs", suite_id="vidore-v3.1", queries=16)


def _add_snapshots(site: Path) -> None:
    """Two snapshots of a built board that differ in every row, whose titles are hostile."""
    now = read_summary(site / SUMMARY)
    for number, name in enumerate(("one", "two"), 1):
        tables = [
            table.model_copy(
                update={
                    "title": HOSTILE_WORDS[0],
                    "rows": tuple(
                        row.model_copy(update={"title": f"{word} {row.name}", "rank": (number, 9)})
                        for row, word in zip(table.rows[number - 1 :], HOSTILE_WORDS, strict=False)
                    ),
                }
            )
            for table in now.tables
        ]
        kept = now.model_copy(update={"snapshot": name, "number": number, "tables": tuple(tables)})
        home = site / "snapshots" / name
        for path, text in ((SUMMARY, kept.model_dump_json()), ("index.html", "")):
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(text)
    write_index(site)


@pytest.fixture(scope="session")
def long_site(site: Path) -> Path:
    """A board of one table with more rows than a page takes, beside the other: five rows, two to a page."""
    root = site.parent / "long"
    runs = [write_run_folder(root / "runs" / f"run-{n}", n / 5, queries=12) for n in range(5)]
    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (board, "PAGE_ROWS"),
            (tables, "PAGE_ROWS"),
            (overview, "PAGE_ROWS"),
            (overview, "FEWER_ROWS"),
        ):
            patch.setattr(module, name, 2)
        return build(runs, root / "site").parent


@pytest.fixture
def open_page(browser: Browser, site: Path) -> Iterator[OpenPage]:
    """`open_page(query="", path="index.html", **context)` opens a page of the board (or of the one whose overview is
    `of`) from disk, or at the address `base`, in a context of its own.

    At the end the test fails if any page said something on the console (a violation of the content policy does),
    raised an error, showed a dialog or asked for anything but the site's own files.
    """
    contexts, said = [], []
    roots = {site.parent.as_uri() + "/"}

    def watch(page: Page) -> None:
        page.on("console", lambda message: said.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: _allowed(request.url) or said.append(f"request: {request.url}"))

    def open_(
        query: str = "",
        *,
        path: str = "index.html",
        width: int = 1440,
        of: Path = site,
        base: str = "",
        **options: Any,
    ) -> Page:
        base = base or of.parent.as_uri()
        roots.add(f"{base}/")
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.set_default_timeout(60_000)  # other work may share the machine
        contexts.append(context)
        page = context.new_page()
        watch(page)
        page.goto(f"{base}/{path}{query}")
        return page

    def _allowed(url: str) -> bool:
        return url.startswith((*roots, "data:"))

    yield open_
    for context in contexts:
        context.close()
    assert said == []
