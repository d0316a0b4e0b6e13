"""How long the board takes to build from submissions: 100 and 1,000 models over the 40 tasks of mrb.

    python benchmarks/board.py
    python benchmarks/board.py --models 100 --queries 50

Prints a table: seconds by the clock and of this process's own computing time (the two differ where the machine does
other work too), for reading and checking the submissions, making rows and page, and writing everything.
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

from mrb.leaderboard.build import build
from mrb.leaderboard.comparisons import compare
from mrb.leaderboard.page import render
from mrb.leaderboard.rows import Table
from mrb.leaderboard.runs import read_runs
from mrb.summary import Run

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
        runs, reading = timed(partial(read_runs, [results]))
        _, page = timed(partial(_page, runs))
        runs.clear()
        built, whole = timed(partial(build, [results], scratch / "site"))
        size = f"{built.stat().st_size / 1e6:.1f}"
    finally:
        shutil.rmtree(scratch)
    target = f"{TARGETS[models]:.0f}" if models in TARGETS else "-"
    return [f"{models:,}", *(f"{clock:.1f} / {own:.1f}" for clock, own in (reading, page, whole)), target, size]


def _page(runs: list[Run]) -> str:
    return render([Table(comparison) for comparison in compare(runs)])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the board's build.")
    parser.add_argument("--models", type=int, nargs="*", default=list(TARGETS))
    parser.add_argument("--queries", type=int, default=200)
    given = parser.parse_args()
    print("seconds by the clock / of computing")
    print("| models x 40 tasks | read | rows and page | whole build | target | page, MB |")
    print("|---|---|---|---|---|---|")
    for models in given.models:
        print("| " + " | ".join(measure(models, given.queries)) + " |", flush=True)


if __name__ == "__main__":
    main()
