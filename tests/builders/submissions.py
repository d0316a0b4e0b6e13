"""Real runs of a few queries of mini, and submissions of them, honest and forged."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mrb._util.hashing import hash_file
from mrb.data.task import load_suite
from mrb.evaluation.measure import measure
from mrb.evaluation.plan import Plan
from mrb.evaluation.recompute import load_result_plan
from mrb.evaluation.run import run
from mrb.evaluation.spec import select_tasks
from mrb.results.run import compute_suite_averages, make_task_scores
from mrb.submission.as_run import replace_tasks, to_run
from mrb.submission.build import ModelDeclaration, build_submission
from mrb.submission.rankings import rank_queries, write_rankings
from mrb.submission.rankings import restore_scores as stated_scores
from mrb.submission.reader import read_submission_folder
from mrb.submission.schema import Mark, ModelCard
from mrb.submission.validate import read_checked_rankings


def trial_run(
    out: Path,
    *,
    model: str = "random",
    limit: int = 12,
    tasks: Sequence[str] = ("mini-faq-t2t",),
    allow_failures: int = 0,
    **options: str,
) -> Path:
    """A real run of the first queries of tasks of mini, its command as a user's with paths in it."""
    command = ["mrb", "run", "--model", model, "--suite", "mini", "--out", "/home/somebody/runs"]
    command += [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    spec = replace(
        select_tasks("mini", tasks, (), None),
        model=model,
        options=options,
        out=out,
        limit=limit,
        command=command,
        allow_failures=allow_failures,
    )
    return run(spec).folder


def submitted(run_folder: Path, to: Path, *, allow_incomplete: bool = True, **card: Any) -> Path:
    """The submission of a run of mini, by "mrb", training unknown."""
    made = ModelCard(**{"organisation": "mrb", "name": "random", "parameters": 1000, **card})
    training: dict[str, Mark] = dict.fromkeys(load_suite("mini").tasks, "unknown")
    return build_submission(run_folder, ModelDeclaration(made, training), to, allow_incomplete=allow_incomplete)


def forge(folder: Path, scores_of: Callable[[Plan, str], Sequence[float]], tasks: Sequence[str] | None = None) -> Path:
    """Rewrite a submission of mini so that the order in `tasks` (default: all of its) is that of other scores, and
    every number and hash in it fits again. `scores_of(plan, query_id)` are in first-stage order, NaN: failed."""
    received = read_submission_folder(folder)
    made = received.submission
    value = json.loads((folder / "submission.json").read_text())
    found = {}
    for task_id, result in made.results.items():
        plan, path, keep = (
            load_result_plan(result, None, None, "here"),
            received.ranking_path(task_id),
            made.rankings[task_id],
        )
        scores = stated_scores(plan, read_checked_rankings(received, task_id), path)
        if tasks is None or task_id in tasks:
            scores = {query_id: np.array(scores_of(plan, query_id), np.float32) for query_id in plan.query_ids}
        measured = measure(plan, scores, made.reranker)
        found[task_id] = make_task_scores(measured.result, measured.per_query)
        write_rankings(path, rank_queries(plan, scores, keep_scores=keep.scores), scores=keep.scores)
        value["results"][task_id] = measured.result.model_dump(mode="json")
        value["rankings"][task_id]["sha256"] = hash_file(path)
    run = replace_tasks(to_run(received), found)
    value["averages"] = compute_suite_averages(run, load_suite("mini")).model_dump(mode="json")
    (folder / "submission.json").write_text(json.dumps(value))
    return folder
