"""Run folders as `mrb run` writes them, made from simulated ranks: for tests of what reads runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

HASH = "ab" * 32


def write_run_folder(
    folder: Path,
    skill: float,
    *,
    suite: str | None = "mini",
    tasks: Sequence[str] | None = None,
    cover: Sequence[str] | None = None,
    queries: int = 60,
    depth: int = 25,
    candidates: str = HASH,
    tracks: Sequence[str] = ("standard",),
    selection: str = "all",
    qrels: Literal["cleaned", "raw"] = "cleaned",
    reranker: dict[str, Any] | None = None,
    record: dict[str, Any] | None = None,
) -> Path:
    """A run of `skill` (0: leaves the first stage's order, 1: the oracle) on `tasks` (default: the suite's).

    Tasks outside `cover` are not covered. The lists are of the candidate sets `tracks` in turn. `reranker` and
    `record` replace fields of the records.
    """
    from mrb.data.task import load_suite, load_task
    from mrb.results.schema import RerankerInfo, RunRecord, write_run

    chosen = tuple(tasks or load_suite(suite or "mini").tasks)
    covered = [task_id for task_id in chosen if cover is None or task_id in cover]
    info = {
        "name": "toy",
        "kind": "pointwise",
        "inputs": ("text", "image", "image+text"),
        "version": "1",
        "uses_first_stage": False,
        "batch_invariant": True,
        "options": {},
        "source": "toy.py",
        "source_sha256": HASH,
    } | (reranker or {})
    for place, task_id in enumerate(covered):
        made = _Simulated(load_task(task_id).with_qrels(qrels), skill, queries, depth)
        listed = {"sha256": candidates, "track": tracks[place % len(tracks)]}
        made.write(folder / task_id, RerankerInfo(**info), listed, selection)
    fields = {
        "schema_version": 1,
        "mrb_version": "0.1.0",
        "reranker": info,
        "suite": suite,
        "suite_version": load_suite(suite).version if suite else None,
        "tasks": chosen,
        "not_covered": [{"task": i, "reason": "queries are image"} for i in chosen if i not in covered],
        "command": ("mrb", "run", "--model", "toy"),
        "environment": {"python": "3.11.2", "mrb": "0.1.0", "processor": "Test CPU", "cores": "2"},
        "timings": {task_id: {"seconds": 2.0, "pairs": queries * depth, "day": "2026-11-27"} for task_id in covered},
    }
    write_run(folder, RunRecord(**(fields | (record or {}))))
    return folder


class _Simulated:
    """A task with one relevant document a query, whose rank is drawn: 0 where the first stage did not find it."""

    def __init__(self, task: Any, skill: float, queries: int, depth: int) -> None:
        import numpy as np

        from mrb._util.hashing import hash_json

        rng = np.random.default_rng(int(hash_json(task.id)[:8], 16))
        first = rng.geometric(rng.uniform(0.06, 0.2), queries)
        first[first > depth] = 0
        moved = np.maximum(1, np.rint(first * (1 - skill) * rng.lognormal(0.0, 0.4, queries))).astype(int)
        own = first if skill == 0 else np.where(first == 0, 0, np.minimum(moved, depth))
        self.task, self.queries, self.depth = task, queries, depth
        # Ids are `part/id` where a task has parts; these are of unequal size.
        names = [part.name for part in task.source.parts]
        self.query_ids = [f"{names[(i * i) % len(names)]}/q{i}" if names[0] else f"q{i}" for i in range(queries)]
        self.ranks = {"measures": own, "first_stage": first, "oracle": np.minimum(first, 1)}

    def values(self, row: str, measure: Any) -> Any:
        """float64[queries] of `measure` for one of the three orders."""
        import numpy as np

        ranks = self.ranks[row]
        inside = (ranks > 0) & (ranks <= measure.cutoff)
        safe = np.maximum(ranks, 1)
        gains = {"nDCG": 1 / np.log2(1 + safe), "MRR": 1 / safe}.get(measure.name, np.ones(len(ranks)))
        return np.where(inside, gains, 0.0)

    def write(self, folder: Path, info: Any, listed: dict[str, str], selection: str) -> None:
        """The task's result and values per query."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        from mrb.data.task_data import find_query_parts
        from mrb.metrics.measures import MEASURES
        from mrb.metrics.statistics import compute_intervals, derive_task_seed
        from mrb.results.schema import PER_QUERY_FILE, Result, write_result

        parts = find_query_parts(self.task, self.query_ids)
        columns = {row: np.column_stack([self.values(row, m) for m in MEASURES]) for row in self.ranks}
        found = {
            row: {
                str(m): {"mean": i.mean, "low": i.low, "high": i.high}
                for m, i in zip(
                    MEASURES,
                    compute_intervals(values, None, parts, seed=derive_task_seed(self.task.id), resamples=200),
                    strict=True,
                )
            }
            for row, values in columns.items()
        }
        n = self.queries
        counts = dict.fromkeys(
            ("queries_without_positives", "qrels_outside_corpus", "qrels_not_positive"), 0
        ) | dict.fromkeys(("queries", "documents", "qrels", "queries_in_table"), n)
        result = Result.model_validate(
            {
                "schema_version": 1,
                "task": self.task.id,
                "task_hash": self.task.hash,
                "reranker": info.model_dump(),
                "candidates": {
                    **listed,
                    "first_stage": "bm25",
                    "list_depth": max(25, self.depth),
                    "depth": self.depth,
                },
                "data": {
                    "revision": self.task.revision,
                    "selection": selection,
                    "qrels": self.task.qrels,
                    "loading": counts,
                },
                "counts": {
                    "queries": n,
                    "pairs": n * self.depth,
                    "queries_without_candidates": 0,
                    "self_matches_removed": 0,
                    "failed_pairs": 0,
                    "tied_at_10": 0.0,
                },
                "source_measure": self.task.source_measure,
                **found,
                "depths": {},
            }
        )
        write_result(folder, result)
        table = {"query_id": self.query_ids, "cluster": np.arange(n)}
        table |= {str(m): columns["measures"][:, k] for k, m in enumerate(MEASURES)}
        pq.write_table(pa.table(table), folder / PER_QUERY_FILE)
