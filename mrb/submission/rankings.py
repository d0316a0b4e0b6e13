"""`rankings/<task>.parquet`: the order of each query's candidates, from which every measure follows.

| column | |
|---|---|
| `query_id` | the task's queries in task order, including those without candidates |
| `order` | bytes: positions in the task's candidate list (0 is the first stage's best), best first by the reranker |
| `scores` | if scores are published: little-endian float32 in the same order, NaN for a failed pair |
| `failed` | otherwise: number of pairs at the end of the order that have no score |
| `tied` | otherwise: whether ranks 10 and 11 have the same score |

Columns are neither compressed nor encoded: orders hardly compress, and so a file cannot unpack to more than its size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mrb._util.files import open_atomically
from mrb.candidates.judgement_packs import MAX_POSITIONS
from mrb.data.task import Task
from mrb.errors import AdapterError, ResultError, to_one_line
from mrb.evaluation.measure import TIE_CUTOFF
from mrb.evaluation.plan import Entry, Float32, Plan
from mrb.metrics.ranking import has_tie_at_cutoff, rank_candidates
from mrb.submission.sandboxed_parquet import get_reader

MAX_RANKING_BYTES = 64 * 1024 * 1024
_BASE = [("query_id", pa.string()), ("order", pa.binary())]
SCORED = pa.schema([*_BASE, ("scores", pa.binary())])
UNSCORED = pa.schema([*_BASE, ("failed", pa.uint16()), ("tied", pa.bool_())])


class QueryRanking(NamedTuple):
    """One query's ranking.

    `order` holds positions in the candidate list, best first; `scores` are float32 in that order, None if the file
    holds none; `failed` counts the failed pairs, which come last; `tied` says whether ranks 10 and 11 have the same
    score.
    """

    query_id: str
    order: npt.NDArray[np.uint8]
    scores: Float32 | None
    failed: int
    tied: bool


def publishes_scores(task: Task, selection: str) -> bool:
    """Return whether a task's scores are published with its orders: only small tasks (embedded data, samples)."""
    return task.source.kind == "embedded" or selection != "all"


def rank_queries(plan: Plan, scores: Mapping[str, Float32], *, keep_scores: bool) -> Iterator[QueryRanking]:
    """Yield every query of the plan as submitted; `scores` are in first-stage order, as in a journal.

    Raises ResultError for a list that is longer than one byte can count.
    """
    for entry in plan.entries():
        positions = find_list_positions(plan, entry)
        given = scores.get(entry.query_id, np.empty(0, np.float32))[: len(entry.doc_ids)]
        missing = np.isnan(given)
        order = rank_candidates(plan.data.task.id, entry.query_id, entry.doc_ids, given, failed=missing)
        yield QueryRanking(
            query_id=entry.query_id,
            order=positions[order].astype(np.uint8),
            scores=given[order] if keep_scores else None,
            failed=int(missing.sum()),
            tied=has_tie_at_cutoff(given[order], TIE_CUTOFF),
        )


def find_list_positions(plan: Plan, entry: Entry) -> npt.NDArray[np.int64]:
    """Return the positions of the entry's candidates in the list, int64[n]. Self-matches are skipped."""
    listed, _ = plan.candidates.get(entry.query_id)
    if len(listed) > MAX_POSITIONS:
        raise ResultError(
            f"task {plan.data.task.id}: a list of {len(listed)} candidates; a submission holds up to {MAX_POSITIONS}"
        )
    if listed[: len(entry.doc_ids)] == entry.doc_ids:
        return np.arange(len(entry.doc_ids))
    places = {doc_id: place for place, doc_id in enumerate(listed)}
    return np.array([places[doc_id] for doc_id in entry.doc_ids], np.int64)


def write_rankings(path: Path, rows: Iterator[QueryRanking], *, scores: bool) -> list[str]:
    """Write the file atomically; return its query ids."""
    found = list(rows)
    columns = {
        "query_id": [row.query_id for row in found],
        "order": [row.order.tobytes() for row in found],
        "scores": [b"" if row.scores is None else row.scores.astype("<f4").tobytes() for row in found],
        "failed": [row.failed for row in found],
        "tied": [row.tied for row in found],
    }
    schema = SCORED if scores else UNSCORED
    table = pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
    with open_atomically(path) as file:
        pq.write_table(table, file, compression="none", use_dictionary=False, write_statistics=False)
    return [row.query_id for row in found]


def read_rankings(path: Path, *, scores: bool, queries: int) -> list[QueryRanking]:
    """Return the rows of an untrusted file. ResultError names the file and the first query that is invalid."""
    table = get_reader().table(path, SCORED if scores else UNSCORED, rows=queries, max_bytes=MAX_RANKING_BYTES)
    query_ids, orders, *rest = (column.to_pylist() for column in table.columns)
    if len(set(query_ids)) < len(query_ids):
        twice = next(query_id for query_id, count in Counter(query_ids).items() if count > 1)
        raise ResultError(f"{_name_query(path, twice)} occurs twice")
    rows = zip(query_ids, orders, *rest, strict=True)
    if scores or not _are_orders(orders, *rest):
        return [_parse_row(path, query_id, order, more, scores=scores) for query_id, order, *more in rows]
    return [
        QueryRanking(query_id, np.frombuffer(order, np.uint8), None, failed, tied)
        for query_id, order, failed, tied in rows
    ]


def _are_orders(orders: list[bytes], failed: list[int], tied: list[bool]) -> bool:
    """Return whether `_parse_row` would accept all rows without scores. A suite has a quarter of a million of them."""
    lengths = np.fromiter(map(len, orders), np.int64, len(orders))
    places = np.frombuffer(b"".join(orders), np.uint8)
    seen = np.zeros((len(orders), 256), np.bool_)
    seen[np.repeat(np.arange(len(orders)), lengths), places] = True
    scored = lengths - np.array(failed, np.int64)
    return bool(((seen.sum(axis=1) == lengths) & (scored >= 0) & ~((scored <= TIE_CUTOFF) & np.array(tied))).all())


def restore_scores(plan: Plan, rows: list[QueryRanking], path: Path) -> dict[str, Float32]:
    """Return scores in first-stage order that give these orders by the ranking rule: the file's own if it has them.

    ResultError names the query whose order is not one of its candidates, or does not follow from its scores.
    """
    wanted = plan.query_ids
    if len(rows) != len(wanted):
        raise ResultError(f"{path}: {len(rows)} queries, the task has {len(wanted)}")
    held = {}
    for row, query_id in zip(rows, wanted, strict=True):
        if row.query_id != query_id:
            raise ResultError(f"{path}: query {row.query_id!r} where {query_id!r} belongs")
        entry = plan.entry(query_id)
        places = {int(place): index for index, place in enumerate(find_list_positions(plan, entry))}
        if sorted(places) != sorted(row.order.tolist()):
            raise ResultError(f"{path}: query {query_id!r}: the order is not one of its {len(places)} candidates")
        order = np.array([places[place] for place in row.order.tolist()], np.int64)
        scores = np.empty(len(order), np.float32)
        scores[order] = make_stand_in_scores(row) if row.scores is None else row.scores
        try:
            failed = np.isnan(scores)
            again = rank_candidates(plan.data.task.id, query_id, entry.doc_ids, scores, failed=failed, ties=entry.ties)
        except AdapterError as error:
            raise ResultError(f"{path}: {error}") from error
        if not np.array_equal(again, order):
            rank = int(np.argmax(again != order)) + 1
            raise ResultError(
                f"{path}: query {query_id!r}: the order does not follow from its scores by the ranking rule, "
                f"first at rank {rank}"
            )
        held[query_id] = scores
    return held


def make_stand_in_scores(row: QueryRanking) -> Float32:
    """Return scores that give the order of a row without scores: n, n - 1, ... 1, best first.

    They are equal at ranks 10 and 11 if a tie is stated, and NaN for the failed pairs.
    """
    count = len(row.order)
    scores = np.arange(count, 0, -1, dtype=np.float32)
    if row.tied:
        scores[TIE_CUTOFF] = scores[TIE_CUTOFF - 1]
    scores[count - row.failed :] = np.nan
    return scores


def _name_query(path: Path, query_id: object) -> str:
    return f"{path}: query {to_one_line(repr(query_id), 80)}"


def _parse_row(path: Path, query_id: str, order: bytes, rest: list[object], *, scores: bool) -> QueryRanking:
    def refuse(problem: str) -> ResultError:
        return ResultError(f"{_name_query(path, query_id)}: {problem}")

    positions = np.frombuffer(order, np.uint8)
    if len(set(order)) != len(order):
        raise refuse("a position occurs twice in its order")
    if not scores:
        failed, tied = rest
        assert isinstance(failed, int) and isinstance(tied, bool)
        if failed > len(order) or (tied and len(order) - failed <= TIE_CUTOFF):
            raise refuse(f"{failed} failed pairs or a tie at rank {TIE_CUTOFF} in {len(order)} candidates")
        return QueryRanking(query_id, positions, None, failed, tied)
    (packed,) = rest
    assert isinstance(packed, bytes)
    if len(packed) != 4 * len(order):
        raise refuse(f"{len(packed)} bytes of scores for {len(order)} candidates")
    values = np.frombuffer(packed, "<f4").astype(np.float32)
    missing = int(np.isnan(values).sum())
    present = values[: len(values) - missing]
    if not np.isfinite(present).all() or (np.diff(present) > 0).any():
        raise refuse("scores that are not finite, or rise with rank; the best comes first")
    return QueryRanking(query_id, positions, values, missing, has_tie_at_cutoff(values, TIE_CUTOFF))
