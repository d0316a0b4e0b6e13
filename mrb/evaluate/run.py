"""A run: every task of a selection is planned, scored into its journal, measured and written."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mrb.candidates import Candidates
from mrb.declaration import LoadedReranker, load_reranker, not_covered
from mrb.errors import ResultError
from mrb.evaluate import environment
from mrb.evaluate.held import held_scores, missing, score_key
from mrb.evaluate.lock import locked
from mrb.evaluate.measure import Measured, measure
from mrb.evaluate.plan import Asked, Float32, Plan, asked, make_plan
from mrb.evaluate.score import score_all
from mrb.evaluate.select import Selection, load_candidates
from mrb.files import atomic_writer
from mrb.items import DecodeCache
from mrb.journal import Header, JournalWriter, Record, replay
from mrb.loading.load import load_task_data
from mrb.results import (
    PER_QUERY_FILE,
    SCORES_FILE,
    NotCovered,
    RunRecord,
    TaskTiming,
    read_run,
    write_result,
    write_run,
)
from mrb.task import Task

JOURNAL_FILE = "journal"


@dataclass(frozen=True)
class RunOptions:
    """What `mrb run` was asked for."""

    model: str
    options: Mapping[str, str]
    selection: Selection
    out: Path
    name: str | None = None
    candidates: Path | None = None
    limit: int | None = None
    fresh: bool = False
    command: Sequence[str] = ()


@dataclass(frozen=True)
class RunOutcome:
    """Where a run lies and what it did not cover."""

    folder: Path
    record: RunRecord


def run(options: RunOptions, say: Callable[[str], None]) -> RunOutcome:
    """Do the run; `say` takes one line of progress at a time.

    Everything that can be refused without the model is refused before it is loaded: unknown candidates, another
    task's list. Files appear whole; what a journal already holds is not scored again.
    """
    selection = options.selection
    lists = {task.id: load_candidates(task, options.candidates, selection.depth) for task in selection.tasks}
    reranker = load_reranker(options.model, options.options)
    folder = options.out / (options.name or reranker.info.name)
    refused = {task.id: not_covered(reranker.info, task) for task in selection.tasks}
    try:
        with locked(folder):
            timings = _earlier_timings(folder)
            for task in selection.tasks:
                reason = refused[task.id]
                if reason is not None:
                    say(f"{task.id}: not covered: {reason}")
                    continue
                timing = _run_task(options, task, lists[task.id], reranker, folder / task.id, say)
                if timing is not None:
                    timings[task.id] = timing
            record = _record(options, reranker, refused, timings)
            write_run(folder, record)
    finally:
        reranker.close()
    return RunOutcome(folder, record)


def _run_task(
    options: RunOptions,
    task: Task,
    candidates: Candidates,
    reranker: LoadedReranker,
    folder: Path,
    say: Callable[[str], None],
) -> TaskTiming | None:
    """Score, measure and write one task; how long scoring took, None if nothing was left to score."""
    cache = DecodeCache()
    data = load_task_data(task, decode_cache=cache)
    from mrb.candidates import check_ids

    check_ids(candidates, data.queries.rows, data.corpus.rows, f"candidates of {task.id}")
    plan = make_plan(data, candidates, options.selection.depth, limit=options.limit, sample=options.selection.sample)
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / JOURNAL_FILE
    if options.fresh:
        journal.unlink(missing_ok=True)
    timing = _score(plan, reranker, journal)
    held = held_scores(replay(journal).records, journal)
    _write_task(folder, plan, held, measure(plan, held, reranker.info))
    say(_line(task, timing, plan))
    return timing


def _score(plan: Plan, reranker: LoadedReranker, journal: Path) -> TaskTiming | None:
    found = replay(journal)
    header = _header(plan, reranker)
    if found.header is not None and found.header.score_key != header.score_key:
        raise ResultError(
            f"{journal}: holds scores of another run of {found.header.reranker} (options, version, task definition, "
            "candidates or depth differ); give another --name, or --fresh to start over"
        )
    held = held_scores(found.records, journal)
    todo = list(missing(plan, held))
    if not todo:
        return None
    firsts = {entry.query_id: first for entry, first in todo}
    pairs = sum(len(entry.doc_ids) for entry, _ in todo)
    requests = asked(
        plan, (entry for entry, _ in todo), reranker.info.kind, uses_first_stage=reranker.info.uses_first_stage
    )
    started = time.perf_counter()
    with JournalWriter(journal, header) as writer:
        for item, scores in _with_progress(score_all(reranker, requests, plan.data.task.id), plan, pairs):
            writer.append(Record(item.entry.query_id, firsts[item.entry.query_id], scores))
    return TaskTiming(seconds=round(time.perf_counter() - started, 3), pairs=pairs)


def _with_progress(scored: Iterator[tuple[Asked, Float32]], plan: Plan, pairs: int) -> Iterator[tuple[Asked, Float32]]:
    """The same answers, with a bar of pairs per second and time left where a person is watching."""
    from tqdm import tqdm

    label = plan.data.task.id
    with tqdm(total=pairs, unit="pair", desc=label, disable=not sys.stderr.isatty(), leave=False) as bar:
        for item, scores in scored:
            yield item, scores
            bar.update(len(scores))


def _header(plan: Plan, reranker: LoadedReranker) -> Header:
    return Header(
        score_key=score_key(plan, reranker.info),
        task=plan.data.task.id,
        reranker=reranker.info.name,
        source_sha256=reranker.info.source_sha256,
        packages=environment.packages(),
    )


def _write_task(folder: Path, plan: Plan, held: Mapping[str, Float32], measured: Measured) -> None:
    """The task's files; the result comes last, so that where it stands the others are there too."""
    lists = [
        (entry, held.get(entry.query_id, np.empty(0, np.float32))[: len(entry.doc_ids)]) for entry in plan.entries()
    ]
    scores = pa.table(
        {
            "query_id": pa.array([entry.query_id for entry, _ in lists for _ in entry.doc_ids], pa.string()),
            "doc_id": pa.array([doc_id for entry, _ in lists for doc_id in entry.doc_ids], pa.string()),
            "score": pa.array(np.concatenate([values for _, values in lists]), pa.float32()),
        }
    )
    for name, table in ((SCORES_FILE, scores), (PER_QUERY_FILE, measured.per_query)):
        with atomic_writer(folder / name) as file:
            pq.write_table(table, file, compression="zstd")
    write_result(folder, measured.result)


def _earlier_timings(folder: Path) -> dict[str, TaskTiming]:
    """Timings of tasks that an earlier call of the same run finished: a resume must not lose them."""
    try:
        return dict(read_run(folder).timings)
    except ResultError:
        return {}


def _record(
    options: RunOptions, reranker: LoadedReranker, refused: Mapping[str, str | None], timings: dict[str, TaskTiming]
) -> RunRecord:
    suite = options.selection.suite
    return RunRecord(
        schema_version=1,
        mrb_version=version("mrb"),
        reranker=reranker.info,
        suite=suite.id if suite else None,
        suite_version=suite.version if suite else None,
        tasks=tuple(task.id for task in options.selection.tasks),
        not_covered=tuple(NotCovered(task=task_id, reason=reason) for task_id, reason in refused.items() if reason),
        command=tuple(options.command),
        environment=environment.environment(),
        timings=timings,
    )


def _line(task: Task, timing: TaskTiming | None, plan: Plan) -> str:
    if timing is None:
        return f"{task.id}: all {plan.pairs} pairs were scored before"
    rate = timing.pairs / timing.seconds if timing.seconds else float("inf")
    return f"{task.id}: {timing.pairs} pairs in {timing.seconds:.1f} s ({rate:.0f} pairs/s)"
