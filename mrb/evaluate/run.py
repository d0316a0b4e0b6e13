"""A run: every task of a selection is planned, scored into its journal, measured and written."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from mrb.candidates import check_ids
from mrb.declaration import LoadedReranker, load_reranker, not_covered
from mrb.errors import ResultError
from mrb.evaluate import environment
from mrb.evaluate.failures import Allowance, failed_pairs, score_most
from mrb.evaluate.held import held_scores, missing, score_key
from mrb.evaluate.lock import locked
from mrb.evaluate.measure import measure
from mrb.evaluate.plan import Asked, Float32, Plan, asked, make_plan
from mrb.evaluate.resume import agree_or_refuse
from mrb.evaluate.score import score_all
from mrb.evaluate.select import Selection, check_candidates, load_candidates, needed
from mrb.evaluate.write import discard_task, write_task
from mrb.items import DecodeCache
from mrb.journal import Header, JournalWriter, Record, replay
from mrb.loading.load import load_task_data
from mrb.results import (
    RUN_FILE,
    NotCovered,
    RunRecord,
    TaskTiming,
    read_run,
    write_run,
)
from mrb.task import Task, load_suite

JOURNAL_FILE = "journal"


@dataclass(frozen=True)
class RunOptions:
    """What `mrb run` was asked for. `pulled` has, by task, the Hub's address of each list that was pulled for it."""

    model: str
    options: Mapping[str, str]
    selection: Selection
    out: Path
    name: str | None = None
    candidates: Path | None = None
    pulled: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    fresh: bool = False
    allow_failures: int = 0
    command: Sequence[str] = ()


def run(options: RunOptions, say: Callable[[str], None]) -> Path:
    """Do the run and return its folder; `say` takes one line of progress at a time.

    Everything that can be refused without the model is refused before it is loaded: unknown candidates, another
    task's list. Files appear whole; what a journal already holds is not scored again.
    """
    selection = options.selection
    for task in selection.tasks:
        check_candidates(task, options.candidates, selection.depth)
    reranker = load_reranker(options.model, options.options)
    folder = options.out / (options.name or reranker.info.name)
    refused = {task.id: not_covered(reranker.info, task) for task in selection.tasks}
    try:
        with locked(folder):
            earlier = _earlier(folder, reranker, fresh=options.fresh)
            timings: dict[str, TaskTiming] = {}
            # Written at once, and again after every task: a run that is killed leaves a record of what is there.
            write_run(folder, _record(options, reranker, refused, timings, earlier))
            for task in selection.tasks:
                reason = refused[task.id]
                if reason is not None:
                    say(f"{task.id}: not covered: {reason}")
                    continue
                timing = _run_task(options, task, reranker, folder / task.id, say)
                if timing is not None:
                    timings[task.id] = timing
                    write_run(folder, _record(options, reranker, refused, timings, earlier))
    finally:
        reranker.close()
    return folder


def _run_task(
    options: RunOptions,
    task: Task,
    reranker: LoadedReranker,
    folder: Path,
    say: Callable[[str], None],
) -> TaskTiming | None:
    """Score, measure and write one task; how long scoring took, None if nothing was left to score."""
    cache = DecodeCache()
    candidates = load_candidates(task, options.candidates, options.selection.depth)
    data = load_task_data(task, decode_cache=cache, needed=needed(candidates))
    check_ids(candidates, data.queries.rows, data.corpus.rows, f"candidates of {task.id}")
    plan = make_plan(data, candidates, options.selection.depth, limit=options.limit, sample=options.selection.sample)
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / JOURNAL_FILE
    if options.fresh:
        discard_task(folder, journal)
    timing = _score(plan, reranker, journal, options.allow_failures, say)
    held = held_scores(replay(journal).records, journal)
    write_task(folder, plan, held, measure(plan, held, reranker.info))
    say(_line(task, timing, plan))
    return timing


def _score(
    plan: Plan, reranker: LoadedReranker, journal: Path, allow_failures: int, say: Callable[[str], None]
) -> TaskTiming | None:
    """Put what the journal lacks of the plan's scores into it."""
    found = replay(journal)
    header = header_of(plan, reranker)
    if found.header is not None and found.header.score_key != header.score_key:
        raise ResultError(
            f"{journal}: holds scores of another run of {found.header.reranker} (options, version, task definition, "
            "candidates or depth differ); give another --name, or --fresh to start over"
        )
    held = held_scores(found.records, journal)
    if found.header is not None:
        agree_or_refuse(plan, reranker, found, header, held, journal, say)
    allowance = Allowance(allow_failures, failed_pairs(held))
    if allowance.failed > allow_failures:
        raise ResultError(
            f"{journal}: holds {allowance.failed} failed pairs; allow them with --allow-failures {allowance.failed}, "
            "or start over with --fresh"
        )
    pairs = sum(len(entry.doc_ids) for entry in missing(plan, held))
    if not pairs:
        return None
    info = reranker.info
    requests = asked(plan, missing(plan, held), info.kind, uses_first_stage=info.uses_first_stage)
    started = time.perf_counter()
    with JournalWriter(journal, header) as writer:
        where = plan.data.task.id
        scored = (
            score_most(reranker, requests, where, allowance) if allow_failures else score_all(reranker, requests, where)
        )
        for item, scores in _with_progress(scored, plan, pairs):
            writer.append(Record(item.entry.query_id, item.entry.first, scores))
    return TaskTiming(seconds=round(time.perf_counter() - started, 3), pairs=pairs)


def _with_progress(scored: Iterator[tuple[Asked, Float32]], plan: Plan, pairs: int) -> Iterator[tuple[Asked, Float32]]:
    """The same answers, with a bar of pairs per second and time left where a person is watching."""
    from tqdm import tqdm

    label = plan.data.task.id
    with tqdm(total=pairs, unit="pair", desc=label, disable=not sys.stderr.isatty(), leave=False) as bar:
        for item, scores in scored:
            yield item, scores
            bar.update(len(scores))


def header_of(plan: Plan, reranker: LoadedReranker) -> Header:
    """The header of the journal that a plan's scores go into."""
    return Header(
        score_key=score_key(plan, reranker.info),
        task=plan.data.task.id,
        reranker=reranker.info.name,
        source_sha256=reranker.info.source_sha256,
        packages=environment.packages(),
    )


def _earlier(folder: Path, reranker: LoadedReranker, *, fresh: bool) -> RunRecord | None:
    """The record of an earlier call in the same folder, whose tasks this one adds to.

    ResultError if the folder holds another reranker's run: its results must not come to stand beside ours.
    """
    if not (folder / RUN_FILE).exists():
        return None
    earlier = read_run(folder)
    if earlier.reranker.identity() == reranker.info.identity():
        return earlier
    if fresh:
        return None
    raise ResultError(
        f"{folder}: holds scores of another run of {earlier.reranker.name} (options, version or kind differ); "
        "give another --name, or --fresh to start over"
    )


def _record(
    options: RunOptions,
    reranker: LoadedReranker,
    refused: Mapping[str, str | None],
    timings: Mapping[str, TaskTiming],
    earlier: RunRecord | None,
) -> RunRecord:
    suite = options.selection.suite
    if suite is None and earlier is not None and earlier.suite is not None:
        suite = load_suite(earlier.suite)
    known = {task.id for task in options.selection.tasks} | set(earlier.tasks if earlier else ())
    order = suite.tasks if suite is not None else tuple(sorted(known))
    reasons = {item.task: item.reason for item in (earlier.not_covered if earlier else ())}
    reasons |= {task_id: reason for task_id, reason in refused.items() if reason}
    taken = {task.id for task in options.selection.tasks}
    pulled = {task: address for task, address in (earlier.pulled if earlier else {}).items() if task not in taken}
    return RunRecord(
        schema_version=1,
        mrb_version=version("mrb"),
        reranker=reranker.info,
        suite=suite.id if suite else None,
        suite_version=suite.version if suite else None,
        tasks=tuple(task_id for task_id in (*order, *sorted(known - set(order))) if task_id in known),
        not_covered=tuple(NotCovered(task=task_id, reason=reason) for task_id, reason in reasons.items()),
        pulled={**pulled, **options.pulled},
        command=tuple(options.command),
        environment=environment.environment(),
        timings={**(earlier.timings if earlier else {}), **timings},
    )


def _line(task: Task, timing: TaskTiming | None, plan: Plan) -> str:
    if timing is None:
        return f"{task.id}: all {plan.pairs} pairs were scored before"
    rate = timing.pairs / timing.seconds if timing.seconds else float("inf")
    return f"{task.id}: {timing.pairs} pairs in {timing.seconds:.1f} s ({rate:.0f} pairs/s)"
