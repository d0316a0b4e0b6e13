"""ViDoRe v3.1: does the order of mteb's published lists score in MRB what mteb says without a reranker?

    python benchmarks/vidore_baseline.py                       # the rows in mteb's repository of results
    python benchmarks/vidore_baseline.py --results FOLDER      # the same files in a clone or in mteb's cache
    python benchmarks/vidore_baseline.py --mteb                # mteb itself, installed here: same data, same lists
    python benchmarks/vidore_baseline.py --mteb --task vidore3-hr --set bm25s

Each row is one domain and first stage: nDCG@10 of `mteb/baseline-no-reranking`, which keeps the first stage's order, as
the mean over six languages, and MRB's mean over the queries of the same list. Scores are compared for each language,
rounded to five digits as mteb writes them. It fails if one differs.

It loads the data and the lists of eight domains from the live Hub (the largest corpus has 5,244 page images).
**The comparison with the published rows has not been run: it needs the network.** `--mteb` was run with mteb 2.26.24
against a small Hub on loopback with the documented layout: two domains, four lists, six languages, all scores equal.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mrb.candidates.candidate_sets import PublishedList, load_published_lists
from mrb.candidates.ranked_tables import read_ranked_tables
from mrb.candidates.set_lists import find_set_lists
from mrb.data.task import load_task
from mrb.evaluation.plan import load_plan
from mrb.evaluation.spec import TaskSpec
from mrb.metrics.measures import HEADLINE, measure_queries

BASELINE = "mteb/baseline-no-reranking"
REVISION = "2"
PUBLISHED = (
    "https://raw.githubusercontent.com/embeddings-benchmark/results/{commit}/results/{model}/{revision}/{task}.json"
)
DIGITS = 5
"""Digits that mteb writes."""
DEPTH = 50


def main() -> int:
    """Print a row for each list; return how many do not agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="A folder with mteb's result files; by default they are fetched.")
    parser.add_argument("--commit", default="main", help="Of mteb's repository of results.")
    parser.add_argument("--mteb", action="store_true", help="Run mteb here instead of reading published rows.")
    parser.add_argument("--task", action="append", help="Only this task; may be repeated.")
    parser.add_argument("--set", action="append", dest="sets", help="Only this candidate set; may be repeated.")
    given = parser.parse_args()
    wrong = 0
    print(f"{'task':26}{'candidate set':24}{'mteb':>9}{'MRB':>9}  languages that differ")
    for one in load_published_lists().lists:
        if not one.top_ranked or (given.task and one.task not in given.task):
            continue
        if given.sets and one.candidate_set not in given.sets:
            continue
        name = one.repository.partition("/")[2]
        theirs = _run_mteb(name) if given.mteb else _read_scores(_find_published(name, given.results, given.commit))
        ours = score_order(one)
        differing = [
            f"{language}: {theirs.get(language)} and {score:.{DIGITS}f}"
            for language, score in ours.items()
            if theirs.get(language) != round(score, DIGITS)
        ]
        wrong += bool(differing)
        means = [sum(found.values()) / len(found) for found in (theirs, ours)]
        print(
            f"{one.task:26}{one.candidate_set:24}{means[0]:9.5f}{means[1]:9.5f}  {'; '.join(differing) or 'none'}",
            flush=True,
        )
    return wrong


def score_order(published: PublishedList) -> dict[str, float]:
    """Return the nDCG@10 of the list's own order for each language, as MRB measures it."""
    task = load_task(published.task)
    folder, _ = find_set_lists(published.candidate_set, None, [task])
    plan = load_plan(TaskSpec(task, DEPTH, folder))
    rankings = {entry.query_id: entry.doc_ids for entry in plan.entries()}
    values = measure_queries(rankings, plan.data.qrels, [HEADLINE]).values[HEADLINE]
    by_query = dict(zip(plan.data.qrels, values.tolist(), strict=True))
    found = {}
    for config in published.top_ranked:
        query_ids = read_ranked_tables(published.model_copy(update={"top_ranked": (config,)}))
        scores = [by_query[query_id] for query_id in query_ids if query_id in by_query]
        found[config.removesuffix("-top_ranked")] = sum(scores) / len(scores)
    return found


def _find_published(task: str, folder: Path | None, commit: str) -> Any:
    if folder is not None:
        paths = sorted(folder.rglob(f"{BASELINE.replace('/', '__')}/*/{task}.json"))
        if not paths:
            sys.exit(f"{folder}: no result of {BASELINE} on {task}")
        return json.loads(paths[-1].read_text(encoding="utf-8"))
    model = BASELINE.replace("/", "__")
    url = PUBLISHED.format(commit=commit, model=model, revision=REVISION, task=task)
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


def _read_scores(result: Mapping[str, Any]) -> dict[str, float]:
    return {one["hf_subset"]: one["ndcg_at_10"] for one in result["scores"]["test"]}


def _run_mteb(task: str) -> dict[str, float]:
    import mteb

    found = mteb.evaluate(mteb.get_model(BASELINE), mteb.get_tasks(tasks=[task]), cache=None)
    return _read_scores(found[0].model_dump() if hasattr(found[0], "model_dump") else found[0].to_dict())


if __name__ == "__main__":
    sys.exit(min(main(), 1))
