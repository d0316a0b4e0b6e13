"""Tables from parquet files: the column layouts of public copies, and every damaged one named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mrb.data.items import ImageCaps
from mrb.data.load import join_tables, load_task_data
from mrb.data.tables import CORPUS_ID_COLUMNS, RawTable, make_item_table
from mrb.data.task_data import TaskData
from mrb.data.task_fields import Images
from mrb.errors import DataError
from tests.builders.command import read_error
from tests.builders.tables import CORPUS, IMAGE, QRELS, pictures, texts
from tests.builders.toy import encoded, toy_task

HALF = pa.array([b"a", b"b", b"\xed\xa0\x80"]).view(pa.string())  # half of a surrogate pair


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


# Damage


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"corpus": {**CORPUS, "_id": ["d1", "d2", "d1"]}}, "task toy, corpus/test: id 'd1' occurs twice"),
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
            "task toy, corpus/test: column image: row 1 names an image file but holds no bytes; MRB opens no paths",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_named(
    load: Callable[..., TaskData], tables: dict[str, Any], message: str
) -> None:
    assert read_error(DataError, load, **tables).startswith(message)


def test_a_text_that_is_not_utf8_is_named_when_it_is_read(load: Callable[..., TaskData]) -> None:
    data = load(corpus={**CORPUS, "text": HALF})
    assert data.corpus.item("d1").text == "a"
    with pytest.raises(DataError, match="corpus/test: row 2: its text is not UTF-8"):
        data.corpus.item("d3")


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


def test_numbered_columns_are_further_images_of_an_item(load: Callable[..., TaskData]) -> None:
    """As the card of MRMRbenchmark/knowledge states its columns: `image`, `image 1` to `image 4`; text alone too."""
    red, blue, green = (encoded(Image.new("RGB", (3, 2), colour)) for colour in ("red", "blue", "green"))
    corpus = {
        "id": ["several", "one", "words"],
        "text": ["a <image 1> b <image 2>", "c <image>", "d"],
        "image": pictures(None, red, None),
        "image 2": pictures(green, None, None),
        "image 10": pictures(red, None, None),
        "image 1": pictures(blue, None, None),
        "image 3": pa.nulls(3),
        "vision": pictures(red, red, red),
    }
    qrels = {"query_id": ["q1"], "corpus_id": ["one"], "score": [1]}
    queries = {"id": ["q1"], "text": ["?"], "image 1": pictures(green)}
    images = Images(per_document=3)
    data = load(corpus, queries, qrels, type="it2it", images=images)
    found = {name: [image.encoded for image in data.corpus.item(name).images] for name in ("several", "one", "words")}
    assert found == {"several": [blue, green, red], "one": [red], "words": []}
    assert [image.encoded for image in data.queries.item("q1").images] == [green]
    with pytest.raises(DataError, match="3 images"):
        load(corpus, queries, qrels, type="it2it", images=Images(per_document=2))
