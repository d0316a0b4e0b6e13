"""Building the site: read the runs and submissions, refuse what does not fit, write every file whole, the page last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mrb.files import write_bytes
from mrb.leaderboard.comparisons import compare
from mrb.leaderboard.page import render, static_files
from mrb.leaderboard.rows import Table
from mrb.leaderboard.runs import card, read_runs, result_path
from mrb.noise import NOISE_FILE
from mrb.results import RESULT_FILE, RUN_FILE
from mrb.submission.schema import SUBMISSION_FILE
from mrb.summary import Run

PAGE_FILE = "index.html"


def build(folders: Sequence[Path], out: Path) -> Path:
    """Write the board of the runs and submissions in `folders` into `out`; where its page is.

    The same ones give the same bytes. ResultError, before anything is written, for a folder that is neither or is
    damaged.
    """
    runs = read_runs(folders)
    page = render([Table(comparison) for comparison in compare(runs)])
    for run in runs:
        for path, source in _copies(run).items():
            write_bytes(out / path, source.read_bytes())
    for name, data in static_files().items():
        write_bytes(out / "static" / name, data)
    # Last, so that a page that can be opened finds everything it links to.
    write_bytes(out / PAGE_FILE, page.encode())
    return out / PAGE_FILE


def _copies(run: Run) -> dict[str, Path]:
    """The files that the page's numbers link to, and where each comes from."""
    if run.stored is not None:
        return {card(run).record_path: run.folder / SUBMISSION_FILE}
    results = {result_path(run, task_id): run.folder / task_id / RESULT_FILE for task_id in run.tasks}
    about = card(run)
    noise = {about.noise_path: run.folder / NOISE_FILE} if about.noise_path else {}
    return {about.record_path: run.folder / RUN_FILE, **noise, **results}
