"""`mrb verify`: a part of a submission's queries is scored again by the model itself.

Rankings and numbers that fit each other prove nothing about where the order came from: one made from the published
judgements recomputes to the last digit. Only the model can tell, so a validator scores some queries again.

Which ones, the submitter cannot know: those with the smallest SHA-256 over (salt, content hash, task, query). The
content hash fixes the submission before the choice, and the salt is drawn by the validator afterwards; both stand in
the record, so that anybody can make the same choice again.

Two askings of an honest model differ by numeric noise. Held to are, on each task:

- the scores, where they go along: none may differ by more than the floor;
- the order, where they do not: no candidate may stand above another whose new score is higher by more than two floors;
- of listwise models, whose scores are ranks: the share of a query's pairs that change places, on average;
- nDCG@10: the mean of the absolute changes.

The floors are stated below; a noise record of the validator's own (`mrb check --noise`) may widen them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mrb.check.compare import TOLERANCE, compare, spread
from mrb.check.probe import Scores, answers, requests
from mrb.declaration import LoadedReranker
from mrb.errors import ResultError
from mrb.evaluate import environment
from mrb.evaluate.plan import Float32, Plan
from mrb.files import write_json
from mrb.hashing import sha256_json
from mrb.metrics import HEADLINE, per_query
from mrb.noise import NoiseRecord
from mrb.ranking import rank_candidates
from mrb.rescore import plan_of
from mrb.results import Fraction, RerankerInfo
from mrb.submission.check import check_submission, checked_rows
from mrb.submission.folder import Received
from mrb.submission.make import public_info
from mrb.submission.rankings import Ranked, scores_of
from mrb.submission.schema import SUBMISSION_FILE
from mrb.task import Model, Sha256, Slug
from mrb.words import Plain

QUERIES = 20
"""Queries of a task that are scored again. Who alters a tenth of a suite's queries gets past 40 tasks of 20 with a
probability below 1e-36, past the nine of mini with 6e-9."""
SCORE_FLOOR = TOLERANCE
"""In standard deviations of the task's new scores; of listwise models the share of pairs that change places."""
CHANGE_FLOOR = 0.01
"""Of a task's mean absolute change of nDCG@10, as a fraction."""
WIDENED = 2.0
"""A noise record's own largest difference and mean change count this many times: other queries, another machine."""

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class TaskVerified(Model):
    """One task: `largest_difference` in standard deviations of the new scores (of listwise models, the mean share of
    pairs that changed places), `mean_change` the mean absolute change of nDCG@10, and the floor of each."""

    queries: Count
    pairs: Count
    largest_difference: Amount
    allowed_difference: Amount
    mean_change: Fraction
    allowed_change: Fraction


class Verified(Model):
    """`verified/<submission>.json`: that a validator's own run of the model agrees. `content` is the submission's
    content hash, `noise` the hash of the noise record that widened the floors, `not_verified` the tasks that could not
    be scored here, with the reason."""

    schema_version: Literal[1]
    mrb_version: Plain
    submission: Plain
    content: Sha256
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    salt: Plain
    queries: int = Field(gt=0)
    reranker: RerankerInfo
    noise: Sha256 | None
    tasks: dict[Slug, TaskVerified]
    not_verified: dict[Slug, Plain]
    environment: dict[Plain, Plain]

    @property
    def largest_difference(self) -> float:
        """Over all tasks, in standard deviations."""
        return max(task.largest_difference for task in self.tasks.values())


@dataclass(frozen=True)
class _Floors:
    """How far scores (in their own unit) and the mean of nDCG@10 may move."""

    score: float
    change: float


def verify(
    received: Received,
    reranker: LoadedReranker,
    *,
    salt: str,
    queries: int = QUERIES,
    noise: NoiseRecord | None = None,
    candidates: Path | None = None,
) -> Verified:
    """Score a part of the submission's queries again; the record, if everything agrees.

    ResultError: a submission that is not valid, another reranker than the one submitted, no task whose data is here,
    or the first query whose scores or order are not the model's.
    """
    _check_same(received, reranker.info, noise)
    checked = check_submission(received, candidates)
    if not checked.recomputed:
        task_id, reason = next(iter(checked.not_recomputed.items()))
        raise ResultError(f"{received.folder}: nothing can be scored here: {task_id}: {reason}")
    tasks = {
        task_id: _Task(received, task_id, reranker, salt, queries, candidates).compare(noise)
        for task_id in checked.recomputed
    }
    return Verified(
        schema_version=1,
        mrb_version=version("mrb"),
        submission=received.name,
        content=received.submission.content_hash,
        date=datetime.now(UTC).date().isoformat(),
        salt=salt,
        queries=queries,
        reranker=received.submission.reranker,
        noise=None if noise is None else sha256_json(noise.model_dump(mode="json")),
        tasks=tasks,
        not_verified=dict(checked.not_recomputed),
        environment=environment.environment(),
    )


def write_verified(folder: Path, record: Verified) -> Path:
    """Write the record into `folder` under the submission's name, whole or not at all; its path."""
    path = folder / f"{record.submission}.json"
    write_json(path, record.model_dump(mode="json"))
    return path


def choose(task_id: str, query_ids: Sequence[str], content: str, salt: str, count: int) -> tuple[str, ...]:
    """The `count` queries (or all) with the smallest SHA-256 over (salt, content, task, query), in the order given."""
    keyed = sorted(query_ids, key=lambda query_id: sha256_json(["mrb-verify-v1", salt, content, task_id, query_id]))
    taken = set(keyed[:count])
    return tuple(query_id for query_id in query_ids if query_id in taken)


def _check_same(received: Received, info: RerankerInfo, noise: NoiseRecord | None) -> None:
    """The model must be the one submitted, and the noise record of that model."""
    stated, mine = received.submission.reranker.identity(), public_info(info).identity()
    for name, value in mine.items():
        if stated[name] != value:
            where = received.folder / SUBMISSION_FILE
            raise ResultError(f"{where}: reranker.{name} is {stated[name]!r}, that of --model is {value!r}")
    if noise is not None and noise.reranker.identity() != info.identity():
        raise ResultError(f"the noise record is of {noise.reranker.name} with other options, kind or version")


class _Task:
    """One task: the chosen queries, what the submission says of them, and what the model says now."""

    def __init__(
        self, received: Received, task_id: str, reranker: LoadedReranker, salt: str, count: int, given: Path | None
    ) -> None:
        result = received.submission.results[task_id]
        self.path = received.ranking_path(task_id)
        sample = None if result.data.selection == "all" else received.suite.sample
        plan = plan_of(result, sample, given, str(self.path))
        rows = checked_rows(received, task_id)
        stated = scores_of(plan, rows, self.path)
        # A pair that failed has no score to compare, and its query another list.
        whole = [row.query_id for row in rows if len(row.order) and not row.failed]
        chosen = choose(task_id, whole, received.submission.content_hash, salt, count)
        self.plan: Plan = replace(plan, query_ids=chosen)
        self.rows: dict[str, Ranked] = {row.query_id: row for row in rows if row.query_id in set(chosen)}
        self.stated: dict[str, Float32] = {query_id: stated[query_id] for query_id in chosen}
        self.kind = reranker.info.kind
        self.scores: Scores = answers(reranker, task_id, [requests(self.plan, reranker)]) if chosen else {}

    def compare(self, noise: NoiseRecord | None) -> TaskVerified:
        """The outcome; ResultError names the query that is not the model's."""
        scale = spread(self.scores) if self.scores else 0.0
        floors = self._floors(noise, scale)
        if self.kind == "listwise":
            largest, allowed = self._swapped(), SCORE_FLOOR
            if largest > allowed:
                raise ResultError(
                    f"{self.path}: the model orders the chosen queries otherwise: {largest:.1%} of the pairs of "
                    f"candidates change places, {allowed:.0%} may"
                )
        else:
            unit = scale or 1.0
            largest = max((self._difference(query_id, floors.score) for query_id in self.stated), default=0.0) / unit
            allowed = floors.score / unit
        change = self._change(floors.change)
        return TaskVerified(
            queries=len(self.stated),
            pairs=self.plan.pairs,
            largest_difference=largest,
            allowed_difference=allowed,
            mean_change=change,
            allowed_change=floors.change,
        )

    def _floors(self, noise: NoiseRecord | None, scale: float) -> _Floors:
        known = None if noise is None else noise.tasks.get(self.plan.data.task.id)
        score, change = SCORE_FLOOR * scale, CHANGE_FLOOR
        if known is not None:
            score, change = max(score, WIDENED * known.largest_difference), max(change, WIDENED * known.mean_change)
        return _Floors(score, min(change, 1.0))

    def _now(self, query_id: str) -> Float32:
        """The model's scores of now, in first-stage order."""
        entry, scores = self.plan.entry(query_id), self.scores[query_id]
        return np.array([scores[doc_id] for doc_id in entry.doc_ids], np.float32)

    def _difference(self, query_id: str, floor: float) -> float:
        """How far a query's scores moved: the largest difference of one, or, without scores, half of what the order
        contradicts. ResultError where that is more than `floor`."""
        now, doc_ids = self._now(query_id).astype(np.float64), self.plan.entry(query_id).doc_ids
        if self.rows[query_id].scores is not None:
            before = self.stated[query_id].astype(np.float64)
            worst = int(np.argmax(np.abs(now - before)))
            found = float(abs(now[worst] - before[worst]))
            words = (
                f"candidate {doc_ids[worst]!r} is submitted with {before[worst]:.6g}, the model gives {now[worst]:.6g}"
            )
        else:
            order = np.argsort(-self.stated[query_id], kind="stable")
            ranked = now[order]
            lowest = np.minimum.accumulate(ranked)
            below = int(np.argmax(ranked - lowest))
            above = int(np.argmin(ranked[: below + 1]))
            found = float(ranked[below] - ranked[above]) / 2
            words = (
                f"candidate {doc_ids[order[above]]!r} is submitted above {doc_ids[order[below]]!r}, the model gives "
                f"{ranked[above]:.6g} and {ranked[below]:.6g}"
            )
        if found > floor:
            raise ResultError(f"{self.path}: query {query_id!r}: {words}; the noise floor is {floor:.3g}")
        return found

    def _swapped(self) -> float:
        """The mean share of pairs that change places."""
        before = {
            query_id: dict(zip(self.plan.entry(query_id).doc_ids, stated.tolist(), strict=True))
            for query_id, stated in self.stated.items()
        }
        found = compare("listwise", self.plan.data.task.id, before, self.scores, 1.0) if before else []
        return float(np.mean([difference.size for difference in found])) if found else 0.0

    def _change(self, floor: float) -> float:
        """The mean absolute change of nDCG@10; ResultError where it is more than `floor`."""
        if not self.stated:
            return 0.0
        before = self._ndcg(self.stated)
        now = self._ndcg({query_id: self._now(query_id) for query_id in self.stated})
        change = float(np.abs(now - before).mean())
        if change > floor:
            worst = self.plan.query_ids[int(np.argmax(np.abs(now - before)))]
            raise ResultError(
                f"{self.path}: nDCG@10 of the chosen queries changes by {100 * change:.2f} points on average, most on "
                f"query {worst!r}; {100 * floor:.2f} may be noise"
            )
        return change

    def _ndcg(self, scores: dict[str, Float32]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        task_id = self.plan.data.task.id
        rankings = {}
        for query_id, values in scores.items():
            ids = self.plan.entry(query_id).doc_ids
            rankings[query_id] = [ids[place] for place in rank_candidates(task_id, query_id, ids, values)]
        qrels = {query_id: self.plan.data.qrels[query_id] for query_id in self.plan.query_ids}
        return per_query(rankings, qrels, [HEADLINE]).values[HEADLINE]
