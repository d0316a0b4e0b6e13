"""Write a task's final files, each atomically, the result last."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mrb._util.files import open_atomically
from mrb.evaluation.measure import TaskResult
from mrb.evaluation.plan import Float32, Plan
from mrb.results.schema import JOURNAL_FILE, PER_QUERY_FILE, RESULT_FILE, SCORES_FILE, SCORES_SCHEMA, write_result

QUERIES_A_GROUP = 1000


def write_task(folder: Path, plan: Plan, scores: Mapping[str, Float32], result: TaskResult) -> None:
    """Write the scores, the values per query, and last the result: if it exists, the other files exist too."""
    with open_atomically(folder / SCORES_FILE) as file:
        # Dictionary encoding for ids only: ids repeat, scores hardly do, so a dictionary of scores would cost space.
        ids = [field.name for field in SCORES_SCHEMA if field.type == pa.string()]
        with pq.ParquetWriter(file, SCORES_SCHEMA, compression="zstd", use_dictionary=ids) as writer:
            for table in make_score_tables(plan, scores):
                writer.write_table(table)
    with open_atomically(folder / PER_QUERY_FILE) as file:
        pq.write_table(result.per_query, file, compression="zstd")
    write_result(folder, result.result)


def discard_task(folder: Path) -> None:
    """Delete a task's files, the result first, so that no result remains without the scores it was computed from."""
    for name in (RESULT_FILE, PER_QUERY_FILE, SCORES_FILE, JOURNAL_FILE):
        (folder / name).unlink(missing_ok=True)


def make_score_tables(plan: Plan, scores: Mapping[str, Float32]) -> Iterator[pa.Table]:
    """Yield tables of (query, document, score) for every pair, QUERIES_A_GROUP queries at a time; a failed pair's score
    is null."""
    queries = (query_id for query_id in plan.query_ids if plan.size(query_id))
    while group := list(itertools.islice(queries, QUERIES_A_GROUP)):
        sizes = [plan.size(query_id) for query_id in group]
        values = np.concatenate([scores[query_id][:size] for query_id, size in zip(group, sizes, strict=True)])
        rows = pa.array(np.repeat(np.arange(len(group)), sizes))
        doc_ids = pa.concat_arrays([plan.doc_ids(query_id) for query_id in group])
        columns = [pa.array(group).take(rows), doc_ids, pa.array(values, pa.float32(), mask=np.isnan(values))]
        yield pa.table(columns, schema=SCORES_SCHEMA)
