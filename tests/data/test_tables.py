"""Tables through the real `datasets`: the column layouts of public copies, and every damaged one named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mrb.data.items import ImageCaps
from mrb.data.load import join_tables, load_task_data
from mrb.data.stats import Counts
from mrb.data.tables import CORPUS_ID_COLUMNS, RawTable, make_item_table
from mrb.data.task import load_task
from mrb.data.task_data import TaskData
from mrb.errors import DataError
from tests.builders.toy import encoded, toy_task

Columns = dict[str, Any]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

CORPUS: Columns = {"_id": ["d1", "d2", "d3"], "text": ["one", "two", "three"]}
QUERIES: Columns = {"_id": ["q1", "q2"], "text": ["first", "second"]}
QRELS: Columns = {"query-id": ["q1", "q2"], "corpus-id": ["d1", "d3"], "score": [1, 1]}
HALF = pa.array([b"a", b"b", b"\xed\xa0\x80"]).view(pa.string())  # half of a surrogate pair


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Arrow copies that `datasets` makes go into a folder of the test."""
    import datasets

    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("cache")
    yield
    datasets.config.HF_DATASETS_CACHE = before


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., TaskData]:
    """`load(corpus, queries, qrels, **fields)`: the tables written as the toy task's parquet files, and loaded."""

    def write_and_load(
        corpus: Columns | pa.Table = CORPUS,
        queries: Columns | pa.Table = QUERIES,
        qrels: Columns | pa.Table = QRELS,
        **fields: Any,
    ) -> TaskData:
        for config, columns in (("corpus", corpus), ("queries", queries), ("default", qrels)):
            path = tmp_path / "toy" / config / "test.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path)
        return load_task_data(toy_task(**fields), root=tmp_path)

    return write_and_load


def refused(load: Callable[..., TaskData], *args: Any, **tables: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(*args, **tables)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def texts(data: TaskData) -> dict[str, str]:
    return {doc_id: data.corpus.item(doc_id).text for doc_id in data.corpus}


def pictures(*values: bytes | None) -> pa.Array:
    return pa.array([None if v is None else {"bytes": v, "path": "a.png"} for v in values], IMAGE)


# Layouts


def test_beir(load: Callable[..., TaskData]) -> None:
    data = load({**CORPUS, "title": ["Title", "", None], "metadata": [{"a": 1}] * 3})
    assert texts(data) == {"d1": "Title one", "d2": "two", "d3": "three"}
    assert [data.queries.item(q).text for q in data.queries] == ["first", "second"]
    assert data.qrels == {"q1": {"d1": 1}, "q2": {"d3": 1}}
    assert data.counts.model_dump() == {
        "queries": 2,
        "documents": 3,
        "qrels": 2,
        "queries_in_table": 2,
        "queries_without_positives": 0,
        "qrels_outside_corpus": 0,
        "qrels_outside_queries": 0,
        "qrels_not_positive": 0,
    }


def test_titles_join_texts_as_beir_joins_them(load: Callable[..., TaskData]) -> None:
    titles, bodies = ["Title", None, "  Only ", "", "T"], ["words\n", " no title\t", None, None, "two\nlines"]
    corpus = {"_id": [f"d{n}" for n in range(1, 6)], "text": bodies, "title": titles}
    table = make_item_table(
        RawTable(pa.table(corpus), "corpus"), CORPUS_ID_COLUMNS, prefix="", caps=ImageCaps(), cache=None
    )  # of the Hub
    assert [table.item(doc_id).text for doc_id in table] == [
        f"{title or ''} {body or ''}".strip() for title, body in zip(titles, bodies, strict=True)
    ]
    # Embedded texts are frozen with their line breaks, and a table without titles is left as it is.
    assert list(texts(load(corpus)).values()) == ["Title words\n", "no title\t", "Only", "", "T two\nlines"]
    assert texts(load({**CORPUS, "text": ["one\n", " two", None]})) == {"d1": "one\n", "d2": " two", "d3": ""}
    only = load({"_id": ["d1", "d3"], "text": pa.nulls(2, pa.string()), "title": [None, "x"]})
    assert only.corpus.has_texts and not only.corpus.has_images


def test_titles_and_texts_stay_on_the_disk(load: Callable[..., TaskData], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrb.data.load.SMALL", 0)
    ids = [f"d{n}" for n in range(2000)]
    before = pa.total_allocated_bytes()
    data = load({"_id": ids, "title": [f"Title of {name}" for name in ids], "text": ["words " * 800] * len(ids)})
    assert data.corpus.item("d7").text == "Title of d7 " + ("words " * 800).strip()
    assert pa.total_allocated_bytes() - before < 1_000_000 < len(ids) * 4800


def test_parts_with_and_without_titles_are_one_table(load: Callable[..., TaskData]) -> None:
    titled, plain = load({**CORPUS, "title": ["Title", "", None]}).corpus, load().corpus
    other = replace(plain, rows={f"other/{doc_id}": row for doc_id, row in plain.rows.items()})
    for tables in ([titled, other], [other, titled]):
        whole = join_tables(tables)
        assert [whole.item(doc_id).text for doc_id in ("d1", "d2", "other/d1", "other/d3")] == [
            *("Title one", "two", "one", "three")
        ]
        assert join_tables([plain, other]).titles is None


def test_mbeir(load: Callable[..., TaskData]) -> None:
    red, blue = (encoded(Image.new("RGB", (3, 2), colour)) for colour in ("red", "blue"))
    corpus = {
        "id": ["9:1", "9:2"],
        "text": ["words", None],
        "image": pictures(None, blue),
        "modality": ["text", "image"],
    }
    queries = {"id": ["9:7"], "text": ["like this"], "image": pictures(red), "modality": ["image,text"]}
    data = load(corpus, queries, {"query-id": ["9:7"], "corpus-id": ["9:2"], "score": [1.0]})
    words, picture = data.corpus.item("9:1"), data.corpus.item("9:2")
    assert (words.text, words.image, picture.text) == ("words", None, "")
    assert picture.image is not None and picture.image.open().getpixel((0, 0)) == (0, 0, 255)
    query = data.queries.item("9:7")
    assert query.text == "like this" and query.image is not None and query.image.encoded == red


def test_vidore(load: Callable[..., TaskData]) -> None:
    page = encoded(Image.new("RGB", (3, 2), "red"))
    corpus = {"corpus-id": [10, 11], "image": pictures(page, page), "doc-id": ["a.pdf", "b.pdf"]}
    queries = {"query-id": [0], "query": ["what?"], "answer": ["this"]}
    data = load(corpus, queries, {"query-id": [0], "corpus-id": [11], "score": [2], "answer": ["this"]})
    assert list(data.corpus) == ["10", "11"] and data.qrels == {"0": {"11": 2}}
    assert data.queries.item("0").text == "what?"
    assert data.corpus.item("10").text == "" and data.corpus.item("10").image is not None


def test_an_image_feature_that_datasets_wrote(load: Callable[..., TaskData], tmp_path: Path) -> None:
    import datasets

    rows = datasets.Dataset.from_dict(
        {"id": ["d1"], "image": [Image.new("RGB", (3, 2), "red")]},
        features=datasets.Features({"id": datasets.Value("string"), "image": datasets.Image()}),
    )
    rows.to_parquet(tmp_path / "written.parquet")
    data = load(
        pq.read_table(tmp_path / "written.parquet"), qrels={"query-id": ["q1"], "corpus-id": ["d1"], "score": [1]}
    )
    image = data.corpus.item("d1").image
    assert image is not None and image.open().size == (3, 2)


def test_a_null_image_column_is_no_image(load: Callable[..., TaskData]) -> None:
    data = load({**CORPUS, "image": pa.nulls(3)})
    assert data.corpus.images is None and data.corpus.item("d1").image is None
    data = load({**CORPUS, "image": pictures(None, None, None)})
    assert data.corpus.item("d1").image is None


def test_ids_are_texts(load: Callable[..., TaskData]) -> None:
    data = load({"_id": [1, 2, 3], "text": list("abc")}, qrels={**QRELS, "corpus-id": [1, 3]})
    assert list(data.corpus) == ["1", "2", "3"] and data.qrels["q2"] == {"3": 1}


def test_large_strings_and_many_row_groups(load: Callable[..., TaskData], tmp_path: Path) -> None:
    ids = [f"d{n}" for n in range(1000)]
    table = pa.table({"_id": pa.array(ids, pa.large_string()), "text": pa.array(ids, pa.large_string())})
    data = load(table)
    assert data.corpus.item("d999").text == "d999" and len(data.corpus) == 1000


def test_images_are_held_to_the_tasks_caps(load: Callable[..., TaskData]) -> None:
    picture = encoded(Image.new("RGB", (30, 20), "red"))
    data = load({**CORPUS, "image": pictures(picture, None, None)}, images={"max_pixels": 599})
    image = data.corpus.item("d1").image
    assert image is not None
    with pytest.raises(DataError, match="task toy, corpus/test, 'd1': image of 30 x 20 pixels, over the task's 599"):
        image.open()


# Rules


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
    assert refused(load, qrels=qrels).startswith(
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
    assert "q9" not in raw.corpus and "set rules.drop_qrels_outside_corpus" in refused(
        load, qrels=qrels, rules={"raw_qrels": True}
    )


@pytest.mark.parametrize("cluster", ["none", "document", "query_text", "query_image"])
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
        }[cluster]
    )


def test_parts_with_a_name_prefix_every_id(load: Callable[..., TaskData]) -> None:
    source = toy_task().model_dump(mode="json")["source"]
    source["parts"][0]["name"] = "forum"
    data = load(source=source)
    assert data.qrels == {"forum/q1": {"forum/d1": 1}, "forum/q2": {"forum/d3": 1}}
    assert data.corpus.item("forum/d1").text == "one"


# Repeats

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
    assert "duplicates = " in refused(load, corpus) and "duplicates = " in refused(load, queries=queries)


def test_counts_without_repeats_are_written_as_before(load: Callable[..., TaskData]) -> None:
    assert "qrels_repeated" not in load().counts.model_dump_json()
    written = load(qrels=TWICE, rules={"duplicates": "max"}).counts
    assert Counts.model_validate_json(written.model_dump_json()) == written and written.qrels_repeated == 1


def test_the_rule_is_in_the_hash_of_a_task_that_has_it_only() -> None:
    refusing = toy_task(rules={"duplicates": "refuse"}).hash
    assert refusing == toy_task().hash
    assert len({refusing, *(toy_task(rules={"duplicates": rule}).hash for rule in ("first", "max"))}) == 3


# Damage


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"corpus": {**CORPUS, "_id": ["d1", "d2", "d1"]}}, "task toy, corpus/test: id 'd1' stands twice"),
        ({"corpus": {**CORPUS, "_id": ["d1", None, "d3"]}}, "task toy, corpus/test: row 1 has no id"),
        (
            {"queries": {"key": ["q1"], "text": ["x"]}},
            "task toy, queries/test: columns found: key, text; wanted one of: _id, id, query-id",
        ),
        (
            {"qrels": {"query-id": ["q1"], "corpus-id": ["d1"]}},
            "task toy, default/test: columns found: query-id, corpus-id; wanted one of: score",
        ),
        (
            {"qrels": {**QRELS, "query-id": ["q1", "q9"]}},
            "task toy: qrels judge query 'q9', which is not in the query table",
        ),
        (
            {"qrels": {**QRELS, "score": [1, 0.5]}},
            "task toy, default/test: query 'q2', document 'd3': grade 0.5 is not whole",
        ),
        (
            {"qrels": {**QRELS, "score": [1, float("nan")]}},
            "task toy, default/test: query 'q2', document 'd3': grade nan is not whole",
        ),
        (
            {"qrels": {**QRELS, "score": [1, float("inf")]}},
            "task toy, default/test: query 'q2', document 'd3': grade inf is not whole",
        ),
        (
            {"qrels": {**QRELS, "score": [1, 10_001]}},
            "task toy, default/test: query 'q2', document 'd3': grade 10001 is over 10000",
        ),
        (
            {"qrels": {**QRELS, "score": [1, 1e300]}},
            "task toy, default/test: query 'q2', document 'd3': grade 1e+300 is over 10000",
        ),
        ({"qrels": {**QRELS, "score": [1, None]}}, "task toy, default/test: a judgement has an empty cell"),
        (
            {"qrels": {**QRELS, "score": ["1", "high"]}},
            "task toy, default/test: column score cannot be read as double: ",
        ),
        (
            {"corpus": {**CORPUS, "_id": [["d1"], ["d2"], ["d3"]]}},
            "task toy, corpus/test: column _id cannot be read as string: ",
        ),
        (
            {"corpus": {**CORPUS, "text": [["x"], ["y"], ["z"]]}},
            "task toy, corpus/test: column text cannot be read as string: ",
        ),
        (
            {"qrels": {"query-id": ["q1", "q1"], "corpus-id": ["d1", "d1"], "score": [0, 1]}},
            "task toy: query 'q1', document 'd1' is judged twice",
        ),
        (
            {"corpus": {**CORPUS, "_id": HALF}},
            "task toy, corpus/test: column _id is damaged: In chunk 0: Invalid: Invalid UTF8 sequence",
        ),
        (
            {"qrels": {"query-id": ["q1"] * 3, "corpus-id": HALF, "score": [1, 1, 1]}},
            "task toy, default/test: column corpus-id is damaged: In chunk 0: Invalid: Invalid UTF8 sequence",
        ),
        (
            {"corpus": {**CORPUS, "image": ["a.png", "b.png", "c.png"]}},
            "task toy, corpus/test: column image has type string, wanted an image feature with bytes",
        ),
        (
            {"corpus": {**CORPUS, "image": pa.array([None, {"bytes": None, "path": "/etc/passwd"}, None], IMAGE)}},
            "task toy, corpus/test: row 1 names an image file but holds no bytes; MRB opens no paths from data",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_named(
    load: Callable[..., TaskData], tables: dict[str, Any], message: str
) -> None:
    assert refused(load, **tables).startswith(message)


def test_a_text_that_is_not_utf8_is_named_when_it_is_read(load: Callable[..., TaskData]) -> None:
    data = load(corpus={**CORPUS, "text": HALF})
    assert data.corpus.item("d1").text == "a"
    with pytest.raises(DataError, match="corpus/test: row 2: its text is not UTF-8"):
        data.corpus.item("d3")


def test_a_missing_file(load: Callable[..., TaskData], tmp_path: Path) -> None:
    load()
    (tmp_path / "toy/queries/test.parquet").unlink()
    with pytest.raises(DataError, match=r"task toy, queries/test: .*test\.parquet is missing; "):
        load_task_data(toy_task(), root=tmp_path)


@pytest.mark.parametrize("small", [0, 2**20], ids=["mapped", "in memory"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_damaged_parquet(
    load: Callable[..., TaskData],
    tmp_path: Path,
    damage: str,
    small: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mrb.data.load.SMALL", small)
    load()
    path = tmp_path / "toy/corpus/test.parquet"
    data = path.read_bytes()
    path.write_bytes(
        {"cut": data[:-20], "flipped": data[:4] + bytes(60) + data[64:], "empty": b"", "text": b"_id,text\n"}[damage]
    )
    with pytest.raises(DataError, match="task toy, corpus/test: cannot be read as parquet: ") as caught:
        load_task_data(toy_task(), root=tmp_path)
    assert "\n" not in str(caught.value)


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
from mrb.data.load import load_task_data
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
