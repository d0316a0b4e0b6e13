"""From tables to a task's data: judgements outside the corpus, repeats, clusters, and what is counted of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mrb.data.load import join_tables, load_task_data
from mrb.data.stats import Counts
from mrb.data.task import load_task
from mrb.data.task_data import TaskData
from mrb.errors import DataError
from tests.builders.command import read_error
from tests.builders.tables import CORPUS, IMAGE, Columns, pictures, texts
from tests.builders.toy import encoded, toy_task


def test_queries_without_positives_leave_and_are_counted(load: Callable[..., TaskData]) -> None:
    queries = {"_id": ["never", "q2", "zero", "q1"], "text": list("abcd")}
    qrels = {
        "query-id": ["q1", "zero", "q2", "q2"],
        "corpus-id": ["d1", "d1", "d2", "d3"],
        "score": [2, 0, -1, 1],
    }
    data = load(queries=queries, qrels=qrels)
    assert list(data.queries) == ["q2", "q1"]  # in the order of the query table
    assert data.qrels == {"q1": {"d1": 2}, "q2": {"d3": 1}}
    counts = data.counts
    assert (counts.queries, counts.queries_in_table, counts.queries_without_positives) == (2, 4, 1)
    assert (counts.qrels, counts.qrels_not_positive) == (2, 2)


def test_judgements_outside_the_corpus(load: Callable[..., TaskData]) -> None:
    qrels = {"query-id": ["q1", "q1", "q2"], "corpus-id": ["d1", "gone", "lost"], "score": [1, 1, 1]}
    assert read_error(DataError, load, qrels=qrels).startswith(
        "task toy: query 'q1' has the positive 'gone', which is not in the corpus; if the source is known"
    )
    data = load(qrels=qrels, rules={"drop_qrels_outside_corpus": True})
    assert data.qrels == {"q1": {"d1": 1}}
    assert (data.counts.qrels_outside_corpus, data.counts.queries_without_positives) == (2, 1)
    # A document that is not there and not relevant harms nobody.
    assert load(qrels={**qrels, "score": [1, 0, 0]}).counts.qrels_not_positive == 2


def test_raw_judgements_keep_what_the_corpus_lacks(load: Callable[..., TaskData]) -> None:
    qrels = {"query-id": ["q1", "q1", "q2"], "corpus-id": ["d1", "d9", "d8"], "score": [1, 2, 1]}
    cleaned = load(qrels=qrels, rules={"drop_qrels_outside_corpus": True})
    assert cleaned.qrels == {"q1": {"d1": 1}}
    raw = load(qrels=qrels, rules={"drop_qrels_outside_corpus": True, "raw_qrels": True})
    assert raw.qrels == {"q1": {"d1": 1, "d9": 2}, "q2": {"d8": 1}} and list(raw.queries) == ["q1", "q2"]
    assert (cleaned.counts.qrels_outside_corpus, cleaned.counts.qrels, cleaned.counts.queries_without_positives) == (
        2,
        1,
        1,
    )
    assert (raw.counts.qrels_outside_corpus, raw.counts.qrels, raw.counts.queries_without_positives) == (2, 3, 0)
    message = read_error(DataError, load, qrels=qrels, rules={"raw_qrels": True})
    assert "q9" not in raw.corpus and "set rules.drop_qrels_outside_corpus" in message


@pytest.mark.parametrize("cluster", ["none", "document", "query_text", "query_image", "positives"])
def test_clusters(load: Callable[..., TaskData], cluster: str) -> None:
    red, blue = (encoded(Image.new("RGB", (2, 2), colour)) for colour in ("red", "blue"))
    queries = {
        "_id": ["a", "b", "c", "d"],
        "text": ["same", "same", "other", "third"],
        "image": pictures(red, blue, blue, blue),
    }
    qrels = {
        "query-id": ["a", "b", "c", "c", "d"],
        "corpus-id": ["d1", "d2", "d1", "d2", "d3"],
        "score": [1] * 5,
    }
    if cluster == "positives":  # a and d have the same positives and grades, b's and c's differ in a grade
        qrels = {"query-id": ["a", "b", "c", "d"], "corpus-id": ["d1"] * 4, "score": [1, 2, 3, 1]}
    found = load(queries=queries, qrels=qrels, cluster=cluster).clusters
    if cluster == "none":
        assert found is None
        return
    assert found is not None and list(found) == ["a", "b", "c", "d"]
    groups = {frozenset(q for q in found if found[q] == key) for key in found.values()}
    assert (
        groups
        == {
            "document": {frozenset("abc"), frozenset("d")},
            "query_text": {frozenset("ab"), frozenset("c"), frozenset("d")},
            "query_image": {frozenset("a"), frozenset("bcd")},
            "positives": {frozenset("ad"), frozenset("b"), frozenset("c")},
        }[cluster]
    )


def pages(*cells: list[bytes] | None) -> pa.Array:
    """A column of lists of images, as `datasets` writes `List(Image())`."""
    rows = [None if cell is None else [{"bytes": one, "path": None} for one in cell] for cell in cells]
    return pa.array(rows, pa.list_(IMAGE))


RED, BLUE, GREEN = (encoded(Image.new("RGB", (2, 2), colour)) for colour in ("red", "blue", "green"))


@pytest.mark.parametrize("name", ["image", "images"])
def test_an_item_with_several_images(load: Callable[..., TaskData], name: str) -> None:
    data = load({**CORPUS, name: pages([RED, BLUE], None, [GREEN])}, images={"per_document": 2})
    assert [image.encoded for image in data.corpus.item("d1").images] == [RED, BLUE]
    assert data.corpus.item("d2").images == () and data.corpus.has_images
    assert data.corpus.item("d3").image is not None and data.corpus.item("d3").image.encoded == GREEN
    with pytest.raises(DataError, match=r"task toy, corpus/test, 'd1', image 1 of 2: the item has 2 images"):
        _ = data.corpus.item("d1").image
    for kind in (pa.large_list(pa.binary()), pa.list_(pa.binary())):
        bare = load({**CORPUS, name: pa.array([[RED, BLUE], [], [GREEN]], kind)}, images={"per_document": 2}).corpus
        assert [[image.encoded for image in bare.item(d).images] for d in bare] == [[RED, BLUE], [], [GREEN]]


def test_more_images_than_the_definition_states_are_refused(load: Callable[..., TaskData]) -> None:
    message = read_error(DataError, load, {**CORPUS, "image": pages([RED], None, [RED, BLUE])})
    assert "corpus/test: 'd3' has 2 images, and per_document = 1 in [images]" in message
    queries = {"_id": ["q1", "q2"], "text": ["a", "b"], "image": pages([RED, BLUE, GREEN], [RED])}
    assert "'q1' has 3 images, and per_query = 2" in read_error(
        DataError, load, queries=queries, images={"per_query": 2}
    )
    message = read_error(
        DataError, load, {**CORPUS, "image": pages([RED], None, None), "images": pages([RED], None, None)}
    )
    assert "has the columns image and images, wanted one of them" in message
    hole = pa.array([None, [{"bytes": RED, "path": None}, None], None], pa.list_(IMAGE))
    assert "column image: row 1 has an empty place in its list" in read_error(
        DataError, load, {**CORPUS, "image": hole}
    )
    path = pa.array([None, [], [{"bytes": None, "path": "/etc/passwd"}]], pa.list_(IMAGE))
    assert "row 2 names an image file" in read_error(DataError, load, {**CORPUS, "image": path})


def test_queries_with_the_same_images_in_the_same_order_are_one_cluster(load: Callable[..., TaskData]) -> None:
    queries = {"_id": ["a", "b", "c"], "text": ["x", "y", "z"], "image": pages([RED, BLUE], [RED, BLUE], [BLUE, RED])}
    qrels = {"query-id": ["a", "b", "c"], "corpus-id": ["d1"] * 3, "score": [1] * 3}
    found = load(queries=queries, qrels=qrels, cluster="query_image", images={"per_query": 2}).clusters
    assert found is not None and found["a"] == found["b"] != found["c"]


def test_tables_with_one_image_and_with_lists_join(load: Callable[..., TaskData]) -> None:
    single = load({**CORPUS, "image": pictures(RED, None, BLUE)}).corpus
    several = load(
        {"_id": ["e1"], "text": ["x"], "image": pages([GREEN, RED])},
        images={"per_document": 2},
        qrels={"query-id": ["q1"], "corpus-id": ["e1"], "score": [1]},
    ).corpus
    joined = join_tables([single, several, replace(single, rows={"f1": 0, "f2": 1, "f3": 2}, images=None)])
    assert [[image.encoded for image in joined.item(name).images] for name in ("d1", "d2", "d3", "e1", "f1")] == [
        [RED],
        [],
        [BLUE],
        [GREEN, RED],
        [],
    ]


def test_parts_with_a_name_prefix_every_id(load: Callable[..., TaskData]) -> None:
    source = toy_task().model_dump(mode="json")["source"]
    source["parts"][0]["name"] = "forum"
    data = load(source=source)
    assert data.qrels == {"forum/q1": {"forum/d1": 1}, "forum/q2": {"forum/d3": 1}}
    assert data.corpus.item("forum/d1").text == "one"


TWICE: Columns = {
    "query-id": ["q1", "q1", "q2", "q2", "q1"],
    "corpus-id": ["d1", "d1", "d3", "d2", "d2"],
    "score": [1, 3, 2, 0, 0],
}


@pytest.mark.parametrize(("rule", "grade"), [("first", 1), ("max", 3)])
def test_a_rule_takes_one_of_two_judgements_and_counts_the_other(
    load: Callable[..., TaskData], rule: str, grade: int
) -> None:
    data = load(qrels=TWICE, rules={"duplicates": rule, "graded": True})
    assert data.qrels == {"q1": {"d1": grade}, "q2": {"d3": 2}}
    assert (data.counts.qrels, data.counts.qrels_not_positive, data.counts.qrels_repeated) == (2, 2, 1)


@pytest.mark.parametrize(
    ("scores", "first", "greatest"),
    [([0, 2], {}, {"d1": 2}), ([2, 0], {"d1": 2}, {"d1": 2}), ([-1, 0], {}, {})],
)
def test_what_leaves_is_counted_once(
    load: Callable[..., TaskData], scores: list[int], first: dict[str, int], greatest: dict[str, int]
) -> None:
    qrels = {"query-id": ["q1", "q1", "q2"], "corpus-id": ["d1", "d1", "d3"], "score": [*scores, 1]}
    for rule, left in (("first", first), ("max", greatest)):
        data = load(qrels=qrels, rules={"duplicates": rule})
        assert data.qrels.get("q1", {}) == left
        assert data.counts.qrels + data.counts.qrels_not_positive + data.counts.qrels_repeated == 3
        assert data.counts.qrels_repeated == 1


def test_a_judgement_repeated_with_its_grade_is_taken_once(load: Callable[..., TaskData]) -> None:
    qrels = {"query-id": ["q1", "q2", "q1"], "corpus-id": ["d1", "d3", "d1"], "score": [1, 1, 1]}
    data = load(qrels=qrels)
    assert data.qrels == {"q1": {"d1": 1}, "q2": {"d3": 1}} and data.counts.qrels_repeated == 1


def test_the_first_row_of_an_id_is_taken_and_the_others_counted(load: Callable[..., TaskData]) -> None:
    corpus = {"_id": ["d1", "d2", "d1", "d3", "d1"], "text": ["one", "two", "ten", "three", "four"]}
    queries = {"_id": ["q1", "q2", "q2"], "text": ["first", "second", "third"]}
    data = load(corpus, queries, rules={"duplicates": "first"})
    assert texts(data) == {"d1": "one", "d2": "two", "d3": "three"}
    assert data.queries.item("q2").text == "second"
    assert (data.counts.documents, data.counts.documents_repeated, data.counts.queries_repeated) == (3, 2, 1)
    assert "duplicates = " in read_error(DataError, load, corpus) and "duplicates = " in read_error(
        DataError, load, queries=queries
    )


def test_counts_without_repeats_are_written_as_before(load: Callable[..., TaskData]) -> None:
    assert "qrels_repeated" not in load().counts.model_dump_json()
    written = load(qrels=TWICE, rules={"duplicates": "max"}).counts
    assert Counts.model_validate_json(written.model_dump_json()) == written and written.qrels_repeated == 1


def test_the_rule_is_in_the_hash_of_a_task_that_has_it_only() -> None:
    refusing = toy_task(rules={"duplicates": "refuse"}).hash
    assert refusing == toy_task().hash
    assert len({refusing, *(toy_task(rules={"duplicates": rule}).hash for rule in ("first", "max"))}) == 3


def test_a_missing_file(load: Callable[..., TaskData], tmp_path: Path) -> None:
    load()
    (tmp_path / "toy/queries/test.parquet").unlink()
    with pytest.raises(DataError, match=r"task toy, queries/test: .*test\.parquet is missing; "):
        load_task_data(toy_task(), root=tmp_path)


@pytest.mark.slow
def test_embedded_data_is_loaded_without_the_network(load: Callable[..., TaskData], tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": [1]}), path)
    script = f"""
import sys
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        print(event, args)
sys.addaudithook(watch)
import datasets
datasets.config.HF_DATASETS_CACHE = {str(tmp_path / "cache")!r}
from pathlib import Path
from mrb.data.tables import read_files
assert read_files([Path({str(path)!r})], "parquet", "rows").table.num_rows == 1
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == ""


@pytest.mark.slow
def test_embedded_data_is_loaded_without_datasets() -> None:
    script = """
import sys
from mrb.data.load import join_tables, load_task_data
from mrb.data.task import load_task
from mrb.data.task import load_task
assert len(load_task_data(load_task("mini-flag-t2i")).corpus)
print(sorted({"datasets", "scipy", "torch"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("task_id", ["mini-faq-t2t", "mini-fact-it2it"])
def test_small_files_and_large_ones_are_read_alike(task_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def content(data: TaskData) -> list[Any]:
        tables = [table for table in (data.queries, data.corpus, data.side) if table is not None]
        items = [(item_id, table.item(item_id)) for table in tables for item_id in table]
        shown = [(item_id, item.text, item.image and item.image.encoded) for item_id, item in items]
        return [shown, data.qrels, data.counts, data.clusters]

    small = content(load_task_data(load_task(task_id)))
    monkeypatch.setattr("mrb.data.load.SMALL", 0)
    assert content(load_task_data(load_task(task_id))) == small
