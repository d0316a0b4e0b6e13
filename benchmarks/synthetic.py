"""Submissions that nobody made: N models over a suite, for tests and measurements at scale.

    python benchmarks/synthetic.py 100 --out /tmp/hundred --rankings
    python benchmarks/synthetic.py 100 --out /tmp/hundred --rankings --packs /tmp/packs --queries 0

Each task has one relevant document a query, which the first stage ranks somewhere (or does not find) and a model moves.
The order of every list, and the measures that follow from it, are as real ones are; intervals are those of the normal
distribution, which cost nothing. Without `rankings` the files of rankings are empty: enough for a board without
judgement packs, which does not open them. `--queries 0` takes as many as the registry says of each task.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mrb import __version__
from mrb._util.hashing import hash_bytes, hash_file, hash_json
from mrb.candidates.judgement_packs import PACK_SUFFIX, JudgementPack, PackedQuery, PackInfo, write_pack
from mrb.data.stats import Counts
from mrb.data.task import Suite, Task, load_suite, load_task
from mrb.data.task_data import find_query_parts
from mrb.metrics.aggregation import average_queries
from mrb.metrics.measures import MEASURES, Measure
from mrb.results.run import hash_query_ids
from mrb.submission.rankings import QueryRanking, write_rankings
from mrb.submission.schema import RANKINGS_FOLDER, SUBMISSION_FILE

Ints = npt.NDArray[np.int64]
Json = dict[str, Any]
SIZES = (10**8, 5 * 10**8, 2 * 10**9, 4 * 10**9, 8 * 10**9)
MARKS = ("trained-on", "related", "clean", "unknown")


@dataclass(frozen=True)
class SyntheticTask:
    """A task's first stage: `first` (int[queries]) is the rank of the relevant document, 0 where it is not found."""

    task: Task
    queries: int
    depth: int

    @cached_property
    def first(self) -> Ints:
        """Drawn once, the same for every model."""
        rng = np.random.default_rng(int(hash_json(["synthetic", self.task.id])[:8], 16))
        ranks = rng.geometric(rng.uniform(0.03, 0.2), self.queries)
        return np.where(ranks > self.depth, 0, ranks)

    @cached_property
    def query_ids(self) -> list[str]:
        """q0, q1, ..., spread over the task's parts if it is scored by part."""
        parts = [f"{part.name}/" for part in self.task.source.parts] if self.task.rules.average_over_parts else [""]
        return [f"{parts[number % len(parts)]}q{number}" for number in range(self.queries)]

    @cached_property
    def parts(self) -> tuple[str, ...] | None:
        """The part of each query, as in `find_query_parts`."""
        return find_query_parts(self.task, self.query_ids)

    def make_pack(self) -> JudgementPack:
        """The judgements: the one relevant document is where the first stage ranks it, or outside the list."""
        info = PackInfo(
            schema_version=1,
            task=self.task.id,
            task_hash=self.task.hash,
            revision=self.task.revision,
            list_sha256=hash_json(["synthetic", self.task.id]),
            first_stage="synthetic",
            track="standard",
            depth=self.depth,
            counts=Counts(**_count(self)),
        )
        nothing, one = np.empty(0, np.uint8), np.array([1], "<u2")
        ties = np.arange(self.depth, dtype=np.uint8)
        rows = [
            PackedQuery(
                query_id,
                number,
                ties,
                nothing,
                np.array([rank - 1], np.uint8) if rank else nothing,
                one if rank else one[:0],
                one[:0] if rank else one,
            )
            for number, (query_id, rank) in enumerate(zip(self.query_ids, self.first.tolist(), strict=True))
        ]
        return JudgementPack(info, tuple(rows))

    @cached_property
    def hash_query_ids(self) -> str:
        """Their hash."""
        return hash_query_ids(self.query_ids)

    @cached_property
    def fixed(self) -> tuple[Json, Json]:
        """The measures of the first stage and of the oracle."""
        return _measures(self, self.first), _measures(self, np.minimum(self.first, 1))

    def ranks(self, model: int, skill: float) -> Ints:
        """Where a model puts the relevant documents: 0 leaves the first stage's order, 1 is the oracle."""
        rng = np.random.default_rng(int(hash_json([model, self.task.id])[:8], 16))
        moved = np.rint(self.first * (1 - skill) * rng.lognormal(0.0, 0.4, self.queries))
        return np.where(self.first == 0, 0, np.clip(moved, 1, self.depth)).astype(np.int64)

    def orders(self, ranks: Ints) -> Iterator[QueryRanking]:
        """The lists with the relevant document moved to its rank."""
        places = np.arange(self.depth)
        before, after = self.first[:, None] - 1, ranks[:, None] - 1
        orders = np.where((before <= places) & (places < after), places + 1, places)
        orders = np.where((after < places) & (places <= before), places - 1, orders)
        orders = np.where((after == places) & (before >= 0), before, orders)
        orders[self.first == 0] = places
        for query_id, order in zip(self.query_ids, orders.astype(np.uint8), strict=True):
            yield QueryRanking(query_id, order, None, 0, False)


def write_submissions(
    folder: Path, models: int, *, suite_id: str = "mrb", queries: int = 200, rankings: bool = False
) -> list[Path]:
    """Write `models` submissions of a whole suite (one without a sample, so that no scores go along) into `folder`."""
    suite = load_suite(suite_id)
    tasks = make_tasks(suite, queries)
    return [_write(folder, number, suite, tasks, rankings=rankings) for number in range(models)]


def write_packs(folder: Path, *, suite_id: str = "mrb", queries: int = 200) -> list[Path]:
    """Write the judgement packs of the submissions of `write_submissions` with as many queries."""
    paths = []
    for task in make_tasks(load_suite(suite_id), queries):
        paths.append(folder / f"{task.task.id}{PACK_SUFFIX}")
        write_pack(task.make_pack(), paths[-1])
    return paths


def make_tasks(suite: Suite, queries: int) -> list[SyntheticTask]:
    """The tasks of a suite with `queries` queries each; 0 takes the registry's numbers."""
    tasks = map(load_task, suite.tasks)
    return [SyntheticTask(task, queries or task.size.queries or 1000, suite.depth) for task in tasks]


def _write(folder: Path, number: int, suite: Suite, tasks: list[SyntheticTask], *, rankings: bool) -> Path:
    card = {
        "organisation": "synthetic",
        "name": f"model-{number:04}",
        "variant": "",
        "parameters": SIZES[number % len(SIZES)],
        "active_parameters": None,
        "links": ["https://example.org/model"],
        "licence": "Apache-2.0",
        "open_weights": number % 3 > 0,
        "kind": "cross-encoder",
    }
    home = folder / f"synthetic__model-{number:04}"
    (home / RANKINGS_FOLDER).mkdir(parents=True)
    skill = float(np.random.default_rng(number).uniform(0.0, 0.7))
    files, results = {}, {}
    for task in tasks:
        ranks = task.ranks(number, skill)
        path = home / RANKINGS_FOLDER / f"{task.task.id}.parquet"
        if rankings:
            write_rankings(path, task.orders(ranks), scores=False)
        else:
            path.touch()
        digest = hash_file(path) if rankings else hash_bytes(b"")
        files[task.task.id] = {"sha256": digest, "scores": False, "queries": task.hash_query_ids}
        results[task.task.id] = _result(task, ranks)
    value = {
        "schema_version": 1,
        "mrb_version": __version__,
        "model": card,
        "suite": suite.id,
        "suite_version": suite.version,
        "reranker": _RERANKER,
        "training": {task.task.id: MARKS[place % 4] for place, task in enumerate(tasks)},
        "not_covered": [],
        "command": ["mrb", "run", "--model", "synthetic", "--suite", suite.id],
        "environment": {"mrb": __version__, "processor": "synthetic CPU", "cores": "1"},
        "timings": {task.task.id: {"seconds": 10.0 + number, "pairs": task.queries * task.depth} for task in tasks},
        "rankings": files,
        "averages": _averages(results, {task.task.id: task.task.type for task in tasks}),
        "results": results,
    }
    (home / SUBMISSION_FILE).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    return home


_RERANKER: Json = {
    "name": "synthetic",
    "kind": "pointwise",
    "inputs": ["text", "image", "image+text"],
    "version": "1",
    "uses_first_stage": False,
    "batch_invariant": True,
    "options": {},
    "source": "synthetic.py",
    "source_sha256": None,
}


def _result(task: SyntheticTask, ranks: Ints) -> Json:
    first, oracle = task.fixed
    return {
        "schema_version": 1,
        "task": task.task.id,
        "task_hash": task.task.hash,
        "reranker": _RERANKER,
        "candidates": {
            "sha256": hash_json(["synthetic", task.task.id]),
            "first_stage": "synthetic",
            "track": "standard",
            "list_depth": task.depth,
            "depth": task.depth,
        },
        "data": {
            "revision": task.task.revision,
            "selection": "all",
            "loading": _count(task),
        },
        "counts": {
            "queries": task.queries,
            "pairs": task.queries * task.depth,
            "queries_without_candidates": 0,
            "self_matches_removed": 0,
            "failed_pairs": 0,
            "tied_at_10": 0.0,
        },
        "source_measure": task.task.source_measure,
        "measures": _measures(task, ranks),
        "first_stage": first,
        "oracle": oracle,
        "depths": {str(task.depth): {str(m): _average(task, _values(m, ranks)) for m in MEASURES}},
    }


def _count(task: SyntheticTask) -> dict[str, int]:
    counts = dict.fromkeys(("queries_without_positives", "qrels_outside_corpus", "qrels_not_positive"), 0)
    counts |= dict.fromkeys(("queries", "qrels", "queries_in_table"), task.queries)
    return {**counts, "documents": task.depth, "qrels_outside_queries": 0}


def _average(task: SyntheticTask, values: npt.NDArray[np.float64]) -> float:
    return float(average_queries(values, task.parts))


def _values(measure: Measure, ranks: Ints) -> npt.NDArray[np.float64]:
    inside = (ranks > 0) & (ranks <= measure.cutoff)
    safe = np.maximum(ranks, 1)
    gains = {"nDCG": 1 / np.log2(1 + safe), "MRR": 1 / safe}.get(measure.name, np.ones(len(ranks)))
    return np.where(inside, gains, 0.0)


def _measures(task: SyntheticTask, ranks: Ints) -> Json:
    values = {str(measure): _values(measure, ranks) for measure in MEASURES}
    return {name: _interval(_average(task, v), 1.96 * float(v.std()) / len(v) ** 0.5) for name, v in values.items()}


def _interval(mean: float, half: float) -> Json:
    return {"mean": mean, "low": max(mean - half, 0.0), "high": min(mean + half, 1.0)}


def _averages(results: Mapping[str, Json], types: Mapping[str, str]) -> Json:
    def over(task_ids: list[str], name: str) -> float:
        return float(np.mean([results[task_id]["measures"][name]["mean"] for task_id in task_ids]))

    by_type: dict[str, list[str]] = {}
    for task_id in results:
        by_type.setdefault(types[task_id], []).append(task_id)
    of_types = {kind: {str(m): _interval(over(ids, str(m)), 0.02) for m in MEASURES} for kind, ids in by_type.items()}
    means = {str(m): float(np.mean([of_types[kind][str(m)]["mean"] for kind in of_types])) for m in MEASURES}
    return {
        "tasks": {str(m): _interval(over(list(results), str(m)), 0.01) for m in MEASURES},
        "types": {name: _interval(mean, 0.01) for name, mean in means.items()},
        "of_types": of_types,
    }


def main() -> None:
    """Write submissions where the command line says."""
    parser = argparse.ArgumentParser(description="Write synthetic submissions.")
    parser.add_argument("models", type=int)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--suite", default="mrb")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--rankings", action="store_true", help="write the rankings too (30 kB a task and model)")
    parser.add_argument("--packs", type=Path, help="write the judgement packs here")
    given = parser.parse_args()
    if given.packs is not None:
        write_packs(given.packs, suite_id=given.suite, queries=given.queries)
    made = write_submissions(
        given.out, given.models, suite_id=given.suite, queries=given.queries, rankings=given.rankings
    )
    print(f"{len(made)} submissions in {given.out}")


if __name__ == "__main__":
    main()
