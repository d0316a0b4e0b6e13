"""Journals of the full suite's size, scored: what `harness.py` measures of MRB's own numbers."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from mrb.candidates.lists import Candidates, Provenance, build_candidates
from mrb.data.stats import Counts
from mrb.data.task import Task
from mrb.data.task_data import ItemTable, TaskData
from mrb.evaluation.journal import Journal, Record
from mrb.evaluation.measure import measure
from mrb.evaluation.outputs import write_task
from mrb.evaluation.plan import Plan, make_plan
from mrb.evaluation.score_key import make_header
from mrb.results.schema import RerankerInfo

DEPTH = 100
CORPUS = 100_000
"""Documents whose ids a synthetic list draws from; their number moves nothing that is measured here."""
TREC_NAMES = {"ndcg_cut.5,10", "success.1,5,10", "recall.5,10", "recip_rank"}


@dataclass(frozen=True)
class Scored:
    """One task: pairs, and seconds of each part."""

    task: str
    queries: int
    pairs: int
    journal_bytes: int
    append: float
    replay: float
    measure: float
    write: float


def synthetic(task: Task, queries: int, depth: int = DEPTH) -> Plan:
    """A plan of `queries` queries with `depth` candidates each, one to three of them relevant. There is no content: a
    score is not asked for."""
    rng = np.random.default_rng(queries)
    names = [part.name for part in task.source.parts]
    query_ids = [f"{names[n % len(names)]}/{n}" if names[0] else f"query-{n}" for n in range(queries)]
    doc_ids = [f"document-{n}" for n in range(CORPUS)]
    falling = np.arange(depth, 0, -1, dtype=np.float32)
    qrels: dict[str, dict[str, int]] = {}

    def lists() -> Iterator[tuple[str, list[str], np.ndarray]]:
        for query_id in query_ids:
            start, step = int(rng.integers(CORPUS)), 1 + 2 * int(rng.integers(400))
            ids = [doc_ids[(start + rank * step) % CORPUS] for rank in range(depth)]
            positions = rng.integers(0, depth, 1 + int(rng.integers(3)))
            qrels[query_id] = {ids[int(position)]: 1 for position in positions}
            yield query_id, ids, falling

    made = Provenance(
        task=task.id,
        list_hash=task.list_hash,
        revision=task.revision,
        first_stage="synthetic",
        track="test",
        depth=depth,
    )
    candidates: Candidates = build_candidates(made, lists())
    counts = dict.fromkeys(Counts.model_fields, 0) | {"queries": queries, "documents": CORPUS}
    texts = pa.chunked_array([pa.array([str(n // 2) for n in range(queries)])])
    rows = {query_id: row for row, query_id in enumerate(query_ids)}
    corpus = ItemTable("corpus", {name: row for row, name in enumerate(doc_ids)}, None, None)
    data = TaskData(task, ItemTable("queries", rows, texts, None), corpus, qrels, Counts(**counts))
    return make_plan(data, candidates, depth)


def info() -> RerankerInfo:
    """A pointwise reranker: its depth curve is measured too."""
    return RerankerInfo(
        name="synthetic",
        kind="pointwise",
        inputs=("text", "image", "image+text"),
        version="1",
        uses_first_stage=False,
        batch_invariant=True,
        options={},
        source="benchmark",
        source_sha256=None,
    )


def score_task(task: Task, queries: int, folder: Path, depth: int = DEPTH) -> Scored:
    """Write a journal of random scores, then do what a run does after its last query: replay, measure, write."""
    plan = synthetic(task, queries, depth)
    rng = np.random.default_rng(1)
    records = [Record(query_id, 0, rng.random(depth, np.float32)) for query_id in plan.query_ids]
    journal = folder / task.id / "journal"
    began = time.process_time()
    with Journal(journal).open(make_header(plan, info(), {})) as writer:
        for record in records:
            writer.append(record)
    appended = time.process_time()
    del records
    started = time.process_time()
    held = Journal(journal).scores
    replayed = time.process_time()
    measured = measure(plan, held, info())
    found = time.process_time()
    write_task(folder / task.id, plan, held, measured)
    written = time.process_time()
    return Scored(
        task.id,
        queries,
        plan.pairs,
        journal.stat().st_size,
        appended - began,
        replayed - started,
        found - replayed,
        written - found,
    )


def peak_megabytes() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
