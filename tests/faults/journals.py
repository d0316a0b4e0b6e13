"""A small journal, damaged at every byte, put under a real run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

from mrb.errors import ResultError
from mrb.evaluation.journal import MAGIC
from mrb.evaluation.run import run
from mrb.evaluation.spec import select_tasks
from tests.faults.commands import TASK, run_command, same_files
from tests.faults.tools import Lost, Outcome, outcome

QUERIES = 3
START_OVER = 8
"""After how many refusals one is followed to its end with --fresh: it costs a run, and is the same one each time."""
FILES = ("result.json", "scores.parquet", "per_query.parquet")


def damaged(folder: Path, step: int) -> Iterator[Outcome]:
    """Each `step`-th byte of the journal changed: the run ends in the same files, or is refused and `fresh` is not."""
    os.environ["SECONDS_A_QUERY"] = "0"
    with chdir(run_command().ready(folder)):
        _run(fresh=False)
        task = Path("runs") / "words" / TASK
        whole, journal = {name: (task / name).read_bytes() for name in FILES}, task / "journal"
        data = journal.read_bytes()
        for at in range(0, len(data), step):
            yield outcome(lambda at=at: _trial(journal, data, at, whole))
        shutil.rmtree("runs")


def _run(*, fresh: bool) -> None:
    selection = select_tasks(None, [TASK], (), 3)
    run(replace(selection, model="words", limit=QUERIES, fresh=fresh))


def _trial(journal: Path, data: bytes, at: int, whole: dict[str, bytes]) -> None:
    harm = bytearray(data)
    harm[at] ^= 0x5A
    journal.write_bytes(harm)
    for name in FILES:
        (journal.parent / name).unlink(missing_ok=True)
    try:
        _run(fresh=False)
    except ResultError as error:
        if "\n" in str(error) or journal.read_bytes() != harm:
            raise Lost(f"byte {at}: the refusal has several lines, or the journal was touched") from error
        if any((journal.parent / name).exists() for name in FILES):
            raise Lost(f"byte {at}: refused, and yet there is a result") from error
        if at >= len(MAGIC) and "--fresh" not in str(error):
            raise Lost(f"byte {at}: the refusal does not say what to do: {error}") from error
        if at % START_OVER:
            return
        _run(fresh=True)
    same_files({name: (journal.parent / name).read_bytes() for name in FILES}, whole)
