"""Merge the shards of a run: unite their journals and write the same files as an unsharded run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrb import __version__
from mrb.candidates.load import read_list_sets, refuse_two_sets
from mrb.data.task import load_suite
from mrb.errors import ResultError
from mrb.evaluation.failures import count_failed
from mrb.evaluation.journal import Header, Journal, Record, write_journal
from mrb.evaluation.lock import lock_folder
from mrb.evaluation.measure import measure
from mrb.evaluation.outputs import write_task
from mrb.evaluation.plan import Float32, Plan, list_unscored, load_plan
from mrb.evaluation.resume import refuse_replacement
from mrb.evaluation.score_key import compute_score_key
from mrb.evaluation.spec import Shard, TaskSpec
from mrb.results.run import Run, TaskScores, make_task_scores
from mrb.results.schema import (
    JOURNAL_FILE,
    RUN_FILE,
    SHARD_FILE,
    RunRecord,
    ShardRecord,
    TaskTiming,
    read_run,
    read_shard,
    write_run,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardRun:
    """One shard of a run, as read from its folder."""

    folder: Path
    options: ShardRecord
    record: RunRecord

    @property
    def shard(self) -> Shard:
        """Its number, and of how many."""
        return Shard(self.options.number, self.options.of)


def read_shards(folders: Sequence[Path]) -> list[ShardRun]:
    """Return the shards in `folders`, sorted by number.

    Raises:
        ResultError: A folder holds no shard, a shard comes twice or is missing, or one belongs to another run.
    """
    shards = [_read_shard(folder) for folder in dict.fromkeys(folder.resolve() for folder in folders)]
    first = shards[0]
    by_number: dict[int, ShardRun] = {}
    for shard in shards:
        for what, ours, theirs in _list_options(shard, first):
            if ours != theirs:
                raise ResultError(f"{shard.folder}: {what} is {ours}, that of {first.folder} is {theirs}: not one run")
        other = by_number.setdefault(shard.options.number, shard)
        if other is not shard:
            raise ResultError(f"{shard.folder}: shard {shard.shard} again, which {other.folder} is too")
    absent = [number for number in range(1, first.options.of + 1) if number not in by_number]
    if absent:
        listed = ", ".join(str(number) for number in absent[:10]) + (", ..." if len(absent) > 10 else "")
        raise ResultError(f"{first.folder}: of {first.options.of} shards these are missing: {listed}")
    return [by_number[number] for number in sorted(by_number)]


def merge_shards(shards: Sequence[ShardRun], out: Path, candidates: Path | None, command: Sequence[str]) -> Run:
    """Write the run of all shards into `out` (journals, results, and the run's record last) and return it.

    Each task is written as a whole or not at all. Scores of the same run that `out` holds already are merged too.

    Args:
        shards: All shards of one run, from `read_shards`.
        out: The folder of the merged run.
        candidates: A candidate list or a folder of lists, as for `mrb run --candidates`; None for the frozen lists.
        command: The command line, for the run's record.

    Raises:
        CandidatesError: A list is missing, or two are of different candidate sets.
        ResultError: A shard is not finished, a journal holds scores of another run, or two journals differ on a query.
    """
    record = shards[0].record
    not_covered = {item.task for item in record.not_covered}
    with lock_folder(out):
        if (out / SHARD_FILE).exists():
            raise ResultError(f"{out}: is itself a shard of a run; give the merged run another folder with --out")
        if (out / RUN_FILE).exists() and read_run(out).reranker.identity() != record.reranker.identity():
            raise ResultError(f"{out}: holds a run of another reranker; give another folder with --out")
        covered = [record.get_task(task_id) for task_id in record.tasks if task_id not in not_covered]
        refuse_two_sets(read_list_sets(covered, candidates))
        tasks: dict[str, TaskScores] = {}
        for task_id in record.tasks:
            if task_id not in not_covered:
                tasks[task_id] = _merge_task(shards, task_id, out, candidates)
                logger.info(f"{task_id}: {len(shards)} shards merged")
        merged = _merge_records(shards, command)
        write_run(out, merged)
    return Run(out, merged, tasks)


def _read_shard(folder: Path) -> ShardRun:
    if not (folder / SHARD_FILE).is_file():
        raise ResultError(f"{folder}: no shard of a run, which `mrb run --shard I/N` makes (it has no {SHARD_FILE})")
    return ShardRun(folder, read_shard(folder), read_run(folder))


def _list_options(shard: ShardRun, first: ShardRun) -> list[tuple[str, object, object]]:
    """Return (what, value of `shard`, value of `first`) for everything that must be equal in all shards of a run."""

    def stated(one: ShardRun) -> dict[str, object]:
        info, options = one.record.reranker, one.options
        return {
            "the number of shards": options.of,
            "the reranker": info.name,
            "its identity (options, version, kind)": info.identity(),
            "the adapter's source hash": info.source_sha256,
            "the suite": one.record.suite,
            "the suite's version": one.record.suite_version,
            "the list of tasks": ", ".join(one.record.tasks),
            "depth": options.depth,
            "--limit": options.limit,
            "qrels": options.qrels,
            "--allow-failures": options.allow_failures,
        }

    ours, theirs = stated(shard), stated(first)
    return [(what, ours[what], theirs[what]) for what in ours]


def _merge_task(shards: Sequence[ShardRun], task_id: str, out: Path, candidates: Path | None) -> TaskScores:
    options, record = shards[0].options, shards[0].record
    sample = load_suite(record.suite).sample if record.suite else None
    task = record.get_task(task_id).with_qrels(options.qrels)
    spec = TaskSpec(task, options.depth, candidates, options.limit, sample)
    plan = load_plan(spec)
    key = compute_score_key(plan, record.reranker)
    scores: dict[str, Float32] = {}
    headers: list[Header] = []
    for folder in (*(shard.folder for shard in shards), out):
        journal = Journal(folder / task_id / JOURNAL_FILE)
        if journal.header is None:
            continue
        if journal.header.score_key != key:
            raise ResultError(
                f"{journal.path}: holds scores of another run of {journal.header.reranker}, or of another list or "
                f"definition of {task_id}"
            )
        headers.append(journal.header)
        _check_packages(headers[0], journal.header, journal.path)
        _add_scores(scores, journal)
    _check_complete(plan, scores, shards, task_id)
    failed = count_failed(scores)
    if failed > options.allow_failures:
        raise ResultError(
            f"task {task_id}: the shards hold {failed} failed pairs together, allowed were {options.allow_failures}; "
            "run each shard again with more, nothing is scored twice"
        )
    folder = out / task_id
    refuse_replacement(folder, spec)
    folder.mkdir(parents=True, exist_ok=True)
    if headers:
        records = (Record(query_id, 0, scores[query_id]) for query_id in plan.query_ids if query_id in scores)
        write_journal(folder / JOURNAL_FILE, headers[0], records)
    result = measure(plan, scores, record.reranker)
    write_task(folder, plan, scores, result)
    return make_task_scores(result.result, result.per_query)


def _check_packages(first: Header, header: Header, journal: Path) -> None:
    """Refuse journals of different packages or adapter source: without a reranker, no sample can be scored again."""
    for name in sorted(first.packages.keys() & header.packages.keys()):
        if first.packages[name] != header.packages[name]:
            raise ResultError(
                f"{journal}: scored with {name} {header.packages[name]}, another shard with {first.packages[name]}; "
                "run the shard again under that version: a few queries are scored again, and if they agree it is taken"
            )
    if first.source_sha256 != header.source_sha256:
        raise ResultError(
            f"{journal}: the adapter's source differs from that of another shard; run this shard again with that source"
        )


def _add_scores(scores: dict[str, Float32], journal: Journal) -> None:
    """Add the journal's scores. Two journals may have scores of the same query if these are bit-identical."""
    for query_id, more in journal.scores.items():
        before = scores.get(query_id)
        if before is not None:
            both = min(len(before), len(more))
            if before[:both].tobytes() != more[:both].tobytes():
                position = int(np.flatnonzero(before[:both].view(np.uint32) != more[:both].view(np.uint32))[0])
                raise ResultError(
                    f"{journal.path}: query {query_id!r} scored {more[position]} at first-stage rank {position + 1}, "
                    f"and {before[position]} in another shard"
                )
        if before is None or len(more) > len(before):
            scores[query_id] = more


def _check_complete(plan: Plan, scores: Mapping[str, Float32], shards: Sequence[ShardRun], task_id: str) -> None:
    """Raise ResultError if a shard has not scored all of its queries, or if a scored query is not in the plan."""
    unknown = scores.keys() - set(plan.query_ids)
    if unknown and shards[0].options.limit is None:
        raise ResultError(f"task {task_id}: query {min(unknown)!r} is scored and is not among the task's queries")
    for shard in shards:
        lacking = list(list_unscored(plan.take_shard(shard.shard), scores))
        if lacking:
            raise ResultError(
                f"{shard.folder}: shard {shard.shard} has not scored query {lacking[0].query_id!r} of {task_id} "
                f"({len(lacking)} such); the same command continues where it stopped"
            )


def _merge_records(shards: Sequence[ShardRun], command: Sequence[str]) -> RunRecord:
    """Return the record of the merged run: values that are equal in all shards, and sums of times and pairs."""
    first = shards[0].record
    timings: dict[str, TaskTiming] = {}
    for shard in shards:
        for task_id, timing in shard.record.timings.items():
            before = timings.get(task_id, TaskTiming(seconds=0, pairs=0))
            timings[task_id] = TaskTiming(
                seconds=round(before.seconds + timing.seconds, 3),
                pairs=before.pairs + timing.pairs,
                day=max(filter(None, (before.day, timing.day)), default=None),
            )
    environments = [shard.record.environment for shard in shards]
    alike = {
        name: value
        for name, value in first.environment.items()
        if all(other.get(name) == value for other in environments)
    }
    return first.model_copy(
        update={
            "mrb_version": __version__,
            "command": tuple(command),
            "timings": {task_id: timings[task_id] for task_id in first.tasks if task_id in timings},
            "environment": {**alike, "parts": str(len(shards))},
        }
    )
