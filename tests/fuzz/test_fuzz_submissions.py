"""Mutated submissions: refused in one line, or everything that can be computed is what the rankings give."""

from __future__ import annotations

import copy
import json
import math
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrb._util.hashing import hash_file
from mrb.candidates.lists import read_parquet
from mrb.data.load import load_task_data
from mrb.data.task import load_task, locate_task_folder
from mrb.errors import MRBError
from mrb.submission.rankings import SCORED
from mrb.submission.reader import read_submission_folder
from mrb.submission.validate import validate_submission
from tests.fuzz.mutations import ACCEPTED, changed, examples, put, spliced, splices

pytestmark = pytest.mark.slow

TASK = "mini-faq-t2t"
Json = dict[str, Any]


def accepted(folder: Path) -> bool:
    """Whether the validator takes it; a refusal is one printable line, anything else escapes."""
    try:
        checked = validate_submission(read_submission_folder(folder))
    except MRBError as error:
        assert str(error).isprintable() and len(str(error)) < 2000, repr(str(error))
        return False
    assert checked.recomputed == (TASK,) and not checked.not_recomputed
    return True


def computed(stated: Json) -> Json:
    """What of a submission can be computed: all but who made it, how, and what they say of it."""
    results = {task: {k: v for k, v in one.items() if k != "reranker"} for task, one in stated["results"].items()}
    return {**{k: stated[k] for k in ("suite", "suite_version", "rankings", "averages")}, "results": results}


def same(one: object, other: object) -> bool:
    """Equal, numbers to 1e-9."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return isinstance(one, (int, float)) and isinstance(other, (int, float)) and abs(one - other) <= 1e-9
    return one == other


@pytest.fixture(scope="module")
def place(pristine: Path, room: Path) -> Path:
    copy = Path(shutil.copytree(pristine, room / pristine.name))
    assert accepted(copy)
    return copy


@examples(60)
@given(st.data())
def test_mutated_json_is_refused_or_tells_no_lie(place: Path, pristine: Path, data: st.DataObject) -> None:
    honest = json.loads((pristine / "submission.json").read_text())
    stated = data.draw(st.one_of(changed(honest), st.just(copy.deepcopy(honest))))
    if stated == honest:  # what nobody can compute may be anything
        stated["model"]["parameters"] = data.draw(st.integers(1, 10**12))
    put(place / "submission.json", json.dumps(stated).encode("utf-8", "surrogatepass"))
    ACCEPTED.append(accepted(place) and stated != honest)
    if ACCEPTED[-1]:
        assert same(computed(stated), computed(honest))


@examples(40)
@given(st.data())
def test_mutated_bytes_of_the_json(place: Path, pristine: Path, data: st.DataObject) -> None:
    honest = (pristine / "submission.json").read_bytes()
    longer = st.integers(1, 99).map(lambda n: honest + b"\n" * n)
    mutated = data.draw(st.one_of(longer, splices(len(honest)).map(partial(spliced, honest))))
    put(place / "submission.json", mutated)
    ACCEPTED.append(accepted(place) and mutated != honest)
    if ACCEPTED[-1]:
        assert same(computed(json.loads((place / "submission.json").read_bytes())), computed(json.loads(honest)))


@pytest.fixture(scope="module")
def mean_ndcg() -> Any:
    """`mean_ndcg(order by query)`: nDCG@10 in float64, by its formula and none of the package's measures."""
    task = load_task(TASK)
    assert task.candidates is not None
    lists, qrels = read_parquet(locate_task_folder() / task.candidates.file), load_task_data(task).qrels

    def ndcg(query_id: str, order: bytes) -> float:
        listed, grades = lists.get(query_id)[0], qrels[query_id]
        gain = sum(grades.get(listed[p], 0) / math.log2(rank + 2) for rank, p in enumerate(order[:10]))
        best = sorted(grades.values(), reverse=True)[:10]
        return gain / sum(grade / math.log2(rank + 2) for rank, grade in enumerate(best))

    return lambda orders: float(np.mean([ndcg(query_id, order) for query_id, order in orders.items()]))


def resealed(place: Path, pristine: Path) -> None:
    """The pristine text with the hash of the rankings that lie there now."""
    stated = json.loads((pristine / "submission.json").read_text())
    stated["rankings"][TASK]["sha256"] = hash_file(place / "rankings" / f"{TASK}.parquet")
    put(place / "submission.json", json.dumps(stated).encode())


def holds(place: Path, mean_ndcg: Any) -> None:
    """What was accepted states the mean that its orders give."""
    table = pq.read_table(place / "rankings" / f"{TASK}.parquet")
    orders = dict(zip(*(table.column(name).to_pylist() for name in ("query_id", "order")), strict=True))
    stated = json.loads((place / "submission.json").read_text())["results"][TASK]["measures"]["nDCG@10"]["mean"]
    assert abs(stated - mean_ndcg(orders)) < 1e-9


@examples(40)
@given(st.data())
def test_mutated_rankings_are_refused_or_give_the_numbers(
    place: Path, pristine: Path, mean_ndcg: Any, data: st.DataObject
) -> None:
    rows = pq.read_table(pristine / "rankings" / f"{TASK}.parquet").to_pylist()
    kinds = data.draw(
        st.sampled_from([["doubled"], ["swap", "scores", "both", "gone", "twice", "cut", "id", "doubled"]])
    )
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.integers(0, len(rows) - 1))
        cell = rows[row] = dict(rows[row])
        kind = data.draw(st.sampled_from(kinds))
        a, b = data.draw(st.tuples(st.integers(0, 24), st.integers(0, 24)))
        order, scores = bytearray(cell["order"]), np.frombuffer(cell["scores"], "<f4").copy()
        if kind in ("swap", "both") and max(a, b) < len(order):
            order[a], order[b] = order[b], order[a]
        if kind in ("scores", "both") and a < len(scores):
            scores[a] = data.draw(st.sampled_from([np.nan, np.inf, 0.0, -0.0, scores[b % len(scores)], 1e-45, 3e38]))
        if kind == "doubled":  # the same order
            scores *= 2
        if kind == "cut":
            order, scores = order[:a], scores[:b]
        rows[row] = {"query_id": cell["query_id"], "order": bytes(order), "scores": scores.tobytes()}
        if kind == "id":
            rows[row]["query_id"] = rows[b % len(rows)]["query_id"]
        elif kind == "twice":
            rows.append(rows[row])
        elif kind == "gone" and len(rows) > 1:
            del rows[row]
    path = place / "rankings" / f"{TASK}.parquet"
    pq.write_table(
        pa.Table.from_pylist(rows, schema=SCORED),
        path,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
    )
    resealed(place, pristine)
    ACCEPTED.append(accepted(place) and path.read_bytes() != (pristine / "rankings" / path.name).read_bytes())
    if ACCEPTED[-1]:
        holds(place, mean_ndcg)


@examples(25)
@given(st.data())
def test_mutated_bytes_of_the_rankings(place: Path, pristine: Path, mean_ndcg: Any, data: st.DataObject) -> None:
    honest = (pristine / "rankings" / f"{TASK}.parquet").read_bytes()
    writer = st.text("ARROW", min_size=5, max_size=5).map(lambda name: b"parquet-cpp-" + name.encode())
    other = writer.map(lambda name: honest.replace(b"parquet-cpp-arrow", name))
    mutated = data.draw(st.one_of(other, splices(len(honest)).map(partial(spliced, honest))))
    put(place / "rankings" / f"{TASK}.parquet", mutated)
    resealed(place, pristine)
    ACCEPTED.append(accepted(place) and mutated != honest)
    if ACCEPTED[-1]:
        holds(place, mean_ndcg)
