"""Copies of the files that the numbers come from: every number links to its file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mrb._util.redact import redact
from mrb.leaderboard.page import Page
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.runs import RunCard, result_path
from mrb.results.noise import NOISE_FILE
from mrb.results.run import Run
from mrb.results.schema import RESULT_FILE, RUN_FILE
from mrb.submission.schema import SUBMISSION_FILE


def make_files(site: Site) -> Iterator[Page]:
    """Yield the records and results of every run, byte for byte unless an older MRB left something private in them."""
    for run in site.runs:
        for path, source in list_copies(run, site.cards[run.name]).items():
            data = source.read_bytes()
            value = json.loads(data)
            public = redact(value)
            yield Page(path, data if public == value else json.dumps(public, indent=2, ensure_ascii=False).encode())


def list_copies(run: Run, card: RunCard) -> dict[str, Path]:
    """Return each file's path in the site, and its source."""
    noise = {card.noise_path: card.noise_folder / NOISE_FILE} if card.noise_path and card.noise_folder else {}
    if run.stored is not None:
        return {card.record_path: run.folder / SUBMISSION_FILE, **noise}
    results = {result_path(run, task_id): run.folder / task_id / RESULT_FILE for task_id in run.tasks}
    return {card.record_path: run.folder / RUN_FILE, **noise, **results}
