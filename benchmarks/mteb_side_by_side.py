"""The same scores through mteb and through MRB: `python benchmarks/mteb_side_by_side.py [CASE...]` (extra `mteb`).

Data sets are generated in the layout that mteb publishes (tables corpus, queries, qrels and top_ranked; subsets as
`english-corpus`), and loaded by mteb's own task classes from a folder instead of the Hub. mteb evaluates each with its
own `evaluate`; MRB reads the same tables with `mrb.evaluate(data=...)`. Both ask the same scorers. One row a task,
subset and reranker: nDCG@10 of mteb (which rounds to five digits), of MRB, and what the difference consists of. The
causes are applied to mteb's own predictions one after another, until they give MRB's number; if they do not, the row
says UNEXPLAINED and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from mteb_layout import CASES, Case, write_subset
from mteb_scorers import SCORERS, MRBSide, MtebSide, Scorer

DIGITS = 5
"""mteb rounds its measures to so many digits."""

SAME = """Alike on both sides, as the rows without a difference show:
  a query without a candidate list counts 0 (unlisted-queries);
  judged documents outside the list stay in the ideal order, and neither side adds them (judged-outside-list);
  lists with fewer candidates than the measure's ten (short-lists); grades, of which 0 and below mean not relevant
  (titles-graded); the mean over queries, one number a subset (languages, vidore-v3.1).
Not compared: judged documents that the corpus lacks. mteb keeps them in the ideal; MRB refuses them in own data, and
drops and counts them where a task of the registry says so."""

Scores = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Row:
    """One comparison: nDCG@10 of both, and why they differ; `explained` is false if they differ without a cause."""

    case: str
    task: str
    subset: str
    reranker: str
    queries: int
    mteb: float
    mrb: float
    causes: tuple[str, ...]
    explained: bool


def compare_case(case: Case, folder: Path, scorers: Mapping[str, Callable[[], Scorer]] = SCORERS) -> Iterator[Row]:
    """Write the case's tables under `folder`, and yield a row for each subset and scorer."""
    for subset in case.subsets:
        write_subset(case, subset, folder / case.name, prefix=subset if case.subsets != ("default",) else "")
        write_subset(case, subset, folder / f"mrb-{subset}", prefix="")
    for name, make in scorers.items():
        if not case.takes(name):
            continue
        theirs = evaluate_mteb(case, folder, make())
        for subset in case.subsets:
            stated, predictions = theirs[subset]
            yield _make_row(case, subset, name, make(), folder / f"mrb-{subset}", stated, predictions)


def evaluate_mteb(case: Case, folder: Path, scorer: Scorer) -> dict[str, tuple[float, Scores]]:
    """Return {subset: (nDCG@10, predictions)} of mteb's own evaluate on the real task class."""
    import mteb

    task = mteb.get_task(case.task)
    source = {"path": str(folder / case.name), "revision": "main"}
    task.metadata = task.metadata.model_copy(update={"dataset": source})
    if case.subsets != ("default",):
        task.hf_subsets = list(case.subsets)
    kept = folder / f"predictions-{scorer.name}"
    found = mteb.evaluate(
        MtebSide(scorer),
        task,
        cache=None,
        co2_tracker=False,
        prediction_folder=kept,
        encode_kwargs={"batch_size": 32},
        show_progress_bar=False,
    )
    (file,) = kept.rglob("*_predictions.json")
    predictions = json.loads(file.read_text(encoding="utf-8"))
    (split,) = task.eval_splits  # of a table with one split mteb takes that, whatever its name
    stated = {row["hf_subset"]: row["ndcg_at_10"] for row in found.task_results[0].scores[split]}
    return {subset: (stated[subset], predictions[subset][split]) for subset in case.subsets}


def _make_row(
    case: Case, subset: str, reranker: str, scorer: Scorer, data: Path, stated: float, predictions: Scores
) -> Row:
    import mrb

    run = mrb.evaluate(MRBSide(scorer), data=data, name=reranker)
    (task,) = run
    ours = float(run[task].result.measures["nDCG@10"].mean)
    queries = run[task].query_ids
    causes, number = _explain(task, queries, predictions, _read_qrels(data), ours)
    assert abs(_mean_ndcg(predictions, _read_qrels(data)) - stated) < 1e-5, "mteb's own number is not that of its files"
    explained = round(number, DIGITS) == round(ours, DIGITS)
    return Row(case.name, case.task, subset, reranker, len(queries), stated, ours, tuple(causes), explained)


def _explain(
    task: str, queries: tuple[str, ...], predictions: Scores, qrels: dict[str, dict[str, int]], ours: float
) -> tuple[list[str], float]:
    """Return (causes, nDCG@10 of mteb's predictions with the causes removed)."""
    from mrb.metrics.ranking import rank_candidates

    number, causes = _mean_ndcg(predictions, qrels), []
    kept = {query: predictions.get(query, {}) for query in queries}
    if len(kept) != len(qrels):
        number = _mean_ndcg(kept, qrels)
        causes.append(f"{len(qrels) - len(kept)} queries without a relevant document: 0 in mteb, left out in MRB")
    if round(number, DIGITS) == round(ours, DIGITS):
        return causes, number
    ranked: Scores = {}
    tied = 0
    for query, scores in kept.items():
        ids = list(scores)
        order = rank_candidates(task, query, ids, list(scores.values())) if ids else []
        ranked[query] = {ids[place]: float(-rank) for rank, place in enumerate(order)}
        tied += len({_to_float32(score) for score in scores.values()}) < len(scores)
    causes.append(f"ties in {tied} of {len(kept)} queries: mteb by document id, descending; MRB by a fixed hash")
    return causes, _mean_ndcg(ranked, qrels)


def _mean_ndcg(scores: Scores, qrels: dict[str, dict[str, int]]) -> float:
    """Return nDCG@10 by trec_eval over the queries of `scores`; one without candidates counts 0."""
    import pytrec_eval

    found = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(scores)
    return sum(row["ndcg_cut_10"] for row in found.values()) / len(scores)


def _read_qrels(data: Path) -> dict[str, dict[str, int]]:
    import pyarrow.parquet as pq

    found: dict[str, dict[str, int]] = {}
    for row in pq.read_table(data / "qrels" / "test.parquet").to_pylist():
        found.setdefault(row["query-id"], {})[row["corpus-id"]] = row["score"]
    return found


def _to_float32(score: float) -> float:
    import numpy as np

    return float(np.float32(score))


def format_rows(rows: list[Row]) -> str:
    """Return the table as text."""
    import mteb

    lines = [f"mteb {mteb.__version__}, mrb {version('mrb')}: nDCG@10 of the same scores"]
    lines.append(f"{'case':<20} {'subset':<11} {'reranker':<14} {'queries':>7} {'mteb':>8} {'mrb':>9}  difference")
    for row in rows:
        difference = "; ".join(row.causes) if round(row.mrb, DIGITS) != row.mteb else "none"
        if not row.explained:
            difference = f"UNEXPLAINED {row.mrb - row.mteb:+.6f}"
        cells = f"{row.case:<20} {row.subset:<11} {row.reranker:<14} {row.queries:>7} {row.mteb:>8.5f} {row.mrb:>9.6f}"
        lines.append(f"{cells}  {difference}")
    same = sum(round(row.mrb, DIGITS) == row.mteb for row in rows)
    lines.append(f"{len(rows)} comparisons: {same} equal to the digit, {len(rows) - same} differ")
    return "\n".join(lines)


def main() -> None:
    """Compare the cases named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="*", help=f"of: {', '.join(CASES)} (default: all)")
    chosen = parser.parse_args().case or list(CASES)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["MRB_CACHE"] = str(Path(scratch) / "cache")
        # It finds what it has read of a folder by the folder's name, not its content.
        datasets.config.HF_DATASETS_CACHE = Path(scratch) / "cache" / "datasets"
        for name in chosen:
            rows += compare_case(CASES[name], Path(scratch) / name)
    print(format_rows(rows))
    print(SAME)
    if not all(row.explained for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
