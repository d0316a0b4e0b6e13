"""The plan of a task made from a judgement pack: rankings are measured without the data set and without the list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from mrb.candidates.judgement_packs import MAX_POSITIONS, JudgementPack, PackedQuery, PackInfo, check_pack, read_pack
from mrb.candidates.lists import Candidates, Provenance
from mrb.data.task import Sample, Task
from mrb.data.task_data import ItemTable, TaskData
from mrb.errors import ResultError
from mrb.evaluation.plan import Entry, Plan, make_plan
from mrb.results.schema import Result


@dataclass(frozen=True)
class _PackedData(TaskData):
    """The judgements of a pack as a task's data without texts and images. A document's id is its position."""

    stated_clusters: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def clusters(self) -> dict[str, str]:
        return dict(self.stated_clusters)


@dataclass(frozen=True)
class _PackedCandidates(Candidates):
    """A list whose documents are named by their positions; its hash is that of the list itself."""

    stated_sha256: str = ""

    @cached_property
    def sha256(self) -> str:
        return self.stated_sha256


@dataclass(frozen=True)
class _PackedPlan(Plan):
    packed: Mapping[str, PackedQuery] = field(default_factory=dict)

    def entry(self, query_id: str) -> Entry:
        """Return the candidates of one query, with the order that breaks ties, which positions do not give."""
        entry = super().entry(query_id)
        kept = {int(name): index for index, name in enumerate(entry.doc_ids)}
        ties = [kept[place] for place in self.packed[query_id].ties.tolist() if place in kept]
        return replace(entry, ties=np.array(ties, np.int64))

    def _own(self, query_id: str) -> frozenset[str]:
        return frozenset(map(str, self.packed[query_id].own.tolist()))


def load_packed_plan(path: Path, result: Result, task: Task, sample: Sample | None, where: str) -> Plan:
    """Load the plan of a result from the judgement pack in `path`.

    Args:
        path: The pack's file, that of the result's list (`find_pack`).
        result: The result.
        task: The result's task.
        sample: The sample of the result's suite, if its queries are one.
        where: The result, for messages.

    Raises:
        CandidatesError: The pack is damaged, or of another task or definition.
        ResultError: The result is of raw judgements, or of another definition of the task.
    """
    pack = _read_pack(path, path.stat().st_mtime_ns)
    check_packed_result(pack.info, result, task, f"{path}, for {where}")
    limit = result.counts.queries if result.data.selection == "limit" else None
    return make_packed_plan(pack, task, result.candidates.depth, limit=limit, sample=sample)


def check_packed_result(info: PackInfo, result: Result, task: Task, where: str) -> None:
    """Refuse a pack that is not of a result's task and definition (arguments as in `load_packed_plan`)."""
    check_pack(info, task, where)
    if result.task_hash != task.hash or result.data.revision != task.revision:
        raise ResultError(f"{where}: the result was made with another definition of {task.id} than this version's")
    if result.data.qrels != "cleaned":
        raise ResultError(f"{where}: the result was scored on raw judgements, which no judgement pack holds")


@lru_cache(maxsize=4)
def _read_pack(path: Path, modified_ns: int) -> JudgementPack:
    # Many submissions have rankings of one task: its pack is read once.
    return read_pack(path)


def make_packed_plan(
    pack: JudgementPack, task: Task, depth: int, *, limit: int | None = None, sample: Sample | None = None
) -> Plan:
    """Return the plan of a task from its pack; measures are those that data and list give.

    Args:
        pack: The pack; it must be the task's (`check_pack`).
        task: The task.
        depth: Number of candidates per query, at most.
        limit: Take only the first `limit` queries.
        sample: Take a suite's fixed sample of the queries.
    """
    packed = {query.query_id: query for query in pack.queries}
    data = _PackedData(
        task=task,
        queries=ItemTable("queries", {query_id: row for row, query_id in enumerate(packed)}, None, None),
        corpus=ItemTable("corpus", {}, None, None),
        qrels={query_id: _read_grades(query) for query_id, query in packed.items()},
        counts=pack.info.counts,
        stated_clusters={query_id: str(query.cluster) for query_id, query in packed.items()},
    )
    plan = make_plan(data, _make_candidates(pack), depth, limit=limit, sample=sample)
    return _PackedPlan(plan.data, plan.candidates, plan.depth, plan.query_ids, plan.info, packed)


def _make_candidates(pack: JudgementPack) -> Candidates:
    lengths = [len(query.ties) for query in pack.queries]
    places = np.concatenate([np.arange(length) for length in lengths] or [np.empty(0, np.int64)])
    names = pa.array([str(place) for place in range(MAX_POSITIONS)], pa.string())
    info = pack.info
    return _PackedCandidates(
        provenance=Provenance(
            task=info.task,
            list_hash="0" * 64,
            revision=info.revision,
            first_stage=info.first_stage,
            track=info.track,
            depth=info.depth,
        ),
        query_ids=tuple(query.query_id for query in pack.queries),
        offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        doc_ids=names.take(pa.array(places)),
        scores=-places.astype(np.float32),
        stated_sha256=info.list_sha256,
    )


def _read_grades(query: PackedQuery) -> dict[str, int]:
    grades = dict(zip(map(str, query.relevant.tolist()), query.relevant_grades.tolist(), strict=True))
    return grades | {f"outside {place}": grade for place, grade in enumerate(query.outside_grades.tolist())}
