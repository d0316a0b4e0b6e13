"""Other tools' files of one task: RankLLM's requests, mteb's predictions with its ids, HAKARI-Bench's tables."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrb.candidates.score_files import import_candidates, read_scores
from mrb.candidates.task_scores import find_id_forms, read_task_scores
from mrb.data.mteb_facts import load_mteb_names
from mrb.data.task import load_suite, load_task
from mrb.errors import ResultError
from tests.builders.toy import toy_data

# Written by mteb 2.26.24 from a Hub on loopback, its 51 tasks behind the 40: benchmarks/mteb_predictions.py.
GOLDEN = Path(__file__).parents[1] / "builders" / "hub" / "mteb_predictions.json"
# The first example of RankLLM's own documentation (references/input-output-examples.md at 7c226fe5), whole.
REQUEST = (
    '{"query":{"text":"what is bm25","qid":"q1"},"candidates":[{"docid":"D1","score":12.4,"doc":"BM25 is a sparse '
    'retrieval scoring function."},{"docid":"D2","score":11.1,"doc":"Dense retrieval uses vector similarity."}]}'
)


@pytest.fixture(scope="module")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predictions")
    for name, content in json.loads(GOLDEN.read_text()).items():
        (folder / name).write_text(json.dumps(content))
    return folder


def test_each_of_the_forty_has_predictions_of_mteb_with_its_own_ids(predictions: Path) -> None:
    for task_id in load_suite("mrb").tasks:
        task = load_task(task_id)
        scores = read_task_scores(predictions, task)
        # mteb leaves out queries without judgements, except of pages.
        assert len(scores) == (8 if task.type == "t2vd" else 6 * len(task.source.parts)), task_id
        ids = [*scores, *next(iter(scores.values()))]
        assert not any(one.startswith(("query-", "corpus-")) for one in ids), task_id
        parts = {part.name for part in task.source.parts if len(task.source.parts) > 1}
        assert {query.partition("/")[0] for query in scores if "/" in query} == parts, task_id


def test_one_file_is_read_as_the_part_that_its_name_says(predictions: Path) -> None:
    names = load_mteb_names().same
    one = read_task_scores(predictions / f"{names['cqadupstack'][3]}_predictions.json", load_task("cqadupstack"))
    assert next(iter(one)) == "gis/q0" and next(iter(one["gis/q0"])) == "gis/d0"
    pages = read_task_scores(predictions / "VidoreDocVQARetrieval_predictions.json", load_task("docvqa"))
    assert pages == read_task_scores(predictions, load_task("docvqa")) and next(iter(pages)) == "0"
    trec = predictions / "run.trec"
    trec.write_text("query-test-0 Q0 corpus-test-3 1 2.5 tag\n")
    assert read_task_scores(trec, load_task("docvqa")) == {"0": {"3": 2.5}}
    assert read_task_scores(trec, load_task("fiqa")) == {"query-test-0": {"corpus-test-3": 2.5}}


def test_ids_go_back_to_what_they_were() -> None:
    task = load_task("cqadupstack")
    forum = find_id_forms(task, task.source.parts[0])
    assert forum.write_query(forum.read_query("7")) == "7" and forum.read_document("7") == "android/7"
    pages = load_task("docvqa")
    ids = find_id_forms(pages, pages.source.parts[0])
    assert ids.write_document(ids.read_document("corpus-test-9")) == "corpus-test-9"


def test_a_folder_that_lacks_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"has no CQADupstackAndroidRetrieval_pred.*, mteb.* cqadupstack android"):
        read_task_scores(tmp_path, load_task("cqadupstack"))
    with pytest.raises(ResultError, match="no set of mteb is known as mini-faq-t2t"):
        read_task_scores(tmp_path, load_task("mini-faq-t2t"))
    with pytest.raises(ResultError, match="not as trec"):
        read_task_scores(tmp_path, load_task("fiqa"), "trec")


@pytest.mark.parametrize("name", ["requests.jsonl", "requests.json"])
def test_rank_llms_own_example_is_read(tmp_path: Path, name: str) -> None:
    second = '{"query": {"text": "?", "qid": 7}, "candidates": [{"docid": 3, "score": 1, "doc": {"title": "t"}}]}'
    lines = f"{REQUEST}\n\n{second}\n" if name.endswith("l") else f"[{REQUEST}, {second}]"
    (tmp_path / name).write_text(lines)
    assert read_scores(tmp_path / name) == {"q1": {"D1": 12.4, "D2": 11.1}, "7": {"3": 1.0}}


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (REQUEST.replace("12.4", '"12.4"'), "line 1: candidate 1: the score is '12.4'"),
        (REQUEST.replace("12.4", "true"), "the score is True"),
        (REQUEST.replace("12.4", "NaN"), "not valid JSON"),
        (REQUEST.replace('"D2"', '"D1"'), "document 'D1' occurs twice"),
        (REQUEST.replace('"D2"', "2.5"), "candidate 2: docid is 2.5, wanted a string"),
        (REQUEST.replace('"q1"', "null"), "line 1: query: qid is None"),
        ('{"query": "q", "candidates": []}', "wanted an object with `query` and a list"),
        ('{"query": {"qid": "q"}, "candidates": ["d"]}', "candidate 1: not an object"),
        (REQUEST + "\n[1]", "line 2: wanted an object"),
    ],
)
def test_a_request_of_another_form_is_told_with_its_place(tmp_path: Path, line: str, wanted: str) -> None:
    (tmp_path / "r.jsonl").write_text(line)
    with pytest.raises(ResultError, match=wanted):
        read_scores(tmp_path / "r.jsonl")


def test_a_table_of_hakari_is_read_and_its_safeguard_left_out(tmp_path: Path) -> None:
    """Its configs are named after first stages; columns as the card of hakari-bench/NanoBIRCO states them. A row of
    `reranking_hybrid` may have a positive that was not found at rank 101: the depth cuts it off."""
    data = toy_data({"q0": "q"}, {f"d{number}": "d" for number in range(4)}, {"q0": {"d3": 1}})
    rows = {"query-id": ["q0"], "corpus-ids": [["d2", "d0", "d3"]]}
    types = pa.schema([("query-id", pa.string()), ("corpus-ids", pa.list_(pa.string()))])
    pq.write_table(pa.table(rows, schema=types), tmp_path / "NanoX-00000-of-00001.parquet")
    scores = read_scores(tmp_path / "NanoX-00000-of-00001.parquet")
    made = import_candidates(data, scores, first_stage="reranking_hybrid", depth=2, candidate_set="hakari").candidates
    assert made.get("q0")[0] == ["d2", "d0"]


def test_a_query_in_two_rows_is_refused_not_joined(tmp_path: Path) -> None:
    path = tmp_path / "top_ranked.jsonl"
    rows = [{"query-id": 7, "corpus-ids": [1, "b"]}, {"query-id": "7", "corpus-ids": ["c"]}]
    path.write_text(json.dumps(rows[0]) + "\n")
    assert read_scores(path) == {"7": {"1": -1.0, "b": -2.0}}, "mteb reads whole numbers as texts"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ResultError, match=r"top_ranked\.jsonl, line 2: query '7' occurs twice"):
        read_scores(path)
    requests = tmp_path / "requests.jsonl"
    requests.write_text(f"{REQUEST}\n{REQUEST}\n")
    with pytest.raises(ResultError, match=r"requests\.jsonl, line 2: query 'q1' occurs twice"):
        read_scores(requests)


def test_ids_that_become_one_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    path.write_text("query-test-7 Q0 d 1 2.5 tag\n7 Q0 e 1 2.5 tag\n")
    with pytest.raises(ResultError, match="docvqa: two queries of the file are one of the task, such as 'query-"):
        read_task_scores(path, load_task("docvqa"))
    path.write_text("7 Q0 corpus-test-3 1 2.5 tag\n7 Q0 3 2 2.0 tag\n")
    with pytest.raises(ResultError, match="docvqa, query '7': two of its documents in the file are one"):
        read_task_scores(path, load_task("docvqa"))
