"""Reading what others made: formats, bad numbers, and candidate lists from them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytrec_eval

from mrb.candidates.lists import Candidates, read_parquet, write_parquet, write_trec
from mrb.candidates.score_files import import_candidates, read_scores
from mrb.data.task_data import TaskData
from mrb.errors import CandidatesError, ResultError
from tests.builders.toy import toy_data, toy_task

SCORES = {"q0": {"d0": 3.5, "d1": -1.0, "d2": 2.0}, "q1": {"d2": 0.25, "d3": 0.125}}
TREC = "".join(f"{query} Q0 {doc} 1 {score} tag\n" for query, found in SCORES.items() for doc, score in found.items())


def written(folder: Path, name: str, content: str | bytes | dict[str, Any]) -> Path:
    path = folder / name
    if isinstance(content, dict):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def parquet(folder: Path, **columns: Any) -> Path:
    path = folder / "scores.parquet"
    rows = [(query, doc, score) for query, found in SCORES.items() for doc, score in found.items()]
    default = {name: [row[place] for row in rows] for place, name in enumerate(("query_id", "doc_id", "score"))}
    pq.write_table(pa.table({k: v for k, v in {**default, **columns}.items() if v is not None}), path)
    return path


def test_every_format_gives_the_same_scores(tmp_path: Path) -> None:
    meta = {"mteb_model_meta": {"model_name": "a/b", "revision": "r"}}
    nested = {"default": {"test": SCORES}}
    files = [
        written(tmp_path, "run.trec", TREC),
        written(tmp_path, "run.tsv", TREC.replace(" ", "\t") + "\n\n"),
        written(tmp_path, "Task_predictions.json", {**meta, **nested}),
        written(tmp_path, "plain.json", dict(SCORES)),
        parquet(tmp_path, rank=pa.array(range(5), pa.int32())),
    ]
    for path in files:
        assert read_scores(path) == SCORES, path
    assert read_scores(written(tmp_path, "named.parquet.txt", TREC), "trec") == SCORES


def test_lines_are_read_as_trec_evals_tools_read_them(tmp_path: Path) -> None:
    """The reference is pytrec_eval's parser for ids of ASCII, for others trec_eval, which knows ASCII space only."""
    untidy = "  q0\tQ0  d0 1 3.5e0 tag \r\n\n\x0bq0 Q0 d1 7 -1 tag\x0c\r\nq1 Q0 d2 x .25 tag"
    path = written(tmp_path, "run", untidy)
    with path.open() as file:
        tidy = [" ".join([*line.split()[:3], "1", *line.split()[4:]]) for line in file if line.strip()]
    assert read_scores(path) == pytrec_eval.parse_run(tidy)
    for space in "\u00a0\u3000\u2028\u0085\u2003\x1f":
        found = read_scores(written(tmp_path, "spaces", f"q{space}0 Q0 d{space}0 1 1.5 t\n"))
        assert found == {f"q{space}0": {f"d{space}0": 1.5}}


def test_names_in_capitals_marks_and_gzip_change_nothing(tmp_path: Path) -> None:
    found = parquet(tmp_path).read_bytes()
    content = {"RUN.TREC": TREC, "RUN.TSV": TREC.replace(" ", "\t"), "RUN.JSON": dict(SCORES), "RUN.PARQUET": found}
    for name, body in content.items():
        path = written(tmp_path, name, body)
        assert read_scores(path) == SCORES, name
        if not name.endswith("PARQUET"):
            assert read_scores(written(tmp_path, f"{name}.Gz", gzip.compress(path.read_bytes()))) == SCORES, name
            assert read_scores(written(tmp_path, f"marked.{name}", b"\xef\xbb\xbf" + path.read_bytes())) == SCORES


def test_the_rank_column_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path, "run", "q0 Q0 low 1 0.5 t\nq0 Q0 high 2 0.75 t\n")
    assert read_scores(path) == {"q0": {"low": 0.5, "high": 0.75}}


def test_a_subset_and_split_are_named_where_there_are_several(tmp_path: Path) -> None:
    path = written(tmp_path, "p.json", {"en": {"test": SCORES, "dev": {}}, "de": {"test": {}}})
    with pytest.raises(ResultError, match="name one subset with --subset; there are: 'en', 'de'"):
        read_scores(path)
    with pytest.raises(ResultError, match="name one split with --split; there are: 'test', 'dev'"):
        read_scores(path, subset="en")
    with pytest.raises(ResultError, match="no split 'train'; there are: 'test', 'dev'"):
        read_scores(path, subset="en", split="train")
    assert read_scores(path, subset="en", split="test") == SCORES


@pytest.mark.parametrize("score", ["nan", "inf", "-inf", "1e39", "1_0", "٣", "high", "0x1p3"])
def test_a_score_that_is_no_finite_float32_is_refused_with_its_line(tmp_path: Path, score: str) -> None:
    path = written(tmp_path, "run.trec", TREC + f"q9 Q0 d9 1 {score} tag\n")
    with pytest.raises(ResultError, match=r"run\.trec, line 6: the score is "):
        read_scores(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("run.trec", "q0 d0 1.0\n", "line 1: 3 columns"),
        ("run.trec", "q0 Q0 d 0 1 1.0 tag\n", "line 1: 7 columns"),
        ("run.trec", TREC + "q1 Q0 d3 9 0.1 tag\n", "query 'q1': document 'd3' occurs twice"),
        ("run.trec", b"q0 Q0 d\xff 1 1.0 tag\n", "line 1: not UTF-8"),
        ("run.trec", b"q0 Q0 d\xed\xa0\x80 1 1.0 tag\n", "line 1: not UTF-8"),
        ("run.trec", TREC.encode("utf-16"), "line 1: not UTF-8 text .*UTF-16"),
        ("run.trec", TREC.encode("utf-16-be"), "line 1: not UTF-8 text .*UTF-16"),
        ("run.trec", "q0 Q0 a\tb 1 1.0 tag\n", "line 1: 7 columns"),
        ("run.trec", "q0 Q0 " + "d" * 70_000 + " 1 1.0 tag\n", "line 1: too long a line"),
        ("run.trec", TREC.replace("\n", "\r"), "line 1: 30 columns"),
        ("run.trec.gz", TREC, "run.trec.gz: cannot be read: Not a gzipped file"),
        ("run.trec.gz", lambda: gzip.compress(TREC.encode())[:-9], "cannot be read: Compressed file ended"),
        ("run.trec.GZ", lambda: gzip.compress(b"")[:10] + b"\xff" * 20, "cannot be read: Error -3"),
        ("run.trec.gz", lambda: gzip.compress((b" " * 60_000 + b"\n") * 5000, 9), "too much content for a file of its"),
        ("p.json.gz", lambda: gzip.compress(b"[" * 300_000_000, 9), "more than [0-9]+ bytes of JSON"),
        ("p.json", '{"q": {"\\ud800": 1}}', r"'\\ud800' is half of a character"),
        ("p.json", b'{"q": {"\xed\xa0\x80": 1}}', "not valid JSON"),
        ("p.json", '{"q": {"d": 1' + "0" * 5000 + "}}", "not valid JSON: .*4300 digits"),
        ("p.json", '{"a":' * 100_000, "nested too deeply"),
        ("p.json", "[1]", "object 1: wanted an object with `query` and a list"),
        ("p.json", '{"q": {"d": 1, "d": 2}}', "occurs twice"),
        ("p.json", '{"q": {"d": NaN}}', "NaN"),
        ("p.json", '{"q": {"d": true}}', "query 'q', document 'd': the score is True"),
        ("p.json", '{"q": {"d": "0.5"}}', "the score is '0.5'"),
        ("p.json", '{"q": {"d": 1' + "0" * 60 + "}}", "not a finite float32"),
        ("p.json", '{"q": {"d": 1}, "p": 3}', "query 'p': not an object"),
        ("p.json", '{"default": {"test": {"q": 3}}}', "query 'q': not an object"),
        ("p.parquet", b"PAR1 nothing", "damaged"),
        ("run.trec", b"", "holds no scores"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_damaged_file_is_told_in_one_line(
    tmp_path: Path, name: str, content: str | bytes | Callable[[], bytes], wanted: str
) -> None:
    with pytest.raises(ResultError, match=wanted) as told:
        read_scores(written(tmp_path, name, content() if callable(content) else content))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({"score": None}, "no column score"),
        ({"doc_id": [None, "a", "b", "c", "d"]}, "without query_id or doc_id"),
        ({"score": [1.0, None, 1.0, 1.0, 1.0]}, "query 'q0', document 'd1': the score is None"),
        ({"score": [1.0, float("nan"), 1.0, 1.0, 1.0]}, "query 'q0', document 'd1': the score is nan"),
        ({"score": ["a"] * 5}, "the score is 'a'"),
        ({"doc_id": ["d0"] * 5}, "document 'd0' occurs twice"),
    ],
)
def test_a_wrong_table_is_told_in_one_line(tmp_path: Path, columns: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ResultError, match=wanted):
        read_scores(parquet(tmp_path, **columns))


def test_ids_that_are_numbers_are_read_as_text(tmp_path: Path) -> None:
    path = parquet(tmp_path, query_id=[1, 1, 1, 2, 2], doc_id=[5, 6, 7, 5, 6])
    assert list(read_scores(path)) == ["1", "2"]
    assert list(read_scores(path)["2"]) == ["5", "6"]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    for name in ("nowhere.trec", "nowhere.json", "nowhere.parquet"):
        with pytest.raises(ResultError, match="nowhere"):
            read_scores(tmp_path / name)
    with pytest.raises(ResultError, match="not a file"):
        read_scores(tmp_path)


@pytest.fixture
def data() -> TaskData:
    docs = {f"d{n}": f"text {n}" for n in range(6)}
    return toy_data({"q0": "a", "q1": "b"}, docs, {"q0": {"d0": 1}, "q1": {"d3": 1}})


def imported(data: TaskData, scores: Any, depth: int = 2, **options: Any) -> Candidates:
    return import_candidates(
        data, scores, first_stage="theirs", depth=depth, candidate_set="open", **options
    ).candidates


def test_lists_are_ordered_by_score_and_cut(data: TaskData) -> None:
    made = imported(data, SCORES)
    assert made.get("q0")[0] == ["d0", "d2"]
    assert made.get("q1")[0] == ["d2", "d3"]
    assert (made.provenance.first_stage, made.provenance.track, made.provenance.depth) == ("theirs", "open", 2)
    assert made.provenance.list_hash == data.task.list_hash


def test_ties_come_in_the_order_of_mrb_not_of_the_file(data: TaskData) -> None:
    names = [f"d{n}" for n in range(6)]
    one = imported(data, {"q0": dict.fromkeys(names, 1.0), "q1": dict.fromkeys(names, 2.0)}, depth=3)
    back = imported(data, {"q1": dict.fromkeys(names[::-1], 2.0), "q0": dict.fromkeys(names[::-1], 1.0)}, depth=3)
    assert one.sha256 == back.sha256


def test_self_matches_leave_before_the_cut() -> None:
    docs = dict.fromkeys(("a", "b", "c", "d"), "text")
    data = toy_data({"a": "text"}, docs, {"a": {"c": 1}}, toy_task(rules={"drop_identical_ids": True}))
    assert imported(data, {"a": {"a": 9.0, "b": 3.0, "c": 2.0, "d": 1.0}}).get("a")[0] == ["b", "c"]


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [
        ({**SCORES, "q7": {"d0": 1.0}}, r"query 'q7' is not among the judged queries of toy \(1 such"),
        ({"q0": SCORES["q0"]}, r"query 'q1' of toy has no list \(1 such"),
        ({**SCORES, "q1": {"d2": 0.5, "nowhere": 0.1}}, "query 'q1': document 'nowhere' is not in the corpus"),
    ],
)
def test_ids_that_do_not_fit_are_refused(data: TaskData, scores: Any, wanted: str) -> None:
    with pytest.raises(CandidatesError, match=wanted):
        imported(data, scores, depth=3)


def test_a_wrong_document_is_named_with_its_line(data: TaskData, tmp_path: Path) -> None:
    (path := tmp_path / "run.trec").write_text("q0 Q0 d0 1 2.0 t\n\nq1 Q0 d9 1 1.0 t\nq1 Q0 nowhere 2 0.5 t\n")
    with pytest.raises(CandidatesError, match=r"run\.trec, line 3: query 'q1': document 'd9' is not in the corpus"):
        imported(data, read_scores(path), depth=1, source=path)
    path.write_text("q0 Q0 d0 1 2.0 t\nq1 Q0 d0 1 1.0 t\nq0 Q0 d0 2 0.5 t\n")
    with pytest.raises(ResultError, match=r"run\.trec, line 3: query 'q0': document 'd0' occurs twice"):
        read_scores(path)


def test_what_is_let_through_is_counted(data: TaskData) -> None:
    scores = {"q0": SCORES["q0"], "q7": {"nowhere": 1.0}}
    found = import_candidates(
        data, scores, first_stage="t", depth=3, candidate_set="open", allow_missing=True, skip_unknown=True
    )
    assert (found.missing, found.skipped, found.shorter) == (1, 1, 0)
    assert found.candidates.query_ids == ("q0",)


def test_a_depth_that_no_list_reaches_is_refused(data: TaskData) -> None:
    with pytest.raises(CandidatesError, match="longest list for toy holds 3 documents; give --depth 3"):
        imported(data, SCORES, depth=4)


@pytest.mark.parametrize("name", ["", "two words", "-x", "a\nb", "a/../b"])
def test_a_first_stage_needs_a_plain_name(data: TaskData, name: str) -> None:
    with pytest.raises(CandidatesError, match="first stage"):
        import_candidates(data, SCORES, first_stage=name, depth=2, candidate_set="open")


def test_a_list_that_mrb_wrote_comes_back_with_its_hash(data: TaskData, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    scores = {query: {f"d{n}": float(np.float32(rng.normal())) for n in range(6)} for query in ("q0", "q1")}
    made = imported(data, scores, depth=5)
    write_trec(made, tmp_path / "list.trec")
    write_parquet(made, tmp_path / "list.parquet")
    for name in ("list.trec", "list.parquet"):
        assert imported(data, read_scores(tmp_path / name), depth=5).sha256 == made.sha256
    assert read_parquet(tmp_path / "list.parquet").sha256 == made.sha256
