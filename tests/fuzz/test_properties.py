"""What holds of measures, rankings, lists and results whatever the input is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrb.candidates import lists
from mrb.candidates.lists import Provenance
from mrb.errors import CandidatesError, MRBError
from mrb.metrics.measures import MEASURES, measure_queries, rank_by_grade
from mrb.metrics.ranking import rank_candidates
from mrb.results.schema import read_result
from tests.builders.oracle import expected_value
from tests.fuzz.mutations import ACCEPTED, changed, examples, put

pytestmark = pytest.mark.slow

IDS = st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=30, unique=True)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
SCORES = st.one_of(FLOATS, st.sampled_from([0.0, -0.0, 1.0, 1.0000001]))


@st.composite
def judged(draw: st.DrawFn) -> tuple[list[str], dict[str, int]]:
    """A ranking and the grades of some of its documents and of others; at least one is relevant."""
    ids = draw(IDS)
    grades = draw(st.dictionaries(st.sampled_from([*ids, "elsewhere", "\x00"]), st.integers(-1, 4), max_size=8))
    return ids, {**grades, draw(st.sampled_from([*ids, "nowhere"])): draw(st.integers(1, 3))}


@examples(40)
@given(st.lists(judged(), min_size=1, max_size=6))
def test_measures_are_their_formulas_whatever_is_beside_them(cases: list[tuple[list[str], dict[str, int]]]) -> None:
    rankings = {f"q{n}": ids for n, (ids, _) in enumerate(cases)}
    found = measure_queries(rankings, {f"q{n}": grades for n, (_, grades) in enumerate(cases)})
    for measure in MEASURES:
        wanted = [expected_value(measure.name, measure.cutoff, ids, grades) for ids, grades in cases]
        assert found.values[measure] == pytest.approx(wanted, abs=1e-6)


@examples(30)
@given(judged(), st.integers(0, 29), st.integers(0, 29))
def test_a_better_order_is_never_worse_and_the_ceiling_is_the_best(
    case: tuple[list[str], dict[str, int]], a: int, b: int
) -> None:
    ids, grades = case
    first, second = sorted((a % len(ids), b % len(ids)))
    better = list(ids)
    if grades.get(ids[second], 0) > max(grades.get(ids[first], 0), 0):
        better[first], better[second] = better[second], better[first]
    best = rank_by_grade(ids, grades)
    assert sorted(best) == sorted(ids)
    found = [measure_queries({"q": order}, {"q": grades}) for order in (ids, better, best)]
    for measure in MEASURES:
        worse, middle, most = (float(one.values[measure][0]) for one in found)
        assert worse <= middle + 1e-9 and middle <= most + 1e-9


@st.composite
def scored(draw: st.DrawFn) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Ids, float32 scores with ties, and which pairs failed."""
    ids = draw(IDS)
    scores = draw(st.lists(SCORES, min_size=len(ids), max_size=len(ids)))
    failed = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    return ids, np.array(scores, np.float32), np.array(failed)


@examples(40)
@given(scored(), st.randoms(), st.integers(1, 30))
def test_a_ranking_knows_neither_order_nor_company(case, random, depth: int) -> None:  # type: ignore[no-untyped-def]
    ids, scores, failed = case
    order = rank_candidates("t", "q", ids, scores, failed=failed)
    assert sorted(order.tolist()) == list(range(len(ids)))
    ranked = scores[order][~failed[order]]
    assert (np.diff(ranked) <= 0).all() and not failed[order][: len(ranked)].any()
    shuffled = random.sample(range(len(ids)), len(ids))
    again = rank_candidates("t", "q", [ids[p] for p in shuffled], scores[shuffled], failed=failed[shuffled])
    assert [ids[shuffled[p]] for p in again] == [ids[p] for p in order]
    # What `mrb.evaluation.measure` relies on for its depth curve.
    head = rank_candidates("t", "q", ids[:depth], scores[:depth], failed=failed[:depth])
    assert head.tolist() == [p for p in order.tolist() if p < depth]


MADE = Provenance(task="t", list_hash="a" * 64, revision="r", first_stage="f", track="k", depth=30)
UNIQUE = {"unique_by": lambda row: row[0], "max_size": 5}
LISTS = st.lists(st.tuples(st.text(max_size=5), IDS, st.lists(FLOATS, min_size=30, max_size=30)), **UNIQUE)


@examples(20)
@given(LISTS)
def test_a_list_is_read_as_it_was_written(room: Path, rows: list[tuple[str, list[str], list[float]]]) -> None:
    falling = [(query_id, ids, sorted(scores[: len(ids)], reverse=True)) for query_id, ids, scores in rows]
    try:
        made = lists.build_candidates(MADE, falling)
        lists.write_parquet(made, room / "list.parquet")
    except CandidatesError:
        ACCEPTED.append(False)
        return
    ACCEPTED.append(True)
    found = lists.read_parquet(room / "list.parquet")
    assert found.sha256 == made.sha256
    assert [(q, ids, s.tobytes()) for q, ids, s in found.lists()] == [(q, i, s.tobytes()) for q, i, s in made.lists()]


@examples(30)
@given(st.data())
def test_a_list_that_was_changed_is_refused(room: Path, data: st.DataObject) -> None:
    made = lists.build_candidates(
        MADE, [(f"q{q}", [f"d{q + n}" for n in range(6)], np.arange(6, 0, -1)) for q in range(4)]
    )
    path = room / "changed.parquet"
    lists.write_parquet(made, path)
    table = pq.read_table(path)
    rows = table.to_pylist()
    for _ in range(data.draw(st.integers(1, 3))):
        row, column = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.sampled_from(table.column_names))
        other = rows[data.draw(st.integers(0, len(rows) - 1))][column]
        rows[row] = {**rows[row], column: data.draw(st.sampled_from([other, None]))}
    changed_rows = type(table).from_pylist(rows, schema=table.schema)
    pq.write_table(changed_rows, path)
    try:
        found = lists.read_parquet(path)
    except CandidatesError as error:
        assert str(path) in str(error)
        ACCEPTED.append(False)
    else:
        ACCEPTED.append(True)
        assert found.sha256 == made.sha256 and changed_rows.equals(table.replace_schema_metadata(table.schema.metadata))


@examples(30)
@given(st.data())
def test_a_result_that_was_changed_is_read_whole_or_refused(pristine: Path, room: Path, data: st.DataObject) -> None:
    (honest,) = json.loads((pristine / "submission.json").read_text())["results"].values()
    stated = data.draw(changed(honest))
    path = room / "result.json"
    put(path, json.dumps(stated).encode("utf-8", "surrogatepass"))
    try:
        result = read_result(path)
    except MRBError as error:
        assert str(path) in str(error)
        ACCEPTED.append(False)
        return
    ACCEPTED.append(stated != honest)
    for row in (result.measures, result.first_stage):
        for name, interval in row.items():
            assert 0 <= interval.low <= interval.mean <= interval.high <= 1
            assert interval.mean <= result.oracle[name].mean + 1e-9
    assert json.loads(json.dumps(result.model_dump(mode="json"))).keys() == json.loads(path.read_text()).keys() | {
        field for field in type(result).model_fields if field not in stated
    }
