"""Build groups from a task: its queries, their judged documents, and negatives from a candidate list and the corpus."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from mrb._util.hashing import compute_sample_hash
from mrb.candidates.lists import Candidates
from mrb.data.task_data import TaskData
from mrb.errors import TrainingError
from mrb.retrieval.first_stage import split_parts
from mrb.training.data.group import TrainingGroup, TrainingItem
from mrb.training.data.likeness import Likeness


@dataclass(frozen=True)
class BuildOptions:
    """How many negatives a group keeps. How many of them a step sees is decided later.

    `depth`: hard negatives come from the top `depth` candidates; `random`: number of negatives sampled from the corpus,
    the same ones in every build. A hard negative scores at least `margin` below the lowest of the query's positives,
    and at most `percent` % of it (TopK-MarginPos and TopK-PercPos of NV-Retriever, arXiv 2407.15831), if that is below
    0, as far below it. So a query has none if one of its positives is not in its list.
    """

    depth: int = 100
    random: int = 32
    margin: float | None = None
    percent: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("margin", self.margin), ("percentage", self.percent)):
            if value is not None and not 0 <= value < math.inf:
                raise TrainingError(f"a {name} of hard negatives is {value}: give a number from 0")
        if self.depth == 0 and (self.margin is not None or self.percent is not None):
            raise TrainingError("a margin or percentage applies to hard negatives, but depth is 0")
        if self.depth < 0 or self.random < 0 or self.depth + self.random == 0:
            raise TrainingError(
                f"depth {self.depth} and {self.random} random negatives: give numbers from 0, not 0 both"
            )


class GroupBuilder:
    """Builds the groups of one task, query by query.

    A judged positive is never a negative, nor is a document that is near-identical to one (`Likeness`), since the
    judges may not have seen it, or equal to the query. A query without any negative gives no group. `counts` counts
    what was built; `like_positive` negatives were left out because they are near-identical to a positive, and
    `near_positive` by margin or percentage.
    """

    def __init__(self, data: TaskData, candidates: Candidates | None, options: BuildOptions | None = None) -> None:
        self.data = data
        self.candidates = candidates
        self.options = options or BuildOptions()
        self.counts = dict.fromkeys(("groups", "like_positive", "near_positive", "without_negatives"), 0)
        self._seen: dict[str, Likeness] = {}

    def build_groups(self) -> Iterator[TrainingGroup]:
        """Yield the groups in the task's query order.

        Raises TrainingError if hard negatives are wanted and there are no candidates.
        """
        task = self.data.task
        if self.options.depth and self.candidates is None:
            raise TrainingError(f"task {task.id}: hard negatives need a candidate list or a first stage")
        for part in split_parts(self.data):
            ids = list(part.corpus)
            for query_id in part.queries:
                group = self._build_group(query_id, ids)
                if group.negatives:
                    self.counts["groups"] += 1
                    yield group
                else:
                    self.counts["without_negatives"] += 1

    def _build_group(self, query_id: str, corpus: list[str]) -> TrainingGroup:
        data = self.data
        positive_ids = list(data.qrels[query_id])
        shown = [self._likeness(doc_id) for doc_id in positive_ids]
        hard = self._mine_hard(query_id, shown)
        taken = {query_id, *positive_ids, *(negative.id for negative in hard)}
        return TrainingGroup(
            instruction=data.task.instruction,
            source=data.task.id,
            query=TrainingItem(data.queries.item(query_id), query_id),
            positives=[
                TrainingItem(data.corpus.item(doc_id), doc_id, grade=grade if grade > 1 else None)
                for doc_id, grade in data.qrels[query_id].items()
            ],
            negatives=[*hard, *self._sample_random(query_id, corpus, taken, shown)],
        )

    def _mine_hard(self, query_id: str, positives: list[Likeness]) -> list[TrainingItem]:
        if self.candidates is None:
            return []
        judged = self.data.qrels[query_id]
        doc_ids, scores = self.candidates.get(query_id)
        limit = self._find_limit(dict(zip(doc_ids, scores.tolist(), strict=True)), judged)
        query = self.data.queries.item(query_id).content_hash
        found = []
        for rank, (doc_id, score) in enumerate(zip(doc_ids, scores.tolist(), strict=True), start=1):
            if rank > self.options.depth:
                break
            if doc_id in judged or self._resembles(doc_id, positives):
                continue
            item = self.data.corpus.item(doc_id)
            if item.content_hash == query:
                continue
            if score > limit:
                self.counts["near_positive"] += 1
            else:
                found.append(TrainingItem(item, doc_id, rank, score))
        return found

    def _find_limit(self, scores: Mapping[str, float], positives: Iterable[str]) -> float:
        """Return the highest score of a hard negative."""
        margin, percent = self.options.margin, self.options.percent
        if margin is None and percent is None:
            return math.inf
        lowest = min(scores.get(doc_id, -math.inf) for doc_id in positives)
        if lowest == -math.inf:  # a positive is not in the list
            return lowest
        limits = [lowest - (margin or 0)]
        if percent is not None:
            # A percentage of a score below 0 would lie above it.
            limits.append(lowest - abs(lowest) * (1 - percent / 100))
        return min(limits)

    def _sample_random(
        self, query_id: str, corpus: list[str], taken: set[str], positives: list[Likeness]
    ) -> list[TrainingItem]:
        """Return documents sampled by a hash of task and query, so that every build samples the same."""
        rng = np.random.default_rng(compute_sample_hash(self.data.task.id, query_id))
        found: list[TrainingItem] = []
        # Enough to skip taken and near-identical documents; a small corpus is used completely.
        places = min(len(corpus), 2 * self.options.random + len(taken))
        for place in rng.permutation(len(corpus))[:places] if self.options.random else ():
            doc_id = corpus[place]
            if len(found) < self.options.random and doc_id not in taken and not self._resembles(doc_id, positives):
                found.append(TrainingItem(self.data.corpus.item(doc_id), doc_id))
        return found

    def _resembles(self, doc_id: str, positives: list[Likeness]) -> bool:
        own = self._likeness(doc_id)
        like = any(own.near(positive) for positive in positives)
        self.counts["like_positive"] += like
        return like

    def _likeness(self, doc_id: str) -> Likeness:
        if doc_id not in self._seen:
            if len(self._seen) >= LIKENESSES_KEPT:
                self._seen.clear()
            self._seen[doc_id] = Likeness.of(self.data.corpus.item(doc_id))
        return self._seen[doc_id]


LIKENESSES_KEPT = 50_000
"""Documents recur in many lists; one image's `Likeness` takes 6 kB."""
