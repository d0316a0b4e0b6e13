"""Merge the shards of a run: unite their journals and write the same files as an unsharded run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrb import __version__
from mrb.data.task import load_suite, load_task
from mrb.errors import ResultError
from mrb.evaluation.failures import failed_pairs
from mrb.evaluation.journal import Header, Record, replay, rewrite
from mrb.evaluation.lock import locked
from mrb.evaluation.measure import measure
from mrb.evaluation.outputs import write_task
from mrb.evaluation.plan import Float32, Plan, load_plan
from mrb.evaluation.run import JOURNAL_FILE
from mrb.evaluation.scored import held_scores, missing, score_key
from mrb.evaluation.spec import Shard, TaskSpec
from mrb.evaluation.trial import refuse_trial
from mrb.results.schema import (
    PART_FILE,
    RUN_FILE,
    PartRecord,
    RunRecord,
    TaskTiming,
    read_part,
    read_run,
    write_run,
)


@dataclass(frozen=True)
class Piece:
    """One shard of a run, as read from its folder."""

    folder: Path
    part: PartRecord
    record: RunRecord


def read_pieces(folders: Sequence[Path]) -> list[Piece]:
    """Return the shards in `folders`, sorted by number.

    Raises:
        ResultError: A folder holds no shard, a shard comes twice or is missing, or one belongs to another run.
    """
    pieces = [_piece(folder) for folder in dict.fromkeys(folder.resolve() for folder in folders)]
    first = pieces[0]
    by_number: dict[int, Piece] = {}
    for piece in pieces:
        for what, ours, theirs in _compared(piece, first):
            if ours != theirs:
                raise ResultError(f"{piece.folder}: {what} is {ours}, that of {first.folder} is {theirs}: not one run")
        other = by_number.setdefault(piece.part.number, piece)
        if other is not piece:
            raise ResultError(f"{piece.folder}: part {_name(piece)} again, which {other.folder} is too")
    absent = [number for number in range(1, first.part.of + 1) if number not in by_number]
    if absent:
        listed = ", ".join(str(number) for number in absent[:10]) + (", ..." if len(absent) > 10 else "")
        raise ResultError(f"{first.folder}: of {first.part.of} parts these are missing: {listed}")
    return [by_number[number] for number in sorted(by_number)]


def merge(
    pieces: Sequence[Piece], out: Path, candidates: Path | None, command: Sequence[str], say: Callable[[str], None]
) -> None:
    """Write the run of all shards into `out`: journals, results, and the run's record last.

    Each task is written as a whole or not at all. Scores of the same run that `out` holds already are merged too.

    Args:
        pieces: All shards of one run, from `read_pieces`.
        out: The folder of the merged run.
        candidates: A candidate list or a folder of lists, as for `mrb run --candidates`; None for the frozen lists.
        command: The command line, for the run's record.
        say: Called with one line of progress per task.

    Raises:
        ResultError: A shard is not finished, a journal holds scores of another run, or two journals differ on a query.
    """
    record = pieces[0].record
    not_covered = {item.task for item in record.not_covered}
    with locked(out):
        if (out / PART_FILE).exists():
            raise ResultError(f"{out}: is itself a part of a run; give the merged run another folder with --out")
        if (out / RUN_FILE).exists() and read_run(out).reranker.identity() != record.reranker.identity():
            raise ResultError(f"{out}: holds a run of another reranker; give another folder with --out")
        for task_id in record.tasks:
            if task_id not in not_covered:
                _merge_task(pieces, task_id, out, candidates)
                say(f"{task_id}: {len(pieces)} parts put together")
        write_run(out, _record(pieces, command))


def _piece(folder: Path) -> Piece:
    if not (folder / PART_FILE).is_file():
        raise ResultError(f"{folder}: no part of a run, which `mrb run --shard I/N` makes (it has no {PART_FILE})")
    return Piece(folder, read_part(folder), read_run(folder))


def _name(piece: Piece) -> str:
    return str(Shard(piece.part.number, piece.part.of))


def _compared(piece: Piece, first: Piece) -> list[tuple[str, object, object]]:
    """Return (what, value of `piece`, value of `first`) for everything that must be equal in all shards of a run."""

    def stated(one: Piece) -> dict[str, object]:
        info, part = one.record.reranker, one.part
        return {
            "the number of parts": part.of,
            "the reranker": info.name,
            "its identity (options, version, kind)": info.identity(),
            "the adapter's source hash": info.source_sha256,
            "the suite": one.record.suite,
            "the suite's version": one.record.suite_version,
            "the list of tasks": ", ".join(one.record.tasks),
            "depth": part.depth,
            "--limit": part.limit,
            "qrels": part.qrels,
            "--allow-failures": part.allow_failures,
        }

    ours, theirs = stated(piece), stated(first)
    return [(what, ours[what], theirs[what]) for what in ours]


def _merge_task(pieces: Sequence[Piece], task_id: str, out: Path, candidates: Path | None) -> None:
    part, record = pieces[0].part, pieces[0].record
    sample = load_suite(record.suite).sample if record.suite else None
    task = load_task(task_id).with_qrels(part.qrels)
    plan = load_plan(TaskSpec(task, part.depth, candidates, part.limit, sample))
    key = score_key(plan, record.reranker)
    held: dict[str, Float32] = {}
    headers: list[Header] = []
    for journal in (*(piece.folder / task_id / JOURNAL_FILE for piece in pieces), out / task_id / JOURNAL_FILE):
        found = replay(journal)
        if found.header is None:
            continue
        if found.header.score_key != key:
            raise ResultError(
                f"{journal}: holds scores of another run of {found.header.reranker}, or of another list or definition "
                f"of {task_id}"
            )
        headers.append(found.header)
        _same_packages(headers[0], found.header, journal)
        _unite(held, held_scores(found.records, journal), journal)
    _complete(plan, held, pieces, task_id)
    failed = failed_pairs(held)
    if failed > part.allow_failures:
        raise ResultError(
            f"task {task_id}: the parts hold {failed} failed pairs together, allowed were {part.allow_failures}; "
            "run each part again with more, nothing is scored twice"
        )
    folder = out / task_id
    refuse_trial(folder, part.depth, part.limit, sample)
    folder.mkdir(parents=True, exist_ok=True)
    if headers:
        records = (Record(query_id, 0, held[query_id]) for query_id in plan.query_ids if query_id in held)
        rewrite(folder / JOURNAL_FILE, headers[0], records)
    write_task(folder, plan, held, measure(plan, held, record.reranker))


def _same_packages(first: Header, header: Header, journal: Path) -> None:
    """Refuse journals of different packages or adapter source: without a reranker, no sample can be scored again."""
    for name in sorted(first.packages.keys() & header.packages.keys()):
        if first.packages[name] != header.packages[name]:
            raise ResultError(
                f"{journal}: scored with {name} {header.packages[name]}, another part with {first.packages[name]}; run "
                "the part again under that version: a few queries are scored again, and if they agree it is taken"
            )
    if first.source_sha256 != header.source_sha256:
        raise ResultError(
            f"{journal}: scored with another source of the adapter than another part; run the part again with that one"
        )


def _unite(held: dict[str, Float32], more: Mapping[str, Float32], journal: Path) -> None:
    """Add the scores of one journal to `held`. Two journals may hold the same query if the scores are bit-identical."""
    for query_id, scores in more.items():
        before = held.get(query_id)
        if before is not None:
            both = min(len(before), len(scores))
            if before[:both].tobytes() != scores[:both].tobytes():
                position = int(np.flatnonzero(before[:both].view(np.uint32) != scores[:both].view(np.uint32))[0])
                raise ResultError(
                    f"{journal}: query {query_id!r} scored {scores[position]} at first-stage rank {position + 1}, "
                    f"and {before[position]} in another part"
                )
        if before is None or len(scores) > len(before):
            held[query_id] = scores


def _complete(plan: Plan, held: Mapping[str, Float32], pieces: Sequence[Piece], task_id: str) -> None:
    """Raise ResultError if a shard has not scored all of its queries, or if a scored query is not in the plan."""
    unknown = held.keys() - set(plan.query_ids)
    if unknown and pieces[0].part.limit is None:
        raise ResultError(f"task {task_id}: query {min(unknown)!r} is scored and is not among the task's queries")
    for piece in pieces:
        lacking = list(missing(plan.take_shard(Shard(piece.part.number, piece.part.of)), held))
        if lacking:
            raise ResultError(
                f"{piece.folder}: part {_name(piece)} has not scored query {lacking[0].query_id!r} of {task_id} "
                f"({len(lacking)} such); the same command goes on where it stopped"
            )


def _record(pieces: Sequence[Piece], command: Sequence[str]) -> RunRecord:
    """Return the record of the merged run: values that are equal in all shards, and sums of times and pairs."""
    first = pieces[0].record
    timings: dict[str, TaskTiming] = {}
    for piece in pieces:
        for task_id, timing in piece.record.timings.items():
            before = timings.get(task_id, TaskTiming(seconds=0, pairs=0))
            timings[task_id] = TaskTiming(
                seconds=round(before.seconds + timing.seconds, 3),
                pairs=before.pairs + timing.pairs,
                day=max(filter(None, (before.day, timing.day)), default=None),
            )
    environments = [piece.record.environment for piece in pieces]
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
            "environment": {**alike, "parts": str(len(pieces))},
        }
    )
