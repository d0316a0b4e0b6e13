"""The measures (nDCG@10, ...) and their computation for each query.

A measure's text form (`nDCG@10`) is its key in files and its name on pages. Values come from trec_eval (Voorhees and
Harman, 2005) through pytrec_eval (Van Gysel and de Rijke, SIGIR 2018, arXiv 1805.01597). `docs/scoring.md` has the
formulas; `tests/metrics/test_measures_oracle.py` compares with an independent implementation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from operator import index
from typing import Self

import numpy as np
import numpy.typing as npt
import pytrec_eval

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Rankings = Mapping[str, Sequence[str]]
Qrels = Mapping[str, Mapping[str, int]]

MAX_GRADE = 10_000  # trec_eval allocates a counter for each grade up to the highest, so a wrong grade could fill memory
_TREC_NAMES: Mapping[str, str] = {"nDCG": "ndcg_cut", "Recall": "recall", "HitRate": "success"}
_FORM = re.compile(r"(nDCG|Recall|HitRate|MRR)@[1-9][0-9]{0,2}")


@dataclass(frozen=True)
class Measure:
    """A measure over the first `cutoff` ranks. `str(measure)` is its text form in files; `parse` reads it."""

    name: str
    cutoff: int

    def __post_init__(self) -> None:
        _check(str(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the measure of a text form. ValueError unless it is a known name, "@" and a cutoff from 1 to 999."""
        _check(text)
        name, _, cutoff = text.partition("@")
        return cls(name, int(cutoff))

    def __str__(self) -> str:
        return f"{self.name}@{self.cutoff}"


def _check(text: str) -> None:
    if _FORM.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a measure: nDCG, Recall, HitRate or MRR, then @, then a cutoff up to 999")


_TEXTS = ("nDCG@5", "nDCG@10", "HitRate@1", "HitRate@5", "HitRate@10", "Recall@5", "Recall@10", "MRR@10")
MEASURES = tuple(Measure.parse(text) for text in _TEXTS)
HEADLINE = Measure("nDCG", 10)


@dataclass(frozen=True)
class PerQuery:
    """Values per query: `values[measure]` is float64[n], fractions, in the order of `query_ids`."""

    query_ids: tuple[str, ...]
    values: Mapping[Measure, Float64]


def measure_queries(rankings: Rankings, qrels: Qrels, measures: Iterable[Measure] = MEASURES) -> PerQuery:
    """Compute measures for every query of `qrels`, in its order.

    A query without a ranking scores 0. Grades of 0 or less count as not relevant. The ideal of nDCG and the denominator
    of recall use all judged positives, ranked or not.

    Args:
        rankings: Query id -> document ids, best first; they may be longer than any cutoff.
        qrels: Query id -> document id -> grade.
        measures: The measures to compute.

    Raises:
        ValueError: A query has no positives (its task should have excluded it), a ranked query is not in `qrels`, a
            document is twice in one ranking, or a grade is over 10,000.
    """
    unknown = rankings.keys() - qrels.keys()
    if unknown:
        raise ValueError(f"query {min(unknown)!r} has a ranking but no judgements")
    for query_id, ranking in rankings.items():
        if len(set(ranking)) != len(ranking):
            raise ValueError(f"query {query_id!r}: a document occurs twice in its ranking")
    wanted = tuple(dict.fromkeys(measures))
    deepest = max((measure.cutoff for measure in wanted), default=0)
    values = {measure: np.zeros(len(qrels)) for measure in wanted}
    for depth in {_depth(measure, deepest) for measure in wanted}:
        together = {m: values[m] for m in wanted if _depth(m, deepest) == depth}
        _fill(together, rankings, qrels, depth)
    for measure, array in values.items():
        assert ((array >= 0.0) & (array <= 1.0)).all(), f"{measure} outside [0, 1]"  # NaN fails this too
    return PerQuery(tuple(qrels), values)


def measure_grades(
    ranked: npt.NDArray[np.integer],
    ideal: Int64,
    ideals: Sequence[tuple[int, ...]],
    measures: Iterable[Measure] = MEASURES,
) -> dict[Measure, Float64]:
    """Compute measures from grades instead of ids; the values are those of `measure_queries`.

    Args:
        ranked: The grade at each rank, int[n, width]; `width` is at least every cutoff, 0 fills shorter rankings.
        ideal: The row of each query in `ideals`, int64[n].
        ideals: The grades of all judged positives of a query, ranked or not.
        measures: The measures to compute.

    Returns:
        The values per query, float64[n], of each measure.
    """
    wanted = tuple(dict.fromkeys(measures))
    values: dict[Measure, Float64] = {}
    for depth in {_depth(measure, ranked.shape[1]) for measure in wanted}:
        rows = np.column_stack([ideal, ranked[:, :depth].astype(np.int64)])
        distinct, which = _find_distinct_rows(rows)
        patterns = []
        for number, *grades in distinct.tolist():
            unranked = Counter(ideals[number])
            unranked.subtract(grade for grade in grades if grade)
            patterns.append((tuple(grades), tuple(sorted(unranked.elements(), reverse=True))))
        together = [measure for measure in wanted if _depth(measure, ranked.shape[1]) == depth]
        found = _measure_patterns(together, patterns)
        values |= {measure: found[measure][which] for measure in together}
    return {measure: values[measure] for measure in wanted}


def rank_by_grade(doc_ids: Sequence[str], grades: Mapping[str, int]) -> list[str]:
    """Return the oracle ranking of `doc_ids`, which is the best for all measures: grade descending, ties as given.

    Unjudged documents count as grade 0. Its measures are the best that any reranker can reach on a candidate list.
    """
    positives = {doc_id for doc_id, grade in grades.items() if grade > 0}
    found = sorted([doc_id for doc_id in doc_ids if doc_id in positives], key=lambda doc_id: -grades[doc_id])
    return found + [doc_id for doc_id in doc_ids if doc_id not in positives]


def _find_distinct_rows(rows: Int64) -> tuple[Int64, npt.NDArray[np.intp]]:
    """Return the distinct rows of natural numbers, and for each row its place among them.

    As `np.unique(rows, axis=0, return_inverse=True)`, in less time: a row becomes one number, and numbers are sorted
    in place of rows.
    """
    keys, several = np.zeros(len(rows), np.int64), 1
    for column in rows.T:
        base = int(column.max(initial=0)) + 1
        if several * base > np.iinfo(np.int64).max:  # the numbers so far become places among themselves
            known, keys = np.unique(keys, return_inverse=True)
            several = len(known)
        keys, several = keys * base + column, several * base
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    return rows[first], which


def _depth(measure: Measure, deepest: int) -> int:
    """Return how many ranks trec_eval gets. Its reciprocal rank silently ignores a cutoff, so for MRR the ranking is
    cut before; the other measures apply their cutoff."""
    return measure.cutoff if measure.name == "MRR" else deepest


def _trec_name(measure: Measure, separator: str) -> str:
    return "recip_rank" if measure.name == "MRR" else f"{_TREC_NAMES[measure.name]}{separator}{measure.cutoff}"


_Pattern = tuple[tuple[int, ...], tuple[int, ...]]
"""What determines the measures of one ranking: the grade at each rank (0: not relevant), and the grades of the
unranked positives, descending."""


def _fill(values: Mapping[Measure, Float64], rankings: Rankings, qrels: Qrels, depth: int) -> None:
    """Write the measures over rankings cut to `depth` into `values`, whose arrays are in the order of `qrels`.

    Most queries have few positives, so there are few distinct patterns: trec_eval runs once per pattern, not per query.
    """
    patterns: dict[_Pattern, int] = {}
    numbers = np.empty(len(qrels), np.int64)
    for row, (query_id, grades) in enumerate(qrels.items()):
        pattern = _make_pattern(query_id, rankings.get(query_id, ())[:depth], grades)
        numbers[row] = patterns.setdefault(pattern, len(patterns))
    for measure, found in _measure_patterns(list(values), list(patterns)).items():
        values[measure][:] = found[numbers]


def _measure_patterns(measures: Sequence[Measure], patterns: Sequence[_Pattern]) -> dict[Measure, Float64]:
    """Return the measures of each pattern. One without a ranking scores 0, because trec_eval omits it.

    trec_eval gets positions, not document ids: its C code ends a string at a NUL and crashes on invalid Unicode.
    """
    judged: dict[str, dict[str, int]] = {}
    runs: dict[str, dict[str, float]] = {}
    for row, (ranked, unranked) in enumerate(patterns):
        judged[str(row)] = {str(rank): grade for rank, grade in enumerate(ranked) if grade}
        judged[str(row)] |= {f"unranked {number}": grade for number, grade in enumerate(unranked)}
        if ranked:
            runs[str(row)] = _integer_scores(len(ranked))
    found = pytrec_eval.RelevanceEvaluator(judged, {_trec_name(m, ".") for m in measures}).evaluate(runs)
    values = {measure: np.zeros(len(patterns)) for measure in measures}
    keys = {measure: _trec_name(measure, "_") for measure in measures}
    for row_id, numbers in found.items():
        for measure, key in keys.items():
            values[measure][int(row_id)] = numbers[key]
    return values


def _make_pattern(query_id: str, ranking: Sequence[str], grades: Mapping[str, int]) -> _Pattern:
    positives = {doc_id: index(grade) for doc_id, grade in grades.items() if grade > 0}
    if not positives:
        raise ValueError(f"query {query_id!r} has no positives; it cannot be scored")
    if max(positives.values()) > MAX_GRADE:
        raise ValueError(f"query {query_id!r} has a grade over {MAX_GRADE}")
    ranked = tuple(map(positives.pop, ranking, repeat(0)))
    return ranked, tuple(sorted(positives.values(), reverse=True))


@cache
def _integer_scores(length: int) -> dict[str, float]:
    """Return a run of `length` documents named by position. The scores are distinct small integers, exact in
    trec_eval's float32, so that its own tie rule (document id, descending) never applies."""
    return {str(rank): float(length - rank) for rank in range(length)}
