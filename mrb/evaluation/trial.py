"""Refuse to replace a whole result by a trial, that is, a result of fewer queries or less depth."""

from __future__ import annotations

from pathlib import Path

from mrb.data.task import Sample
from mrb.errors import ResultError
from mrb.results.schema import PART_FILE, RESULT_FILE, PartRecord, read_part, read_result


def refuse_trial(folder: Path, depth: int, limit: int | None, sample: Sample | None) -> None:
    """Raise ResultError if the task's folder holds a whole result (all queries, or a suite's sample) of more queries or
    more depth than the new one.

    A result that cannot be read is not protected: it is written again from the journal.
    """
    path = folder / RESULT_FILE
    try:
        held = read_result(path) if path.is_file() else None
    except ResultError:
        return
    if held is None or held.data.selection == "limit":
        return
    queries = held.counts.queries
    smaller = []
    if limit is not None and (limit < queries or (held.data.selection == "sample" and sample is None)):
        smaller.append(f"--limit {limit}")
    if sample is not None and held.data.selection == "all" and sample.queries < queries:
        smaller.append(f"a sample of {sample.queries}")
    if depth < held.candidates.depth:
        smaller.append(f"--depth {depth}")
    if smaller:
        raise ResultError(
            f"{path}: holds the result of {queries} queries at depth {held.candidates.depth}, which "
            f"{' and '.join(smaller)} would replace; give the trial another --name, or --fresh to discard what is held"
        )


def refuse_smaller_part(folder: Path, part: PartRecord) -> None:
    """Raise ResultError if `folder` holds a shard of a whole run and `part` is a shard of a trial."""
    if not (folder / PART_FILE).is_file():
        return
    held = read_part(folder)
    if held.limit is None and (part.limit is not None or part.depth < held.depth):
        raise ResultError(
            f"{folder}: holds a part of a run of all queries at depth {held.depth}; give the trial another --name, or "
            "--fresh to discard what is held"
        )
