"""A task as mappings and tables: what other libraries read from it is what the registry's files hold."""

from __future__ import annotations

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mrb
from mrb.data.task import locate_task_folder

FOLDER = locate_task_folder() / "mini"


@pytest.fixture(scope="module")
def pages() -> mrb.api.TaskView:
    return mrb.load_task("mini-page-t2vd")


def test_tables_are_the_files_of_the_task() -> None:
    task = mrb.load_task("mini-faq-t2t")
    stored = {name: pq.read_table(FOLDER / f"data/mini-faq-t2t/{name}/test.parquet") for name in ("queries", "qrels")}
    assert task.queries.to_pandas()["id"].tolist() == stored["queries"].column(0).to_pylist()
    assert task.queries.to_arrow().column_names == ["id", "text"]
    assert len(task.qrels.to_pandas()) == len(stored["qrels"])
    frame = task.candidates.to_pandas()
    frozen = pq.read_table(FOLDER / "candidates/mini-faq-t2t.parquet").to_pandas()
    assert (frame[["query_id", "doc_id", "rank"]] == frozen[["query_id", "doc_id", "rank"]]).all(axis=None)
    query_id = frame["query_id"].iloc[-1]
    assert list(task.candidates[query_id]) == frozen.query("query_id == @query_id")["doc_id"].tolist()
    assert pa.table(task.qrels).num_rows == len(stored["qrels"])


def test_datasets_decodes_the_images(pages: mrb.api.TaskView) -> None:
    made = pages.corpus.to_dataset()
    assert isinstance(made.features["image"], datasets.Image)
    row = made[3]
    item = pages.corpus[row["id"]]
    assert item.image is not None
    assert row["image"].size == item.image.size == item.image.open().size
    assert row["image"].convert("RGB").tobytes() == item.image.open().tobytes()


def test_mappings_have_the_shape_of_mappings(pages: mrb.api.TaskView) -> None:
    assert len(pages.queries) == len(list(pages.queries)) == len(pages.qrels)
    assert all(query_id in pages.queries for query_id in pages.qrels)
    assert pages.queries.get("no such id") is None
    with pytest.raises(KeyError):
        pages.candidates["no such id"]
    assert repr(pages) == "<task mini-page-t2vd, t2vd: Tutorial pages by section title>"


def test_a_notebook_shows_the_first_rows(pages: mrb.api.TaskView) -> None:
    corpus, qrels, found = (table._repr_html_() for table in (pages.corpus, pages.qrels, pages.candidates))
    assert f"{len(pages.corpus)} items of " in corpus and "the first 5" in corpus and corpus.count("<tr>") == 1 + 5
    assert "[1 image]" in corpus
    first = next(iter(pages.qrels))
    assert f"<td>{first}</td>" in qrels and all(f"{doc_id}: {n}" in qrels for doc_id, n in pages.qrels[first].items())
    assert found.count("<tr>") == 1 + 5 and max(map(len, found.splitlines())) < 400
