"""The candidate list file: what is written is read, damage and mismatch are refused by name."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrb.candidates import lists
from mrb.candidates.lists import (
    Candidates,
    Provenance,
    build_candidates,
    check_ids,
    check_task,
    read_parquet,
    write_parquet,
    write_trec,
)
from mrb.errors import CandidatesError
from tests.builders.toy import toy_task

LISTS = [
    ("q2", ["d3", "d1"], [2.5, -1.0]),
    ("forum/ä", ["d1"], [0.1]),
    ("q0", ["d2", "d9", "d1"], [1.0, 1.0, 1.0]),
]


@pytest.fixture
def made() -> Provenance:
    task = toy_task()
    return Provenance(
        task="toy", list_hash=task.list_hash, revision=task.revision, first_stage="bm25", track="standard", depth=3
    )


@pytest.fixture
def written(made: Provenance, tmp_path: Path) -> tuple[Candidates, Path]:
    candidates = build_candidates(made, LISTS)
    write_parquet(candidates, tmp_path / "toy.parquet")
    return candidates, tmp_path / "toy.parquet"


def rewrite(path: Path, change: Callable[[dict[str, list[Any]]], None], **metadata: Any) -> None:
    """Change the columns or the metadata of a list's file, leaving the rest as it is."""
    table = pq.read_table(path)
    columns = table.to_pydict()
    change(columns)
    stated = {**json.loads(table.schema.metadata[b"mrb"]), **metadata}
    schema = table.schema.with_metadata({b"mrb": json.dumps(stated).encode()})
    pq.write_table(pa.table(columns, schema=schema), path)


def test_a_list_is_read_as_it_was_written(written: tuple[Candidates, Path]) -> None:
    candidates, path = written
    found = read_parquet(path)
    assert found.provenance == candidates.provenance
    assert found.query_ids == ("q2", "forum/ä", "q0")
    assert [(q, ids, scores.tolist()) for q, ids, scores in found.lists()] == [
        (q, ids, np.float32(scores).tolist()) for q, ids, scores in LISTS
    ]
    assert found.sha256 == candidates.sha256
    assert found.pairs == 6
    assert "q0" in found
    assert "q7" not in found
    assert found.get("q7")[0] == []


def test_the_hash_is_the_documented_one(written: tuple[Candidates, Path]) -> None:
    import hashlib

    lines = [b'["toy"]']
    for query_id, ids, scores in LISTS:
        bits = np.array(scores, "<f4").tobytes().hex()
        lines.append(json.dumps([query_id, ids, bits], separators=(",", ":"), ensure_ascii=False).encode())
    assert written[0].sha256 == hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip"])
def test_the_hash_does_not_depend_on_how_the_file_is_packed(written: tuple[Candidates, Path], compression: str) -> None:
    candidates, path = written
    before = path.read_bytes()
    table = pq.read_table(path)
    pq.write_table(table, path, compression=compression, row_group_size=2, use_dictionary=False)
    assert path.read_bytes() != before
    assert read_parquet(path).sha256 == candidates.sha256


def test_what_a_list_says_enters_its_hash(made: Provenance) -> None:
    original = build_candidates(made, LISTS).sha256
    swapped = [("q2", ["d1", "d3"], [2.5, -1.0]), *LISTS[1:]]
    rescored = [("q2", ["d3", "d1"], [2.5, -1.5]), *LISTS[1:]]
    hashes = {build_candidates(made, changed).sha256 for changed in (swapped, rescored, LISTS[::-1], LISTS[:2])}
    assert original not in hashes
    assert len(hashes) == 4
    assert build_candidates(made.model_copy(update={"task": "other"}), LISTS).sha256 != original


def test_a_query_without_documents_is_not_in_the_list(made: Provenance, tmp_path: Path) -> None:
    candidates = build_candidates(made, [*LISTS, ("q5", [], [])])
    assert "q5" not in candidates
    write_parquet(candidates, tmp_path / "toy.parquet")
    assert read_parquet(tmp_path / "toy.parquet").sha256 == candidates.sha256 == build_candidates(made, LISTS).sha256


def test_an_empty_list_is_a_list(made: Provenance, tmp_path: Path) -> None:
    write_parquet(build_candidates(made, []), tmp_path / "toy.parquet")
    assert len(read_parquet(tmp_path / "toy.parquet")) == 0


@pytest.mark.parametrize(
    ("ids", "scores", "message"),
    [
        (["d1", "d1"], [2, 1], "occurs twice"),
        (["d1", "d2"], [1, 2], "scores rise"),
        (["d1", "d2"], [1, float("nan")], "not a finite number"),
        (["d1", "d2"], [float("inf"), 1], "not a finite number"),
        (["d1", "d2"], [1], "2 documents but 1 scores"),
        (["d1", "d2", "d3", "d4"], [4, 3, 2, 1], "4 documents in a list of depth 3"),
    ],
)
def test_no_list_may_hold(made: Provenance, ids: list[str], scores: list[float], message: str) -> None:
    with pytest.raises(CandidatesError, match=f"query 'q1'.*{message}"):
        build_candidates(made, [("q1", ids, scores)])


def test_a_query_twice_is_refused(made: Provenance) -> None:
    with pytest.raises(CandidatesError, match="query 'q1' occurs twice"):
        build_candidates(made, [("q1", ["d1"], [1]), ("q1", ["d2"], [1])])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["doc_id"].__setitem__(0, "d8"), "the file states"),
        (lambda c: c["score"].__setitem__(0, 3.0), "the file states"),
        (lambda c: c["rank"].__setitem__(0, 2), "ranks do not run"),
        (lambda c: c["score"].__setitem__(1, 3.0), "scores rise"),
        (lambda c: c["score"].__setitem__(0, float("nan")), "not a finite number"),
        (lambda c: c["doc_id"].__setitem__(1, "d3"), "a document occurs twice"),
        (lambda c: c["doc_id"].__setitem__(0, None), "null cells"),
        (lambda c: [column.append(column[0]) for column in c.values()], "query 'q2' occurs twice"),
        (lambda c: [column.pop() for column in c.values()], "the file states"),
    ],
)
def test_a_changed_file_is_refused(
    written: tuple[Candidates, Path], change: Callable[[dict[str, list[Any]]], None], message: str
) -> None:
    rewrite(written[1], change)
    with pytest.raises(CandidatesError, match=message):
        read_parquet(written[1])


@pytest.mark.parametrize("changed", [{"depth": 0}, {"sha256": "x"}, {"list_hash": 7}, {"schema_version": 9}, {"x": 1}])
def test_metadata_that_is_not_a_lists_is_refused(written: tuple[Candidates, Path], changed: dict[str, Any]) -> None:
    rewrite(written[1], lambda columns: None, **changed)
    with pytest.raises(CandidatesError, match="metadata"):
        read_parquet(written[1])


def test_a_list_with_the_stamp_of_an_older_release_says_what_to_do(written: tuple[Candidates, Path]) -> None:
    rewrite(written[1], lambda columns: None, schema_version=1, task_hash="0" * 64)
    with pytest.raises(CandidatesError, match=r"before 0\.2.*make it again with `mrb candidates make`"):
        read_parquet(written[1])


def test_another_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(CandidatesError, match=r"columns a int64; wanted query_id"):
        read_parquet(path)
    with pytest.raises(CandidatesError, match="cannot be read"):
        read_parquet(tmp_path / "missing.parquet")


def test_damage_anywhere_is_refused_or_harmless(written: tuple[Candidates, Path]) -> None:
    """A flipped byte either shows as an error of ours or changes nothing that the list says."""
    candidates, path = written
    data = path.read_bytes()
    draw = random.Random(7)
    for position in [*draw.sample(range(len(data)), 150), 0, len(data) - 1]:
        damaged = bytearray(data)
        damaged[position] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            found = read_parquet(path)
        except CandidatesError:
            continue
        assert found.sha256 == candidates.sha256
        assert list(found.query_ids) == list(candidates.query_ids)
    for length in range(0, len(data), 97):
        path.write_bytes(data[:length])
        with pytest.raises(CandidatesError):
            read_parquet(path)


def test_a_list_of_another_task_revision_or_definition_is_refused(written: tuple[Candidates, Path]) -> None:
    made = written[0].provenance
    check_task(made, toy_task(), "here")
    with pytest.raises(CandidatesError, match="for task 'toy', not for 'other'"):
        check_task(made, toy_task(id="other"), "here")
    with pytest.raises(CandidatesError, match="data revision 999999999999"):
        check_task(made.model_copy(update={"revision": "9" * 64}), toy_task(), "here")
    with pytest.raises(CandidatesError, match=r"made for another definition of toy \(list hash"):
        check_task(made, toy_task(rules={"drop_identical_ids": True}), "here")


def test_ids_outside_the_task_are_refused(written: tuple[Candidates, Path]) -> None:
    candidates = written[0]
    queries, corpus = ["q0", "q2", "forum/ä"], ["d1", "d2", "d3", "d9"]
    check_ids(candidates, queries, corpus, "here")
    with pytest.raises(CandidatesError, match="query 'q2' is not in task toy"):
        check_ids(candidates, ["q0", "forum/ä"], corpus, "here")
    with pytest.raises(CandidatesError, match="query 'q0': document 'd9' is not in the corpus of toy"):
        check_ids(candidates, queries, corpus[:3], "here")


def test_a_trec_run_file_holds_the_same_order_and_scores(written: tuple[Candidates, Path]) -> None:
    candidates, path = written
    trec = path.with_suffix(".trec")
    write_trec(candidates, trec)
    rows = [line.split(" ") for line in trec.read_text(encoding="utf-8").splitlines()]
    assert rows[0] == ["q2", "Q0", "d3", "1", "2.5", "bm25"]
    read = [(query, doc, int(rank), np.float32(score)) for query, _, doc, rank, score, _ in rows]
    assert read == [
        (query, doc, rank, np.float32(score))
        for query, ids, scores in LISTS
        for rank, (doc, score) in enumerate(zip(ids, scores, strict=True), start=1)
    ]


def test_ids_that_a_trec_run_file_cannot_hold_are_refused(made: Provenance, tmp_path: Path) -> None:
    candidates = build_candidates(made, [("a query", ["d1"], [1])])
    with pytest.raises(CandidatesError, match="'a query' has white space"):
        write_trec(candidates, tmp_path / "toy.trec")
    assert not list(tmp_path.iterdir())


def test_a_file_too_large_to_be_a_list_is_not_opened(
    written: tuple[Candidates, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MAX_FILE_BYTES", 100)
    with pytest.raises(CandidatesError, match="larger than 100 bytes"):
        read_parquet(written[1])
