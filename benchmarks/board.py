"""How long the board takes to build from submissions: 100 and 1,000 models over the 40 tasks of mrb.

    python benchmarks/board.py
    python benchmarks/board.py --models 100 --queries 50

Prints a table: seconds by the clock and of this process's own computing time (the two differ where the machine does
other work too), for reading and checking the submissions, making rows and every page, and all of it with the writing;
and the overview's size.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from synthetic import write_submissions

from mrb.leaderboard.build import build, site_pages
from mrb.leaderboard.runs import Entry, read_entries
from mrb.leaderboard.site import make_site

T = TypeVar("T")
TARGETS = {100: 5.0, 1000: 60.0}
Times = tuple[float, float]


def timed(action: Callable[[], T]) -> tuple[T, Times]:
    """What `action` returns, and its seconds by the clock and of computing time."""
    clock, own = time.perf_counter(), time.process_time()
    found = action()
    return found, (time.perf_counter() - clock, time.process_time() - own)


def measure(models: int, queries: int) -> list[str]:
    """A row of the table."""
    scratch = Path(tempfile.mkdtemp(prefix="mrb-board-"))
    try:
        write_submissions(scratch / "results", models, queries=queries)
        results = scratch / "results"
        entries, reading = timed(partial(read_entries, [results]))
        _, pages = timed(partial(_pages, entries))
        entries.clear()
        built, whole = timed(partial(build, [results], scratch / "site"))
        size = f"{built.stat().st_size / 1e6:.1f}"
    finally:
        shutil.rmtree(scratch)
    target = f"{TARGETS[models]:.0f}" if models in TARGETS else "-"
    return [f"{models:,}", *(f"{clock:.1f} / {own:.1f}" for clock, own in (reading, pages, whole)), target, size]


def _pages(entries: list[Entry]) -> int:
    return sum(len(page.data) for page in site_pages(make_site(entries)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the board's build.")
    parser.add_argument("--models", type=int, nargs="*", default=list(TARGETS))
    parser.add_argument("--queries", type=int, default=200)
    given = parser.parse_args()
    print("seconds by the clock / of computing")
    print("| models x 40 tasks | read | rows and pages | whole build | target | overview, MB |")
    print("|---|---|---|---|---|---|")
    for models in given.models:
        print("| " + " | ".join(measure(models, given.queries)) + " |", flush=True)


if __name__ == "__main__":
    main()
