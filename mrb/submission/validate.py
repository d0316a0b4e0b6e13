"""`mrb submission validate` of a submission: recompute every number from rankings, judgements and candidate lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrb._util.hashing import hash_file
from mrb._util.json_diff import diff_json
from mrb.candidates.judgement_packs import find_pack
from mrb.candidates.load import has_candidates
from mrb.candidates.own_lists import find_own_list
from mrb.data.own_tasks import NAME_FOLDER
from mrb.data.pull_data import is_local
from mrb.data.task import TYPES, Task, is_registered, list_sub_suites
from mrb.errors import ResultError, to_one_line
from mrb.evaluation.measure import measure
from mrb.evaluation.packed_plan import load_packed_plan
from mrb.evaluation.recompute import load_result_plan
from mrb.results.first_stages import find_run_set
from mrb.results.run import (
    Average,
    TaskScores,
    average_over_tasks,
    average_over_types,
    compute_suite_averages,
    hash_query_ids,
    make_task_scores,
)
from mrb.results.schema import Result, RunCounts
from mrb.submission.as_run import replace_tasks, to_run
from mrb.submission.rankings import QueryRanking, publishes_scores, read_rankings, restore_scores
from mrb.submission.reader import ReceivedSubmission
from mrb.submission.schema import SUBMISSION_FILE

SAME = 1e-9
"""Tolerance between a stated and a recomputed number."""
MAX_FAILED_SHARE = 0.01
"""Largest share of failed pairs in a task. A failed pair is ranked last whatever the model would have given it, so
failures can raise a score. A listwise model fails by whole queries; 1 % is two queries of the smallest tasks of `mini`.
"""


@dataclass(frozen=True)
class ValidationReport:
    """Result of a check: the tasks that were recomputed, and the reasons why others were not.

    `failed_pairs` counts the pairs without a score, in each task that has any. `packs` are the judgement packs that
    stood in for data, by task.
    """

    recomputed: tuple[str, ...]
    not_recomputed: Mapping[str, str]
    failed_pairs: Mapping[str, int]
    packs: Mapping[str, Path]


def validate_submission(
    received: ReceivedSubmission, candidates: Path | None = None, packs: Path | None = None
) -> ValidationReport:
    """Check everything that can be checked on this machine.

    A task whose data or list is not on this disk is recomputed from its judgement pack. Without one it is checked
    against its rankings file only (hash, counts, orders), and named in `not_recomputed`.

    Args:
        received: The submission.
        candidates: A candidate list or a folder of lists, as in `mrb run`.
        packs: A folder of judgement packs.

    Raises:
        ResultError: Names the first file, query or number that is wrong, or the candidate sets if there are several.
    """
    find_run_set(to_run(received))
    again: dict[str, TaskScores] = {}
    missing: dict[str, str] = {}
    packed: dict[str, Path] = {}
    for task_id, result in received.submission.results.items():
        rows = read_checked_rankings(received, task_id)
        reason = find_missing_input(received.get_task(task_id), candidates, result.candidates.sha256)
        pack = find_pack(task_id, packs, result.candidates.sha256) if reason is not None else None
        if reason is not None and pack is None:
            missing[task_id] = reason
            continue
        again[task_id] = _recompute(received, task_id, rows, candidates, pack)
        if pack is not None:
            packed[task_id] = pack
    check_means(received)
    _check_intervals(received, again)
    results = received.submission.results
    failed = {task_id: result.counts.failed_pairs for task_id, result in results.items() if result.counts.failed_pairs}
    return ValidationReport(tuple(again), missing, failed, packed)


def recompute_result(received: ReceivedSubmission, task_id: str, pack: Path | None = None) -> TaskScores:
    """Recompute a task's result with its values per query, from its rankings and a judgement pack.

    Without a pack, data and frozen list must be on this disk (`find_missing_input`). ResultError names what is wrong,
    as in `validate_submission`.
    """
    return _recompute(received, task_id, read_checked_rankings(received, task_id), None, pack)


def read_checked_rankings(received: ReceivedSubmission, task_id: str) -> list[QueryRanking]:
    """Return a task's rankings, checked against the submission's statements about them. Needs no data."""
    result, stated = received.submission.results[task_id], received.submission.rankings[task_id]
    path = received.ranking_path(task_id)
    _check_selection(received, result)
    check_failed_share(result.counts, _format_place(received, task_id))
    digest = hash_file(path)
    if digest != stated.sha256:
        raise ResultError(f"{path}: its SHA-256 is {digest}, {SUBMISSION_FILE} states {stated.sha256}")
    rows = read_rankings(path, scores=stated.scores, queries=result.counts.queries)
    lengths, places = [len(row.order) for row in rows], np.concatenate([row.order for row in rows])
    outside = np.array(lengths) > result.candidates.depth
    outside[np.repeat(np.arange(len(rows)), lengths)[places >= result.candidates.list_depth]] = True
    if outside.any():
        raise ResultError(
            f"{path}: query {rows[int(np.argmax(outside))].query_id!r}: positions outside depth "
            f"{result.candidates.depth} of a list of {result.candidates.list_depth}"
        )
    found = {
        "queries": (stated.queries, hash_query_ids(row.query_id for row in rows)),
        "counts.pairs": (result.counts.pairs, sum(lengths)),
        "counts.queries_without_candidates": (result.counts.queries_without_candidates, lengths.count(0)),
        "counts.failed_pairs": (result.counts.failed_pairs, sum(row.failed for row in rows)),
        "counts.tied_at_10": (result.counts.tied_at_10, sum(row.tied for row in rows) / len(rows)),
    }
    said = {name: pair[0] for name, pair in found.items()}
    for name, ours, counted in diff_json(said, {name: pair[1] for name, pair in found.items()}, tolerance=SAME):
        raise ResultError(f"{_format_place(received, task_id)}.{name} is {ours}, {path.name} gives {counted}")
    return rows


def check_failed_share(counts: RunCounts, where: str) -> None:
    """Raise ResultError if more than MAX_FAILED_SHARE of the pairs have no score."""
    if counts.failed_pairs > MAX_FAILED_SHARE * counts.pairs:
        raise ResultError(
            f"{where}: {counts.failed_pairs} of {counts.pairs} pairs failed "
            f"({counts.failed_pairs / max(counts.pairs, 1):.1%}); a submission may hold {MAX_FAILED_SHARE:.0%} of a "
            "task's: score them again with `mrb run --fresh`"
        )


def _check_selection(received: ReceivedSubmission, result: Result) -> None:
    """Check which queries were scored, and whether scores are published with the orders."""
    where, selection = _format_place(received, result.task), result.data.selection
    whole = "all" if received.suite.sample is None else "sample"
    if selection not in (whole, "limit"):
        raise ResultError(f"{where}.data.selection is {selection!r}; suite {received.suite.id} takes {whole!r}")
    wanted = publishes_scores(received.get_task(result.task), selection)
    if received.submission.rankings[result.task].scores != wanted:
        words = "must have scores" if wanted else "must have no scores: only those of small tasks and samples do"
        raise ResultError(f"{received.ranking_path(result.task)}: {words}")


def find_missing_input(task: Task, candidates: Path | None = None, sha256: str | None = None) -> str | None:
    """Return why the task's results cannot be recomputed here; None if they can. `sha256` is the hash of their list."""
    if candidates is not None and not has_candidates(task, candidates):
        return f"its list is not in {to_one_line(candidates, 120)}"
    if not is_registered(task.id):
        if not is_local(task):
            return f"its data is not here: {NAME_FOLDER}"
        if candidates is None and find_own_list(task, sha256) is None:
            return "its list is not here; give the one it was scored on with --candidates"
        return None
    if task.candidates is None and candidates is None:
        return "it has no published candidate list; give the one it was scored on with --candidates"
    if not is_local(task):
        return f"its data is not here; `mrb data pull --task {task.id}` fetches it"
    return None


def _recompute(
    received: ReceivedSubmission,
    task_id: str,
    rows: list[QueryRanking],
    candidates: Path | None,
    pack: Path | None,
) -> TaskScores:
    """Measure the rankings again. ResultError names the first number of the result that differs."""
    stated = received.submission.results[task_id]
    where = _format_place(received, task_id)
    sample = None if stated.data.selection == "all" else received.suite.sample
    task = received.get_task(task_id)
    if pack is None:
        plan = load_result_plan(stated, sample, candidates, where, task)
    else:
        plan = load_packed_plan(pack, stated, task, sample, where)
    scores = restore_scores(plan, rows, received.ranking_path(task_id))
    measured = measure(plan, scores, stated.reranker)
    for field, said, found in diff_json(
        stated.model_dump(mode="json"), measured.result.model_dump(mode="json"), tolerance=SAME
    ):
        raise ResultError(f"{where}.{field} is {said}, recomputed {found}")
    return make_task_scores(measured.result, measured.per_query, received.submission.definitions.get(task_id))


def check_means(received: ReceivedSubmission) -> None:
    """Check the stated averages against the stated results. ResultError names the first that differs.

    Averages of sub-suites may be missing: the submission may be older than the sub-suite.
    """
    said = received.submission.averages.model_dump(mode="json")
    for field, number, found in diff_json(_keep_means(said), _compute_means(received), tolerance=SAME):
        where = f"{received.folder / SUBMISSION_FILE}: averages"
        raise ResultError(f"{where}.{field} is {number}, the results give {found}")


def _check_intervals(received: ReceivedSubmission, again: Mapping[str, TaskScores]) -> None:
    """Check the intervals of the stated averages whose tasks have all been recomputed."""
    run = to_run(received)
    where = f"{received.folder / SUBMISSION_FILE}: averages"
    said = received.submission.averages.model_dump(mode="json")
    tasks = {task_id: again[task_id] for task_id in run.tasks if task_id in again}
    recomputed = compute_suite_averages(replace_tasks(run, tasks), received.suite)
    wanted = {name: value for name, value in recomputed.model_dump(mode="json").items() if value is not None}
    complete = {name: said[name] for name in wanted if name != "of_types"}
    complete["of_types"] = {name: said["of_types"].get(name) for name in wanted["of_types"]}
    stated = received.submission.averages.sub_suites.keys()
    if "sub_suites" in wanted:
        wanted["sub_suites"] = {name: found for name, found in wanted["sub_suites"].items() if name in stated}
        complete["sub_suites"] = {name: said["sub_suites"][name] for name in wanted["sub_suites"]}
    for field, number, found in diff_json(complete, wanted, tolerance=SAME):
        raise ResultError(f"{where}.{field} is {number}, recomputed {found}")


def _compute_means(received: ReceivedSubmission) -> dict[str, object]:
    """Return the means of all averages that the stated results allow, in the form of `_keep_means`."""
    run, suite = to_run(received), received.suite
    names = list(next(iter(run.tasks.values())).result.measures)

    def over(average: Callable[..., Average], task_ids: tuple[str, ...]) -> dict[str, float | None] | None:
        found = {name: average(run, task_ids, name).mean for name in names}
        return None if None in found.values() else found

    types = {kind: tuple(i for i in suite.tasks if received.get_task(i).type == kind) for kind in TYPES}
    of_types = {kind: over(average_over_tasks, ids) for kind, ids in types.items() if ids}
    found: dict[str, object] = {
        "tasks": over(average_over_tasks, suite.tasks),
        "types": over(average_over_types, suite.tasks),
        "of_types": {kind: found for kind, found in of_types.items() if found is not None},
    }
    stated = received.submission.averages.sub_suites
    parts = {
        part.id: {"tasks": over(average_over_tasks, part.tasks), "types": over(average_over_types, part.tasks)}
        for part in list_sub_suites(suite)
        if part.id in stated
    }
    return found | ({"sub_suites": parts} if stated else {})


def _keep_means(value: object) -> object:
    """Return averages as JSON, with each interval replaced by its mean."""
    if not isinstance(value, dict):
        return value
    return value["mean"] if "mean" in value else {name: _keep_means(inner) for name, inner in value.items()}


def _format_place(received: ReceivedSubmission, task_id: str) -> str:
    return f"{received.folder / SUBMISSION_FILE}: results.{task_id}"
