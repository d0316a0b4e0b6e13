"""`mrb submission verify`: score part of a submission's queries again with the model itself.

Consistent rankings and numbers do not prove where the order came from: an order made from the published judgements
recomputes exactly. Only the model can tell, so a validator scores some queries again.

The submitter cannot know which queries: those with the smallest SHA-256 over (salt, content hash, task, query). The
content hash fixes the submission before the choice, and the validator draws the salt afterwards. Both are in the
record, so anybody can repeat the choice.

Queries are chosen among those that have candidates. A pair submitted as failed must fail again: it is a difference if
the model scores it now, and so is a scored pair that now fails.

Two runs of an honest model differ by numeric noise. On each task, over the pairs that have both scores, these checks
apply:

- scores, if published: none may differ by more than is allowed;
- order, otherwise: no candidate may be ranked above another whose new score is higher by more than twice that;
- listwise models, whose scores are ranks: the mean share over queries of pairs that change order;
- nDCG@10: the mean absolute change.

What is allowed is in the constants below. The validator's own noise record (`mrb check --noise`) may raise it, up to
the limits below. A task without comparable pairs is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mrb import __version__
from mrb._util.files import write_json
from mrb._util.hashing import hash_json
from mrb._util.model import Model
from mrb._util.printable import PrintableStr
from mrb.data.task_fields import Sha256, Slug
from mrb.errors import ResultError
from mrb.evaluation import environment
from mrb.evaluation.check.probe import make_probe_requests
from mrb.evaluation.check.score_noise import TOLERANCE, compare_scores
from mrb.evaluation.failures import FailureBudget, count_failed, score_with_failures
from mrb.evaluation.plan import Float32, Plan
from mrb.evaluation.recompute import load_result_plan
from mrb.evaluation.score import score_all
from mrb.metrics.measures import HEADLINE, measure_queries
from mrb.metrics.ranking import rank_candidates
from mrb.rerankers.declaration import LoadedReranker
from mrb.results.noise import NoiseRecord
from mrb.results.schema import Fraction, RerankerInfo
from mrb.submission.build import make_public_info
from mrb.submission.rankings import QueryRanking, restore_scores
from mrb.submission.reader import ReceivedSubmission
from mrb.submission.schema import SUBMISSION_FILE
from mrb.submission.validate import read_checked_rankings, validate_submission

QUERIES = 20
"""Queries of a task that are scored again. Whoever alters a tenth of a suite's queries stays undetected over 40 tasks
of 20 queries with probability below 1e-36, over the nine of mini with 2e-9.
"""
ALLOWED_DIFFERENCE = TOLERANCE
"""In standard deviations of the task's new scores; for listwise models the share of pairs that change order."""
ALLOWED_CHANGE = 0.01
"""Limit of a task's mean absolute change of nDCG@10, as a fraction."""
WIDENED = 2.0
"""Factor on a noise record's largest difference and mean change: other queries, another machine."""
MAX_ALLOWED_DIFFERENCE = 5 * ALLOWED_DIFFERENCE
MAX_ALLOWED_CHANGE = 5 * ALLOWED_CHANGE
"""A noise record cannot raise what is allowed beyond these. If a model moves more, scoring again shows nothing."""
_ROUNDING = 1e-9

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class TaskVerification(Model):
    """One task: counts, the differences found, and what was allowed of each.

    `pairs` were compared, `failed_pairs` failed in both runs. `largest_difference` is in standard deviations of the new
    scores (for listwise models the mean share of pairs that change order), `mean_change` is the mean absolute change of
    nDCG@10.
    """

    queries: Count
    pairs: Count
    failed_pairs: Annotated[int, Field(ge=0)] = 0
    largest_difference: Amount
    allowed_difference: Annotated[float, Field(ge=0, le=MAX_ALLOWED_DIFFERENCE + _ROUNDING)]
    mean_change: Fraction
    allowed_change: Annotated[float, Field(ge=0, le=MAX_ALLOWED_CHANGE)]

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for name in ("difference", "change"):
            found = self.largest_difference if name == "difference" else self.mean_change
            allowed = getattr(self, f"allowed_{name}")
            if found > allowed:
                raise ValueError(f"a {name} of {found}, above allowed_{name}, {allowed}")
        return self


class VerificationRecord(Model):
    """`verified/<submission>.json`: a record that a validator's own run of the model agrees.

    `content` is the submission's content hash, `noise` the hash of the noise record that raised what is allowed,
    `not_verified` the tasks that could not be scored here, with the reasons.
    """

    schema_version: Literal[1]
    mrb_version: PrintableStr
    submission: PrintableStr
    content: Sha256
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    salt: PrintableStr
    queries: int = Field(gt=0)
    reranker: RerankerInfo
    noise: Sha256 | None
    tasks: dict[Slug, TaskVerification] = Field(min_length=1)
    not_verified: dict[Slug, PrintableStr]
    environment: dict[PrintableStr, PrintableStr]

    @property
    def largest_difference(self) -> float:
        """The largest difference over all tasks, in standard deviations."""
        return max(task.largest_difference for task in self.tasks.values())


@dataclass(frozen=True)
class _Allowed:
    """Allowed change of scores (in their own unit) and of the mean nDCG@10."""

    score: float
    change: float


def verify_submission(
    received: ReceivedSubmission,
    reranker: LoadedReranker,
    *,
    salt: str,
    queries: int = QUERIES,
    noise: NoiseRecord | None = None,
    candidates: Path | None = None,
) -> VerificationRecord:
    """Score part of the submission's queries again; return the record if everything agrees.

    Args:
        received: The submission.
        reranker: The submitted model, loaded by the validator.
        salt: Decides the choice of queries.
        queries: Number of queries per task.
        noise: The validator's own noise record of this model.
        candidates: A candidate list or a folder of lists, as in `mrb run`.

    Returns:
        The record.

    Raises:
        ResultError: The submission is invalid, the reranker is not the one submitted, no task's data is here, or a
            query's scores or order are not the model's.
    """
    _check_same_model(received, reranker.info, noise)
    checked = validate_submission(received, candidates)
    if not checked.recomputed:
        task_id, reason = next(iter(checked.not_recomputed.items()))
        raise ResultError(f"{received.folder}: nothing can be scored here: {task_id}: {reason}")
    tasks = {
        task_id: _Task(received, task_id, reranker, salt, queries, candidates).compare(noise)
        for task_id in checked.recomputed
    }
    return VerificationRecord(
        schema_version=1,
        mrb_version=__version__,
        submission=received.name,
        content=received.submission.content_hash,
        date=datetime.now(UTC).date().isoformat(),
        salt=salt,
        queries=queries,
        reranker=received.submission.reranker,
        noise=None if noise is None else hash_json(noise.model_dump(mode="json")),
        tasks=tasks,
        not_verified=dict(checked.not_recomputed),
        environment=environment.describe_environment(),
    )


def write_verification(folder: Path, record: VerificationRecord) -> Path:
    """Write the record atomically into `folder` under the submission's name; return its path."""
    path = folder / f"{record.submission}.json"
    write_json(path, record.model_dump(mode="json"))
    return path


def choose_queries(task_id: str, query_ids: Sequence[str], content: str, salt: str, count: int) -> tuple[str, ...]:
    """Return the `count` queries (or all) with the smallest SHA-256 over (salt, content, task, query), in the given
    order.
    """
    keyed = sorted(query_ids, key=lambda query_id: hash_json(["mrb-verify-v1", salt, content, task_id, query_id]))
    taken = set(keyed[:count])
    return tuple(query_id for query_id in query_ids if query_id in taken)


def _check_same_model(received: ReceivedSubmission, info: RerankerInfo, noise: NoiseRecord | None) -> None:
    """Check that the model is the one submitted, and that the noise record belongs to that model."""
    # Inputs and batch invariance affect no score, but the board shows them.
    stated, mine = (
        one.model_dump(mode="json", exclude={"source", "source_sha256"})
        for one in (received.submission.reranker, make_public_info(info))
    )
    for name, value in mine.items():
        if stated[name] != value:
            where = received.folder / SUBMISSION_FILE
            raise ResultError(f"{where}: reranker.{name} is {stated[name]!r}, that of --model is {value!r}")
    if noise is not None and noise.reranker.identity() != info.identity():
        raise ResultError(f"the noise record belongs to {noise.reranker.name} with other options, kind or version")


class _Task:
    """One task: the chosen queries, their submitted scores and the model's new scores.

    Scores are in first-stage order, NaN for a failed pair.
    """

    def __init__(
        self,
        received: ReceivedSubmission,
        task_id: str,
        reranker: LoadedReranker,
        salt: str,
        count: int,
        given: Path | None,
    ) -> None:
        result = received.submission.results[task_id]
        self.path = received.ranking_path(task_id)
        sample = None if result.data.selection == "all" else received.suite.sample
        plan = load_result_plan(result, sample, given, str(self.path), received.get_task(task_id))
        rows = read_checked_rankings(received, task_id)
        stated = restore_scores(plan, rows, self.path)
        with_candidates = [row.query_id for row in rows if len(row.order)]
        chosen = choose_queries(task_id, with_candidates, received.submission.content_hash, salt, count)
        self.plan: Plan = replace(plan, query_ids=chosen)
        self.rows: dict[str, QueryRanking] = {row.query_id: row for row in rows if row.query_id in set(chosen)}
        self.stated: dict[str, Float32] = {query_id: stated[query_id] for query_id in chosen}
        self.kind = reranker.info.kind
        self.now: dict[str, Float32] = self._score_again(reranker)

    def compare(self, noise: NoiseRecord | None) -> TaskVerification:
        """Return the outcome.

        ResultError names the query whose scores or order are not the model's, or says that nothing could be compared.
        """
        self._compare_failures()
        failed = count_failed(self.stated)
        if self.plan.pairs == failed:
            raise ResultError(
                f"{self.path}: none of {self.plan.pairs} pairs of {len(self.stated)} queries has a score: nothing can "
                "be compared"
            )
        scores = np.concatenate(list(self.now.values()))
        scale = float(np.std(scores[~np.isnan(scores)], dtype=np.float64))
        limits = self._find_allowed(noise, scale)
        if self.kind == "listwise":
            largest, allowed = self._count_swapped(), ALLOWED_DIFFERENCE
            if largest > allowed:
                raise ResultError(
                    f"{self.path}: the model orders the chosen queries otherwise: {largest:.1%} of the pairs of "
                    f"candidates change places, {allowed:.0%} may"
                )
        else:
            unit = scale or 1.0
            largest = max(self._find_difference(query_id, limits.score) for query_id in self.stated) / unit
            allowed = limits.score / unit
        return TaskVerification(
            queries=len(self.stated),
            pairs=self.plan.pairs - failed,
            failed_pairs=failed,
            largest_difference=largest,
            allowed_difference=allowed,
            mean_change=self._find_change(limits.change),
            allowed_change=limits.change,
        )

    def _score_again(self, reranker: LoadedReranker) -> dict[str, Float32]:
        """Return the model's new scores. As many pairs may fail as were submitted as failed."""
        task_id, asked = self.plan.data.task.id, make_probe_requests(self.plan, reranker)
        failed = count_failed(self.stated)
        scored = (
            score_with_failures(reranker, asked, task_id, FailureBudget(failed))
            if failed
            else score_all(reranker, asked, task_id)
        )
        return {item.entry.query_id: scores for item, scores in scored}

    def _compare_failures(self) -> None:
        """Refuse a pair that has a score in one run and none in the other. ResultError names the first."""
        for query_id, before in self.stated.items():
            now = self.now[query_id]
            places = np.flatnonzero(np.isnan(before) != np.isnan(now))
            if len(places):
                place = int(places[0])
                words = (
                    f"is submitted as failed, the model gives {now[place]:.6g}"
                    if np.isnan(before[place])
                    else f"is submitted with a score, the model gives none ({before[place]:.6g})"
                )
                doc_id = self.plan.entry(query_id).doc_ids[place]
                raise ResultError(f"{self.path}: query {query_id!r}: candidate {doc_id!r} {words}")

    def _find_allowed(self, noise: NoiseRecord | None, scale: float) -> _Allowed:
        task_id = self.plan.data.task.id
        known = None if noise is None else noise.tasks.get(task_id)
        score, change = ALLOWED_DIFFERENCE * scale, ALLOWED_CHANGE
        if known is not None:
            change = max(change, WIDENED * known.mean_change)
            if self.kind != "listwise":  # its record counts ranks; the share of pairs has a limit of its own
                score = max(score, WIDENED * known.largest_difference)
        for found, limit, words in (
            (score, MAX_ALLOWED_DIFFERENCE * scale, "scores"),
            (change, MAX_ALLOWED_CHANGE, "nDCG@10"),
        ):
            if found > limit:
                raise ResultError(
                    f"the noise record lets {words} of {task_id} move by {found:.3g}, at most {limit:.3g} may: a model "
                    "that moves further cannot be verified by scoring again"
                )
        return _Allowed(score, change)

    def _find_difference(self, query_id: str, allowed: float) -> float:
        """Return how far a query's scores moved; 0.0 if all of its pairs failed.

        With scores this is the largest difference of one score; without scores, half of the largest score gap that
        contradicts the submitted order. Raises ResultError if it exceeds `allowed`.
        """
        doc_ids, before, now = self.plan.entry(query_id).doc_ids, self.stated[query_id], self.now[query_id]
        scored = np.flatnonzero(~np.isnan(before))
        if not len(scored):
            return 0.0
        if self.rows[query_id].scores is not None:
            moved = np.abs(now[scored].astype(np.float64) - before[scored])
            worst = int(scored[np.argmax(moved)])
            found = float(moved.max())
            words = (
                f"candidate {doc_ids[worst]!r} is submitted with {before[worst]:.6g}, the model gives {now[worst]:.6g}"
            )
        else:
            order = scored[np.argsort(-before[scored], kind="stable")]
            ranked = now[order].astype(np.float64)
            lowest = np.minimum.accumulate(ranked)
            below = int(np.argmax(ranked - lowest))
            above = int(np.argmin(ranked[: below + 1]))
            found = float(ranked[below] - ranked[above]) / 2
            words = (
                f"candidate {doc_ids[order[above]]!r} is submitted above {doc_ids[order[below]]!r}, the model gives "
                f"{ranked[above]:.6g} and {ranked[below]:.6g}"
            )
        if found > allowed:
            raise ResultError(f"{self.path}: query {query_id!r}: {words}; at most {allowed:.3g} is noise")
        return found

    def _count_swapped(self) -> float:
        """Return the mean share over queries of pairs that change order."""
        before, now = (
            {
                query_id: {
                    doc_id: score
                    for doc_id, score in zip(self.plan.entry(query_id).doc_ids, scores.tolist(), strict=True)
                    if not np.isnan(score)
                }
                for query_id, scores in held.items()
            }
            for held in (self.stated, self.now)
        )
        found = compare_scores("listwise", self.plan.data.task.id, before, now, 1.0)
        return float(np.mean([difference.size for difference in found]))

    def _find_change(self, allowed: float) -> float:
        """Return the mean absolute change of nDCG@10. Raises ResultError if it exceeds `allowed`."""
        before, now = self._compute_ndcg(self.stated), self._compute_ndcg(self.now)
        change = float(np.abs(now - before).mean())
        if change > allowed:
            worst = self.plan.query_ids[int(np.argmax(np.abs(now - before)))]
            raise ResultError(
                f"{self.path}: nDCG@10 of the chosen queries changes by {100 * change:.2f} points on average, most on "
                f"query {worst!r}; {100 * allowed:.2f} may be noise"
            )
        return change

    def _compute_ndcg(self, scores: dict[str, Float32]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        task_id = self.plan.data.task.id
        rankings = {}
        for query_id in self.plan.query_ids:
            values, ids = scores[query_id], self.plan.entry(query_id).doc_ids
            order = rank_candidates(task_id, query_id, ids, values, failed=np.isnan(values))
            rankings[query_id] = [ids[place] for place in order]
        qrels = {query_id: self.plan.data.qrels[query_id] for query_id in self.plan.query_ids}
        return measure_queries(rankings, qrels, [HEADLINE]).values[HEADLINE]
