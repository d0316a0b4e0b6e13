"""The plan of a run on one task: which queries, the candidates of each, and the requests made from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mrb.candidates.lists import Candidates, check_ids
from mrb.candidates.load import collect_documents, load_candidates
from mrb.candidates.self_matches import match_query
from mrb.data.load import load_task_data
from mrb.data.sampling import choose_queries
from mrb.data.task import Sample
from mrb.data.task_data import TaskData
from mrb.errors import CandidatesError, MRBError
from mrb.evaluation.spec import Shard, TaskSpec
from mrb.metrics.ranking import order_ties
from mrb.rerankers.reranker import FirstStage, Request
from mrb.results.schema import DataInfo, Kind

Float32 = npt.NDArray[np.float32]
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Entry:
    """One query's candidates in first-stage order, self-matches removed, cut to the depth.

    `first` is the first-stage position (from 0) of the first candidate. It is above 0 where the head of the list is
    scored already: a deeper pointwise run only scores the rest. `ties` are the candidates in the order that breaks
    ties, int64[n], where `doc_ids` are not the documents' own ids (a judgement pack); None: the ids give it.
    """

    query_id: str
    doc_ids: list[str]
    first_stage_scores: Float32
    first: int = 0
    ties: npt.NDArray[np.int64] | None = None

    def head(self, count: int) -> Entry:
        """Return the entry with its first `count` candidates only."""
        return Entry(self.query_id, self.doc_ids[:count], self.first_stage_scores[:count], self.first)

    def tail(self, first: int) -> Entry:
        """Return the entry without its first `first` candidates."""
        return Entry(self.query_id, self.doc_ids[first:], self.first_stage_scores[first:], self.first + first)


@dataclass(frozen=True)
class Plan:
    """The queries of a run in the task's order, each with its candidates at one depth."""

    data: TaskData
    candidates: Candidates
    depth: int
    query_ids: tuple[str, ...]
    info: DataInfo

    @cached_property
    def pairs(self) -> int:
        """Number of (query, candidate) pairs that the plan scores."""
        return sum(map(self.size, self.query_ids))

    @cached_property
    def self_matches(self) -> int:
        """Number of candidates removed because they are the query itself."""
        return sum(len(self._own(query_id)) for query_id in self.query_ids)

    def size(self, query_id: str) -> int:
        """Return the number of candidates of `entry(query_id)`, without reading their ids."""
        return min(self.candidates.count(query_id) - len(self._own(query_id)), self.depth)

    def entry(self, query_id: str) -> Entry:
        """Return the candidates of one query. Self-matches are removed before the list is cut to the depth."""
        doc_ids, scores = self.candidates.get(query_id)
        own = self._own(query_id)
        if own:
            keep = [position for position, doc_id in enumerate(doc_ids) if doc_id not in own]
            doc_ids, scores = [doc_ids[position] for position in keep], scores[keep]
        return Entry(query_id, doc_ids[: self.depth], scores[: self.depth])

    def doc_ids(self, query_id: str) -> pa.Array:
        """Return the ids of `entry(query_id)` as Arrow strings; a slice of the list without a copy if no self-match is
        removed."""
        if self._own(query_id):
            return pa.array(self.entry(query_id).doc_ids, pa.string())
        return self.candidates.ids(query_id)[: self.depth]

    def entries(self) -> Iterator[Entry]:
        """Yield the entry of each query, in order."""
        return (self.entry(query_id) for query_id in self.query_ids)

    def take_shard(self, shard: Shard) -> Plan:
        """Return the plan with every `shard.of`th query, starting at query `shard.number`.

        Neighbouring queries cost about the same. They go to different shards, so all shards take about as long.
        """
        return replace(self, query_ids=self.query_ids[shard.number - 1 :: shard.of])

    def _own(self, query_id: str) -> frozenset[str]:
        """Return the candidates that are the query itself. Cached, because comparing images is slow."""
        rules = self.data.task.rules
        if not (rules.drop_identical_ids or rules.drop_query_image_from_candidates):
            return _NOTHING
        found = self._own_found.get(query_id)
        if found is None:
            found = match_query(self.data, query_id, self.candidates.get(query_id)[0])
            self._own_found[query_id] = found
        return found

    @cached_property
    def _own_found(self) -> dict[str, frozenset[str]]:
        return {}


@dataclass(frozen=True)
class PlannedRequest:
    """A request and the order of its candidates: candidate `i` of the request is `entry.doc_ids[order[i]]`."""

    request: Request
    entry: Entry
    order: npt.NDArray[np.int64]

    def in_first_stage_order(self, scores: Float32) -> Float32:
        """Return `scores`, which are in the request's order, in first-stage order."""
        restored = np.empty_like(scores)
        restored[self.order] = scores
        return restored

    def subset(self, positions: Sequence[int], key: int) -> PlannedRequest:
        """Return the request with only the candidates at `positions`, in that order, under another key."""
        request, shown = self.request, self.request.first_stage
        chosen = [int(self.order[position]) for position in positions]
        if shown is not None:
            shown = FirstStage(tuple(shown.ranks[p] for p in positions), tuple(shown.scores[p] for p in positions))
        smaller = replace(
            request, candidates=tuple(request.candidates[p] for p in positions), key=key, first_stage=shown
        )
        doc_ids = [self.entry.doc_ids[position] for position in chosen]
        entry = Entry(self.entry.query_id, doc_ids, self.entry.first_stage_scores[chosen])
        return PlannedRequest(smaller, entry, np.arange(len(chosen)))


def load_plan(spec: TaskSpec, *, sha256: str | None = None) -> Plan:
    """Load the task's candidate list and data, check them against each other, and return the plan.

    Args:
        spec: The task, its depth, list and choice of queries.
        sha256: The hash that the candidate list must have; None for any.

    Raises:
        CandidatesError: The list is missing, does not fit the task, has another hash, or names an unknown query or
            document.
        DataError: The data cannot be loaded or is damaged.
    """
    spec.make_known()
    candidates = load_candidates(spec.task, spec.candidates, spec.depth, sha256)
    where = f"candidates of {spec.task.id}"
    if sha256 not in (None, candidates.sha256):
        raise CandidatesError(
            f"{where}: wanted the list {sha256[:12]}, this is {candidates.sha256[:12]}; name the list with --candidates"
        )
    data = load_task_data(spec.task, needed=collect_documents(candidates))
    check_ids(candidates, data.queries.rows, data.corpus.rows, where)
    return make_plan(data, candidates, spec.depth, limit=spec.limit, sample=spec.sample)


def make_plan(
    data: TaskData, candidates: Candidates, depth: int, *, limit: int | None = None, sample: Sample | None = None
) -> Plan:
    """Return the plan of a task.

    Args:
        data: The task's queries, documents and judgements.
        candidates: The task's candidate list.
        depth: Number of candidates per query, at most.
        limit: Take only the first `limit` queries (for trials).
        sample: Take a suite's fixed sample of the queries.
    """
    taken, selection = choose_queries(data.task, tuple(data.queries), sample=sample, limit=limit)
    info = DataInfo(revision=data.task.revision, selection=selection, qrels=data.task.qrels, loading=data.counts)
    return Plan(data, candidates, depth, taken, info)


def make_requests(
    plan: Plan, entries: Iterable[Entry], kind: Kind, *, uses_first_stage: bool
) -> Iterator[PlannedRequest]:
    """Yield a request for each entry, built when it is taken; entries without candidates are skipped.

    Args:
        plan: The plan of the entries.
        entries: The queries to score, with their candidates.
        kind: Pointwise requests have their candidates in a fixed hash order, others in first-stage order.
        uses_first_stage: Whether requests contain the ranks and scores of the first stage.

    Raises:
        MRBError: An item cannot be loaded; the message names the task and the query.
    """
    task = plan.data.task
    for key, entry in enumerate(entries):
        count = len(entry.doc_ids)
        if not count:
            continue
        # Hash order: a pointwise adapter cannot return the first stage's order as its own scores.
        order = order_ties(task.id, entry.query_id, entry.doc_ids) if kind == "pointwise" else np.arange(count)
        shown = FirstStage(
            tuple(entry.first + int(position) + 1 for position in order),
            tuple(float(entry.first_stage_scores[position]) for position in order),
        )
        try:
            request = Request(
                instruction=task.instruction,
                query=plan.data.queries.item(entry.query_id),
                candidates=tuple(plan.data.corpus.item(entry.doc_ids[position]) for position in order),
                key=key,
                first_stage=shown if uses_first_stage else None,
            )
        except MRBError as error:
            raise type(error)(f"task {task.id}, query {entry.query_id!r}: {error}") from error
        yield PlannedRequest(request, entry, order)


def list_unscored(plan: Plan, scores: Mapping[str, Float32]) -> Iterator[Entry]:
    """Yield, for each query that lacks scores, the entry with its unscored candidates.

    Pointwise scores may cover the head of a list. For other kinds the score key includes the depth, so a journal has
    scores of all candidates of a query or of none.
    """
    for query_id in plan.query_ids:
        first = len(scores.get(query_id, ()))
        if first < plan.size(query_id):
            yield plan.entry(query_id).tail(first)
