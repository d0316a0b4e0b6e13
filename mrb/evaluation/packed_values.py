"""Values per query of many rankings of one list, from its judgement pack, all queries at once.

A board measures every submission's order of every list. `mrb.evaluation.packed_plan` checks one submission in every
number; this computes its values per query only, without a loop over candidates. The two agree to the last bit (test).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mrb.candidates.judgement_packs import JudgementPack, PackInfo, read_pack
from mrb.data.sampling import choose_queries
from mrb.data.task import Sample, Task
from mrb.data.task_data import find_query_parts
from mrb.errors import ResultError
from mrb.metrics.measures import MEASURES, Float64, measure_grades

CUTOFF = max(measure.cutoff for measure in MEASURES)

Order = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class PackedJudgements:
    """The judgements of the queries of a result. `info` and `sha256` are those of the pack.

    `clusters` is int64[n], `parts` is as in `find_query_parts`. `grades` is uint16[n, width], the grade of each
    position of the list; `listed` is bool[n, width], the positions that a ranking has: within the depth, no self-match.
    `ideal` is int64[n], the query's row in `ideals`, which are the grades of all relevant documents, descending.
    """

    info: PackInfo
    sha256: str
    query_ids: tuple[str, ...]
    clusters: npt.NDArray[np.int64]
    parts: tuple[str, ...] | None
    grades: npt.NDArray[np.uint16]
    listed: npt.NDArray[np.bool_]
    ideal: npt.NDArray[np.int64]
    ideals: tuple[tuple[int, ...], ...]

    def measure_orders(self, orders: Sequence[Order], where: str) -> dict[str, Float64]:
        """Return the values of every measure, float64[n] each, for one order of positions per query, best first.

        Raises ResultError, which names `where` and the query, for an order that is none of the query's candidates.
        """
        if len(orders) != len(self.query_ids):
            raise ResultError(f"{where}: {len(orders)} queries, the task has {len(self.query_ids)}")
        lengths = np.array([len(order) for order in orders], np.int64)
        rows = np.repeat(np.arange(len(orders)), lengths)
        places = np.concatenate(orders).astype(np.int64) if len(rows) else np.empty(0, np.int64)
        self._check_orders(rows, places, where)
        ranks = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        top = ranks < CUTOFF
        ranked = np.zeros((len(orders), CUTOFF), np.uint16)
        ranked[rows[top], ranks[top]] = self.grades[rows[top], places[top]]
        return {str(name): values for name, values in measure_grades(ranked, self.ideal, self.ideals).items()}

    def _check_orders(self, rows: npt.NDArray[np.int64], places: npt.NDArray[np.int64], where: str) -> None:
        width = self.listed.shape[1]
        inside = places < width
        seen = np.bincount((rows * width + places)[inside], minlength=self.listed.size).reshape(self.listed.shape)
        wrong = (seen != self.listed).any(axis=1)
        wrong[rows[~inside]] = True
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ResultError(
                f"{where}: query {self.query_ids[row]!r}: the order is not one of its {self.listed[row].sum()} "
                "candidates"
            )

    def measure_first_stage(self) -> dict[str, Float64]:
        """Return the values of every measure for the first stage's order."""
        return self.measure_orders([np.flatnonzero(row).astype(np.uint8) for row in self.listed], "first stage")


def load_packed_judgements(
    path: Path, task: Task, depth: int, *, limit: int | None = None, sample: Sample | None = None
) -> PackedJudgements:
    """Read a pack for the queries and the depth of a result. CandidatesError if it is damaged."""
    return _load_judgements(path, path.stat().st_mtime_ns, task, depth, limit, sample)


@lru_cache(maxsize=64)  # the lists of a whole suite: every submission has rankings of them all
def _load_judgements(
    path: Path, modified_ns: int, task: Task, depth: int, limit: int | None, sample: Sample | None
) -> PackedJudgements:
    return unpack_judgements(read_pack(path), task, depth, limit=limit, sample=sample)


def unpack_judgements(
    pack: JudgementPack, task: Task, depth: int, *, limit: int | None = None, sample: Sample | None = None
) -> PackedJudgements:
    """Return the judgements of the chosen queries of a pack (arguments as in `make_packed_plan`)."""
    chosen, _ = choose_queries(task, [query.query_id for query in pack.queries], sample=sample, limit=limit)
    wanted = set(chosen)
    queries = [query for query in pack.queries if query.query_id in wanted]
    width = max((len(query.ties) for query in queries), default=0)
    grades, listed = np.zeros((len(queries), width), np.uint16), np.zeros((len(queries), width), np.bool_)
    ideals: dict[tuple[int, ...], int] = {}
    ideal, clusters, numbers = [], [], dict[int, int]()
    for row, query in enumerate(queries):
        grades[row, query.relevant] = query.relevant_grades
        kept = np.ones(len(query.ties), np.bool_)
        kept[query.own] = False
        listed[row, np.flatnonzero(kept)[:depth]] = True
        all_grades = sorted([*query.relevant_grades.tolist(), *query.outside_grades.tolist()], reverse=True)
        ideal.append(ideals.setdefault(tuple(all_grades), len(ideals)))
        clusters.append(numbers.setdefault(query.cluster, len(numbers)))
    query_ids = tuple(query.query_id for query in queries)
    return PackedJudgements(
        pack.info,
        pack.sha256,
        query_ids,
        np.array(clusters, np.int64),
        find_query_parts(task, query_ids),
        grades,
        listed,
        np.array(ideal, np.int64),
        tuple(ideals),
    )
