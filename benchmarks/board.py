"""How long the board takes to build from submissions, and to answer in a browser: 100 and 1,000 models over mrb.

    python benchmarks/board.py
    python benchmarks/board.py --models 100 --queries 50
    python benchmarks/board.py --models 1000 --keep /tmp/thousand --browser
    python benchmarks/board.py --models 100 --packs

Prints a table: seconds by the clock and of computing time (the two differ where the machine does
other work too), for reading and checking the submissions alone, and for all of it: reading, every page, and writing;
and what the first view of the overview loads. With --browser another: milliseconds from a change of what is shown to
the first 10 rows standing, in Chromium, on the overview and on the table of all tasks. --keep writes the submissions
there, or takes those that are there. --packs gives the board judgement packs: values per query, ranks, gains and pair
pages; nothing is in the cache of values before.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeVar

from synthetic import write_packs, write_submissions

from mrb.leaderboard.build import build, uncollected
from mrb.leaderboard.tables.runs import read_entries

T = TypeVar("T")
TARGETS = {100: 5.0, 1000: 60.0}
CHROMIUM = "/usr/bin/chromium"
REPEATS = 9
CHANGES = {
    "sort": ("{sort: 'name', order: 'ascending'}", "{sort: 'types', order: 'descending'}"),
    "filter": ("{filter: '7'}", "{filter: ''}"),
    "page": ("{page: '3'}", "{page: '1'}"),
    "columns": ("{preset: 'facts'}", "{preset: ''}"),
    "show": ("{show: 'interval'}", "{show: 'score'}"),
}
Times = tuple[float, float]


def timed(action: Callable[[], T]) -> tuple[T, Times]:
    """What `action` returns, and its seconds by the clock and of computing time, that of ended processes included."""
    clock, own = time.perf_counter(), sum(os.times()[:4])
    found = action()
    return found, (time.perf_counter() - clock, sum(os.times()[:4]) - own)


def measure(results: Path, site: Path, models: int, packs: Path | None) -> list[str]:
    """A row of the table; the site is left for the browser."""
    os.environ["MRB_CACHE"] = str(site.parent / "cache")
    with uncollected():
        reading = timed(partial(read_entries, [results], packs))[1]
    shutil.rmtree(site.parent / "cache", ignore_errors=True)
    built, whole = timed(partial(build, [results], site, packs=packs))
    target = f"{TARGETS[models]:.0f}" if models in TARGETS else "-"
    times = [f"{clock:.1f} / {own:.1f}" for clock, own in (reading, whole)]
    return [f"{models:,}", *times, target, f"{first_view(built) / 1000:.0f}"]


def first_view(page: Path) -> int:
    """The compressed bytes of a page with its styles and scripts."""
    own = set(re.findall(r'"(static/[^"]+)"', page.read_text(encoding="utf-8")))
    return sum(len(gzip.compress(path.read_bytes())) for path in (page, *(page.parent / name for name in own)))


def interactions(page_path: Path) -> dict[str, list[Times]]:
    """Milliseconds of each change, repeated: from the call to the end of the next layout, by the clock and of computing
    time (script, styles and layout on the page's own thread)."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(page_path.resolve().as_uri(), timeout=120_000)
        page.evaluate("BOARD.change({sort: 'types'})")
        page.wait_for_selector("table.board[data-drawn]", timeout=120_000)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})

        def computed() -> float:
            metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
            return 1000 * sum(metrics[name] for name in ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration"))

        found: dict[str, list[Times]] = {}
        for name, changes in CHANGES.items():
            for _ in range(REPEATS):
                for change in changes:
                    code = (
                        f"() => {{ const start = performance.now(); BOARD.change({change}); "
                        "document.body.getBoundingClientRect(); return performance.now() - start; }"
                    )
                    before = computed()
                    clock = page.evaluate(code)
                    found.setdefault(name, []).append((clock, computed() - before))
        browser.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the board's build.")
    parser.add_argument("--models", type=int, nargs="*", default=list(TARGETS))
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--keep", type=Path, help="write the submissions here, or take those that are here")
    parser.add_argument("--packs", action="store_true", help="with judgement packs")
    parser.add_argument("--browser", action="store_true", help="also time changes of the overview in Chromium")
    given = parser.parse_args()
    print("seconds by the clock / of computing")
    print("| models x 40 tasks | reading alone | whole build | target | first view, kB compressed |")
    print("|---|---|---|---|---|")
    answers: dict[str, dict[str, list[Times]]] = {}
    for models in given.models:
        scratch = Path(tempfile.mkdtemp(prefix="mrb-board-"))
        try:
            results = given.keep or scratch / "results"
            if not results.is_dir():
                write_submissions(results, models, queries=given.queries, rankings=given.packs)
            packs = scratch / "packs" if given.packs else None
            if packs is not None:
                write_packs(packs, queries=given.queries)
            print("| " + " | ".join(measure(results, scratch / "site", models, packs)) + " |", flush=True)
            if given.browser:
                for name in ("index.html", "tables/mrb-100/tasks.html"):
                    answers[f"{models:,}, {name}"] = interactions(scratch / "site" / name)
        finally:
            shutil.rmtree(scratch)
    if answers:
        print("\nmilliseconds in Chromium, median by the clock / of computing")
        print("| rows, page | " + " | ".join(CHANGES) + " |")
        print("|---|" + "---|" * len(CHANGES))
    for page, found in answers.items():
        cells = [" / ".join(f"{median(one):.0f}" for one in zip(*times, strict=True)) for times in found.values()]
        print(f"| {page} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
