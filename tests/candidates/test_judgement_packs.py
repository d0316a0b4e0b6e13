"""Judgement packs: every number of a ranking without the data and without the list, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrb.candidates.judgement_packs import JudgementPack, build_pack, check_pack, find_pack, read_pack, write_pack
from mrb.data.task import Sample, load_suite, load_task
from mrb.errors import CandidatesError, ResultError
from mrb.evaluation.measure import measure
from mrb.evaluation.packed_plan import make_packed_plan
from mrb.evaluation.packed_values import load_packed_judgements, unpack_judgements
from mrb.evaluation.plan import Plan, load_plan, make_plan
from mrb.evaluation.spec import TaskSpec
from mrb.rerankers.declaration import load_reranker
from mrb.submission.rankings import rank_queries, restore_scores


def make_pack(plan: Plan) -> JudgementPack:
    return build_pack(plan.data, plan.candidates)


@pytest.fixture(scope="module")
def faq() -> Plan:
    return load_plan(TaskSpec(load_task("mini-faq-t2t"), 100, None))


@pytest.mark.parametrize("task_id", load_suite("mini").tasks)
def test_a_pack_gives_the_result_and_every_value_of_data_and_list(task_id: str, tmp_path: Path) -> None:
    plan = load_plan(TaskSpec(load_task(task_id), 40, None))
    path = tmp_path / f"{task_id}.judgements"
    write_pack(make_pack(plan), path)
    packed = make_packed_plan(read_pack(path), plan.data.task, 40)
    # Few distinct scores, so that the order of ties decides much, and failed pairs.
    draw = np.random.default_rng(0)
    scores = {query: draw.integers(0, 5, plan.size(query)).astype(np.float32) for query in plan.query_ids}
    scores[plan.query_ids[0]][3:5] = np.nan
    info = load_reranker("random").info
    ours, theirs = (measure(one, scores, info) for one in (plan, packed))
    assert theirs.result == ours.result
    assert theirs.per_query.equals(ours.per_query)
    rows = list(rank_queries(plan, scores, keep_scores=False))
    judged = load_packed_judgements(path, plan.data.task, 40)
    values = judged.measure_orders([row.order for row in rows], "here")
    for name, column in values.items():
        np.testing.assert_array_equal(column, ours.per_query[name].to_numpy())
    assert judged.query_ids == plan.query_ids and judged.clusters.tolist() == ours.per_query["cluster"].to_pylist()
    assert judged.measure_first_stage()["nDCG@10"].mean() == pytest.approx(ours.result.first_stage["nDCG@10"].mean)
    restored = [restore_scores(one, rows, path) for one in (plan, packed)]
    for query in plan.query_ids:
        np.testing.assert_array_equal(*(one[query] for one in restored))


def test_a_sample_and_a_limit_take_the_queries_that_the_data_gives(faq: Plan) -> None:
    pack, task = make_pack(faq), faq.data.task
    assert unpack_judgements(pack, task, 10, limit=7).query_ids == faq.query_ids[:7]
    for chosen in ({"sample": Sample(queries=20)}, {"limit": 7}):
        ours = make_plan(faq.data, faq.candidates, 10, **chosen)  # type: ignore[arg-type]
        theirs = make_packed_plan(pack, task, 10, **chosen)  # type: ignore[arg-type]
        assert theirs.query_ids == ours.query_ids and theirs.info == ours.info


def test_self_matches_and_documents_outside_the_list_are_counted(faq: Plan) -> None:
    arguana_like = faq.data.task.model_copy(
        update={"rules": faq.data.task.rules.model_copy(update={"drop_identical_ids": True})}
    )
    query_id = faq.query_ids[0]
    listed, _ = faq.candidates.get(query_id)
    renamed = faq.candidates.doc_ids.to_pylist()
    renamed[2] = query_id  # the third candidate of the first query is the query itself
    candidates = replace(faq.candidates, doc_ids=pa.array(renamed))
    judged = {query_id: {query_id: 1, listed[5]: 2, "elsewhere": 3}}
    data = replace(faq.data, task=arguana_like, qrels={**faq.data.qrels, **judged})
    plan = make_plan(data, candidates, 10)
    packed = make_packed_plan(build_pack(data, candidates), arguana_like, 10)
    assert packed.self_matches == plan.self_matches == 1
    given = {query: np.arange(plan.size(query), dtype=np.float32) for query in plan.query_ids}
    info = load_reranker("random").info
    assert measure(packed, given, info).result == measure(plan, given, info).result


def test_an_order_that_is_none_of_the_candidates_is_refused(faq: Plan) -> None:
    judged = unpack_judgements(make_pack(faq), faq.data.task, 10, limit=2)
    good = np.arange(10, dtype=np.uint8)
    for bad in (good[:9], np.array([*range(9), 10], np.uint8), np.array([*range(9), 8], np.uint8), good + 90):
        with pytest.raises(ResultError, match=f"here: query '{faq.query_ids[1]}': the order is not one of its 10 cand"):
            judged.measure_orders([good, bad], "here")
    with pytest.raises(ResultError, match="here: 1 queries, the task has 2"):
        judged.measure_orders([good], "here")


def test_a_pack_is_found_by_its_list(faq: Plan, tmp_path: Path) -> None:
    task_id, sha256 = "mini-faq-t2t", faq.candidates.sha256
    path = tmp_path / "bm25s" / f"{task_id}.judgements"
    write_pack(make_pack(faq), path)
    for given in (path.parent, path.with_suffix(".parquet"), tmp_path):
        assert find_pack(task_id, given, sha256) == path
        assert find_pack(task_id, given, "0" * 64) is None
    assert find_pack("mini-flag-t2i", tmp_path, sha256) is None and find_pack(task_id, None, sha256) is None
    path.with_name("mini-flag-t2i.judgements").write_bytes(b"PAR1")
    with pytest.raises(CandidatesError, match=r"mini-flag-t2i.judgements: damaged parquet"):
        find_pack("mini-flag-t2i", tmp_path, sha256)


@pytest.mark.parametrize("field", ["task", "task_hash", "revision"])
def test_a_pack_of_something_else_is_refused(faq: Plan, field: str) -> None:
    info = make_pack(faq).info.model_copy(update={field: "f" * 64})
    with pytest.raises(CandidatesError, match=f"here: its {field} is f+, mini-faq-t2t has .*candidates pack"):
        check_pack(info, faq.data.task, "here")


def _change(column: str, cell: object) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        field = table.schema.field(column)
        cells = table.column(column).to_pylist()
        cells[0] = cell
        return table.set_column(table.schema.get_field_index(column), field, pa.array(cells, field.type))

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_change("ties", b"\x00\x00"), "the order of ties is not one"),
        (_change("ties", bytes(range(101))), "a list of 100"),
        (_change("own", b"\xff"), "own is not a set of positions among 100"),
        (_change("relevant", b"\x02\x01"), "relevant is not a set of positions"),
        (_change("relevant_grades", b"\x01"), "two bytes each"),
        (_change("relevant_grades", b""), "0 grades of"),
        (_change("outside_grades", b"\xff\xff"), "grades are 1 to 10000"),
        (_change("outside_grades", b"\x00\x00"), "grades are 1 to 10000"),
        (_change("cluster", 77), "the content's hash is"),
        (lambda table: pa.concat_tables([table, table]), "a query occurs twice"),
        (lambda table: table.replace_schema_metadata({}), "not the metadata of a judgement pack"),
        (lambda table: table.drop_columns(["own"]), "wanted query_id string"),
    ],
)
def test_a_damaged_or_forged_pack_is_refused_by_name(
    faq: Plan, tmp_path: Path, change: Callable[[pa.Table], pa.Table], words: str
) -> None:
    path = tmp_path / "mini-faq-t2t.judgements"
    write_pack(make_pack(faq), path)
    pq.write_table(change(pq.read_table(path)), path, use_dictionary=False)
    with pytest.raises(CandidatesError, match=words) as caught:
        read_pack(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_list_that_a_position_cannot_count_is_refused(faq: Plan) -> None:
    query_id = faq.query_ids[0]
    wide = replace(
        faq.candidates,
        offsets=np.array([0, 300]),
        query_ids=(query_id,),
        doc_ids=pa.array([f"d{place}" for place in range(300)]),
        scores=-np.arange(300, dtype=np.float32),
    )
    with pytest.raises(CandidatesError, match=f"query '{query_id}': a list of 300 candidates; a pack holds up to 256"):
        build_pack(faq.data, wide)
