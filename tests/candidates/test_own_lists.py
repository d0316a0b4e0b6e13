"""The candidate lists of data folders: TREC runs, mteb's `top_ranked` tables, MRB's lists, lists of a first stage."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrb.candidates.lists import read_parquet
from mrb.candidates.load import has_candidates, load_candidates
from mrb.candidates.own_lists import find_own_list, locate_made_lists
from mrb.candidates.score_files import read_scores
from mrb.data.load import load_task_data
from mrb.data.own_tasks import load_folder_task
from mrb.data.task import Task
from mrb.errors import CandidatesError, MRBError, ResultError
from mrb.evaluation.spec import select_tasks
from mrb.metrics.measures import HEADLINE, measure_queries
from mrb.retrieval.own_lists import make_own_lists
from tests.builders.data_folders import TREC_NDCG_AT_10, write_beir, write_lines, write_trec, write_trec_collection

LISTS = {"q1": ["doc2", "doc1", "doc3"], "q2": ["doc3", "doc2"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (folder := tmp_path / "listed-beers").mkdir()
    return write_beir(folder)


def lists_of(task: Task) -> dict[str, list[str]]:
    candidates = load_candidates(task, None, 2)
    return {query_id: doc_ids for query_id, doc_ids, _ in candidates.lists()}


def test_a_trec_run_in_the_folder_is_the_tasks_list(folder: Path) -> None:
    write_trec(folder / "run.trec", LISTS, tag="colbert")
    task = load_folder_task(folder)
    assert lists_of(task) == LISTS
    made = load_candidates(task, None, 2).provenance
    assert (made.first_stage, made.track, made.depth) == ("colbert", "own", 3)
    assert select_tasks(None, (), (), None, own=[task]).depth == 3


def test_trec_evals_own_run_measures_as_trec_eval_says(tmp_path: Path) -> None:
    task = load_folder_task(write_trec_collection(tmp_path / "listed-trec"))
    data = load_task_data(task)
    found = measure_queries(lists_of(task), data.qrels, [HEADLINE]).values[HEADLINE]
    assert dict(zip(data.qrels, found.round(4).tolist(), strict=True)) == TREC_NDCG_AT_10


def top_ranked(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    table = {"query-id": list(LISTS), "corpus-ids": pa.array(list(LISTS.values()), pa.list_(pa.string()))}
    pq.write_table(pa.table(table), path)


def test_mtebs_top_ranked_table_is_read_as_mteb_publishes_it(folder: Path) -> None:
    """The layout is that of the data sets of mteb on the Hub: `top_ranked/test-00000-of-00001.parquet`."""
    top_ranked(folder / "top_ranked" / "test-00000-of-00001.parquet")
    task = load_folder_task(folder)
    assert lists_of(task) == LISTS
    assert read_scores(folder / "top_ranked" / "test-00000-of-00001.parquet")["q2"] == {"doc3": -1.0, "doc2": -2.0}


def test_top_ranked_may_be_lines_of_json(folder: Path) -> None:
    rows = [{"query-id": query_id, "corpus-ids": doc_ids} for query_id, doc_ids in LISTS.items()]
    write_lines(folder / "top_ranked.jsonl", rows)
    assert lists_of(load_folder_task(folder)) == LISTS


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"query-id": "q1", "corpus-ids": "doc1"}, "line 1: wanted query-id, a text, and corpus-ids, a list"),
        ({"query-id": "q1", "corpus-ids": [None]}, "line 1, column corpus-ids: rank 1 is no document id"),
        ({"query-id": "q1", "corpus-ids": ["doc1", "doc1"]}, "document 'doc1' occurs twice"),
    ],
)
def test_a_top_ranked_table_that_is_wrong_is_named(tmp_path: Path, row: dict[str, object], words: str) -> None:
    (tmp_path / "top_ranked.jsonl").write_text(json.dumps(row))
    with pytest.raises(ResultError, match=words):
        read_scores(tmp_path / "top_ranked.jsonl")


def test_queries_without_a_list_score_0_and_queries_without_judgement_are_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_trec(folder / "run.trec", {"q1": LISTS["q1"], "q99": ["doc1"]})
    with caplog.at_level(logging.INFO, "mrb"):
        assert lists_of(load_folder_task(folder)) == {"q1": LISTS["q1"]}
    assert "1 judged queries are not in run.trec: they score 0" in caplog.text
    assert "1 queries of run.trec are not judged and left out" in caplog.text


def test_a_list_of_unknown_documents_or_queries_is_refused(folder: Path) -> None:
    write_trec(folder / "run.trec", {"q1": ["doc9"]})
    with pytest.raises(CandidatesError, match="document 'doc9' is not in the corpus of listed-beers"):
        find_own_list(load_folder_task(folder))
    write_trec(folder / "run.trec", {"q9": ["doc1"]})
    with pytest.raises(CandidatesError, match="none of its 1 queries is a judged query of listed-beers"):
        find_own_list(load_folder_task(folder))


def test_without_a_list_one_line_says_what_makes_one(folder: Path) -> None:
    task = load_folder_task(folder)
    assert not has_candidates(task, None)
    with pytest.raises(CandidatesError, match="give --first-stage bm25 to `mrb run`") as caught:
        load_candidates(task, None, 2)
    assert "\n" not in str(caught.value)


def test_a_first_stage_makes_the_list_and_it_is_found_by_its_hash(folder: Path) -> None:
    task = load_folder_task(folder)
    made = make_own_lists([task], "bm25", 2) / "listed-beers.parquet"
    candidates = read_parquet(made)
    assert candidates.get("q2")[0] == ["doc2", "doc3"]
    assert find_own_list(task) is None and find_own_list(task, candidates.sha256) == made


def test_a_list_of_mrb_in_the_folder_is_taken_as_it_is(folder: Path) -> None:
    task = load_folder_task(folder)
    made = make_own_lists([task], "bm25", 3) / "listed-beers.parquet"
    (folder / "candidates").mkdir()
    (folder / "candidates" / "listed-beers.parquet").write_bytes(made.read_bytes())
    assert load_folder_task(folder) == task
    assert find_own_list(task) == folder.resolve() / "candidates" / "listed-beers.parquet"
    assert load_candidates(task, None, 2).sha256 == read_parquet(made).sha256


def test_a_first_stage_is_for_own_data() -> None:
    from mrb.data.task import load_task

    with pytest.raises(MRBError, match="mini-faq-t2t is one of the registry's"):
        make_own_lists([load_task("mini-faq-t2t")], "bm25", 3)


def test_two_tasks_of_one_id_are_not_one_run(folder: Path, tmp_path: Path) -> None:
    write_trec(folder / "run.trec", LISTS)
    (other := tmp_path / "b" / "listed-beers").mkdir(parents=True)
    tasks = [load_folder_task(folder), load_folder_task(write_beir(other))]
    with pytest.raises(MRBError, match="two tasks are named 'listed-beers'"):
        select_tasks(None, (), (), None, own=tasks)


def test_a_rule_that_judges_another_query_makes_another_list(folder: Path) -> None:
    write_trec(folder / "run.trec", LISTS)
    with (folder / "qrels" / "test.tsv").open("a") as file:
        file.write("q3\tdoc3\t0\nq3\tdoc3\t1\n")
    with (folder / "queries.jsonl").open("a") as file:
        file.write('{"_id": "q3", "text": "Which beer is brewed cold?"}\n')
    found, made = [], []
    for rule in ("first", "max"):
        (folder / "task.toml").write_text(f'[rules]\nduplicates = "{rule}"\n')
        task = load_folder_task(folder)
        made.append(locate_made_lists([task], "bm25", 2))
        write_trec(folder / "run.trec", {**LISTS, "q3": ["doc3"]})
        found.append(sorted(lists_of(task)))
    assert found == [["q1", "q2"], ["q1", "q2", "q3"]] and made[0] != made[1]
