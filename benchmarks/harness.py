"""The harness without a model: the full suite from journals, and comparisons with pytrec_eval and mteb.

    python benchmarks/harness.py score          all tasks of the suite `mrb` at their size, 100 candidates a query
    python benchmarks/harness.py trec           the measures of 20,000 queries, compared with bare pytrec_eval
    python benchmarks/harness.py flat           memory against queries, depth and images
    python benchmarks/harness.py mteb           texts and images, compared with mteb (extra `mteb`)

CPU seconds on one thread, which other work on the machine moves less than wall time. Rows that are compared come from
one call, side after side.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).parent
SIDES = ("mrb", "mteb")
TEXTS, IMAGES = (200, 2000, 100), (40, 200, 50)
"""Queries, documents and depth of the tasks that both sides rerank."""
FLAT = {
    "few": (100, 500, 20),
    "5 times the queries": (500, 500, 20),
    "5 times the depth": (100, 500, 100),
    "5 times the images": (100, 2500, 20),
}


def score() -> None:
    """Write, replay, measure and write out every task of the full suite."""
    from harness_score import peak_megabytes, score_task

    from mrb.data.task import load_suite, load_task

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for task_id in load_suite("mrb").tasks:
            task = load_task(task_id)
            rows.append(score_task(task, task.size.queries, Path(folder)))
    queries, pairs, size = (sum(getattr(row, name) for row in rows) for name in ("queries", "pairs", "journal_bytes"))
    append, replay, measure, write = (sum(column) for column in zip(*(astuple(row)[4:] for row in rows), strict=True))
    print(f"{len(rows)} tasks, {queries:,} queries, {pairs:,} pairs, journals of {size / 1e6:,.0f} MB")
    print(f"journal write {append:.1f} s: {queries / append:,.0f} records/s, {size / append / 1e6:.0f} MB/s")
    print(f"journal replay {replay:.1f} s: {queries / replay:,.0f} records/s, {size / replay / 1e6:.0f} MB/s")
    print(f"measuring {measure:.1f} s, writing the final files {write:.1f} s")
    print(f"scoring from journals {replay + measure + write:.1f} s of CPU; peak memory {peak_megabytes():,.0f} MB")


def trec(queries: int = 20_000, depth: int = 100) -> None:
    """The same measures of the same rankings, by MRB from scores, and by pytrec_eval alone."""
    import numpy as np
    import pytrec_eval
    from harness_score import TREC_NAMES, synthetic

    from mrb.data.task import load_task
    from mrb.metrics.measures import measure_queries
    from mrb.metrics.ranking import rank_candidates

    plan = synthetic(load_task("visualnews-i2t"), queries, depth)
    rng = np.random.default_rng(2)
    scores = {query_id: rng.random(depth, np.float32) for query_id in plan.query_ids}
    began = time.process_time()
    rankings = {}
    for entry in plan.entries():
        order = rank_candidates("visualnews-i2t", entry.query_id, entry.doc_ids, scores[entry.query_id])
        rankings[entry.query_id] = [entry.doc_ids[position] for position in order[:10].tolist()]
    found = measure_queries(rankings, plan.data.qrels)
    ours = time.process_time() - began
    runs = {e.query_id: dict(zip(e.doc_ids, scores[e.query_id].tolist(), strict=True)) for e in plan.entries()}
    began = time.process_time()
    bare = pytrec_eval.RelevanceEvaluator(plan.data.qrels, TREC_NAMES).evaluate(runs)
    theirs = time.process_time() - began
    (ndcg,) = (values for measure, values in found.values.items() if str(measure) == "nDCG@10")
    worst = max(abs(bare[q]["ndcg_cut_10"] - v) for q, v in zip(found.query_ids, ndcg.tolist(), strict=True))
    print(f"{queries:,} queries at depth {depth}, eight measures, largest difference of nDCG@10 {worst:.1g}")
    print(f"mrb, ranking and measures: {ours:.2f} s; pytrec_eval alone: {theirs:.2f} s, {theirs / ours:.1f} times that")


def side(name: str, kind: str, folder: Path, sizes: tuple[int, int, int]) -> dict[str, Any]:
    """One side in a process of its own."""
    command = [sys.executable, str(HERE / "harness_sides.py"), name, kind, str(folder), *map(str, sizes)]
    environment = {**os.environ, "HF_DATASETS_CACHE": str(folder / "cache" / name), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def written(folder: Path, kind: str, sizes: tuple[int, int, int]) -> Path:
    """A folder with the task's tables, and for texts the model."""
    from harness_data import TASKS, checkpoint, write

    write(folder / TASKS[kind], kind, *sizes)
    if kind == "text":
        checkpoint(folder / "checkpoint")
    return folder


def flat() -> None:
    """Memory over what the process had before it began."""
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, sizes) in enumerate(FLAT.items()):
            found = side("mrb", "images", written(Path(scratch) / str(number), "images", sizes), sizes)
            print(f"{name}: {sizes[0]} queries, {sizes[1]} images, depth {sizes[2]}: {found['growth_mb']:.0f} MB")


def mteb() -> None:
    """Both sides on the same tables, in turns; of each side its round of least CPU time, and its median memory."""
    with tempfile.TemporaryDirectory() as scratch:
        for kind, sizes, rounds in (("text", TEXTS, 5), ("images", IMAGES, 2)):
            found: dict[str, list[dict[str, Any]]] = {name: [] for name in SIDES}
            for number in range(rounds):
                folder = written(Path(scratch) / f"{kind}-{number}", kind, sizes)
                for name in SIDES if number % 2 == 0 else reversed(SIDES):
                    found[name].append(side(name, kind, folder, sizes))
                    print(f"{kind}, round {number + 1}, {_format_side(name, found[name][-1])}", flush=True)
            _print_comparison({name: _best(rows) for name, rows in found.items()}, kind)


def _best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    least = min(rows, key=lambda row: row["cpu"])
    return {**least, "growth_mb": statistics.median(row["growth_mb"] for row in rows)}


def _format_side(name: str, row: dict[str, Any]) -> str:
    row["harness"] = row["cpu"] - row["model_cpu"]
    times = f"CPU {row['cpu']:.2f} s, of it the scorer {row['model_cpu']:.2f} s, the harness {row['harness']:.2f} s"
    return (
        f"{name}: {row['pairs']} pairs, nDCG@10 {row['ndcg']:.5f}; {times}; with start-up {row['whole_cpu']:.2f} s; "
        f"wall {row['wall']:.1f} s; memory grew by {row['growth_mb']:.0f} MB"
    )


def _print_comparison(rows: dict[str, dict[str, Any]], kind: str) -> None:
    for name, row in rows.items():
        print(f"{kind}, best, {_format_side(name, row)}")
    ours, theirs = rows["mrb"], rows["mteb"]
    ratios = {key: theirs[key] / ours[key] for key in ("harness", "cpu", "whole_cpu", "wall", "growth_mb")}
    print(f"{kind}: mteb over mrb: " + ", ".join(f"{key} {value:.2f}" for key, value in ratios.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["score", "trec", "flat", "mteb"], nargs="+")
    for part in parser.parse_args().part:
        {"score": score, "trec": trec, "flat": flat, "mteb": mteb}[part]()


if __name__ == "__main__":
    main()
