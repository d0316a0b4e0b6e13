"""A data folder becomes a task: layouts, type, content hash, and errors that name file, line and column."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrb.data.folder_task import write_task_file
from mrb.data.load import load_task_data
from mrb.data.own_tasks import find_task_folder, load_folder_task
from mrb.data.task import load_task
from mrb.errors import DataError, TaskError
from tests.builders.data_folders import (
    CORPUS,
    MINI,
    QRELS,
    QUERIES,
    TOPICS,
    add_row,
    put_image,
    write_beir,
    write_captioned_images,
    write_lines,
    write_trec_collection,
)
from tests.builders.hub.repositories import pictures

PNG = pictures()[0]


def test_a_beir_folder_is_a_task_that_is_found_by_its_id(beir: Path) -> None:
    task = load_folder_task(beir)
    assert (task.id, task.title, task.type) == ("my-beers", "my-beers", "t2t")
    assert (task.size.queries, task.size.documents, task.size.qrels) == (2, 3, 2)
    assert load_task("my-beers") is task and find_task_folder(task) == beir.resolve()
    data = load_task_data(task)
    assert data.qrels == QRELS
    assert data.corpus.item("doc1").text.startswith("Albert Einstein Albert Einstein was")


def test_no_path_is_in_the_definition(beir: Path) -> None:
    assert str(beir.parent) not in load_folder_task(beir).model_dump_json()


def test_an_id_of_the_registry_is_refused(tmp_path: Path) -> None:
    (folder := tmp_path / "nfcorpus").mkdir()
    with pytest.raises(TaskError, match="'nfcorpus' is one of the registry's"):
        load_folder_task(write_beir(folder))


def test_a_changed_folder_is_not_the_task_that_was_made_of_it(beir: Path) -> None:
    task = load_folder_task(beir)
    text = (beir / "corpus.jsonl").read_text()
    (beir / "corpus.jsonl").write_text(text.replace("German-born", "German"))
    with pytest.raises(DataError, match="holds other data than the task was made of"):
        load_task_data(task)
    assert load_folder_task(beir).revision != task.revision


def test_the_content_decides_the_hash_and_the_format_does_not(beir: Path, tmp_path: Path) -> None:
    before = load_folder_task(beir)
    (hub := tmp_path / "hub" / "My Beers").mkdir(parents=True)
    corpus = pa.table({"_id": list(CORPUS), **{k: [row[k] for row in CORPUS.values()] for k in ("title", "text")}})
    queries = pa.table({"_id": list(QUERIES), "text": list(QUERIES.values())})
    pairs = [(query, doc, grade) for query, judged in QRELS.items() for doc, grade in judged.items()]
    names = ("query-id", "corpus-id", "score")
    qrels = pa.table({name: [row[place] for row in pairs] for place, name in enumerate(names)})
    for name, table in (("corpus/corpus", corpus), ("queries/queries", queries), ("qrels/test", qrels)):
        (hub / name).parent.mkdir(exist_ok=True)
        pq.write_table(table, hub / f"{name}-00000-of-00001.parquet")
    assert load_folder_task(hub) == before
    (tables := tmp_path / "csv" / "My Beers").mkdir(parents=True)
    rows = "".join(f'{name},"{row["title"]}","{row["text"]}"\n' for name, row in CORPUS.items())
    (tables / "corpus.csv").write_text(f"_id,title,text\n{rows}")
    (tables / "queries.tsv").write_text("".join(f"{name}\t{text}\n" for name, text in QUERIES.items()))
    (tables / "qrels.trec").write_text("".join(f"{query} 0 {doc} {grade}\n" for query, doc, grade in pairs))
    assert load_folder_task(tables) == before


def test_a_trec_collection_with_graded_judgements(tmp_path: Path) -> None:
    task = load_folder_task(write_trec_collection(tmp_path / "trec"))
    assert task.type == "t2t" and task.rules.graded and task.rules.zero_grades_listed
    data = load_task_data(task)
    assert {query: data.queries.item(query).text for query in data.queries} == TOPICS
    assert {grade for grades in data.qrels.values() for grade in grades.values()} == {1, 2, 3, 4}


def test_captioned_images_need_no_corpus_file(tmp_path: Path) -> None:
    task = load_folder_task(write_captioned_images(tmp_path / "flags"))
    assert task.type == "t2i" and task.size.queries == 20
    registered = load_task_data(load_task("mini-flag-t2i"))
    data = load_task_data(task)
    for doc_id in data.corpus:
        ours, theirs = data.corpus.item(doc_id).image, registered.corpus.item(doc_id).image
        assert ours is not None and theirs is not None and ours.sha256 == theirs.sha256
    assert all(data.qrels[query] == registered.qrels[query] for query in data.queries)


def text_query(folder: Path) -> None:
    """A query of text is there already."""


def image_query(folder: Path) -> None:
    put_image(folder)
    write_lines(folder / "queries.jsonl", [{"_id": name, "image": "images/a.png"} for name in QUERIES])


def both_queries(folder: Path) -> None:
    put_image(folder)
    rows = [{"_id": name, "text": text, "image": "images/a.png"} for name, text in QUERIES.items()]
    write_lines(folder / "queries.jsonl", rows)


def image_corpus(folder: Path) -> None:
    put_image(folder)
    write_lines(folder / "corpus.jsonl", [{"_id": name, "image": "images/a.png"} for name in CORPUS])


def mixed_corpus(folder: Path) -> None:
    put_image(folder)
    add_row(folder, _id="doc4", image="images/a.png")


@pytest.mark.parametrize(
    ("queries", "corpus", "wanted"),
    [
        (text_query, text_query, "t2t"),
        (text_query, image_corpus, "t2i"),
        (text_query, mixed_corpus, "t2it"),
        (image_query, text_query, "i2t"),
        (image_query, image_corpus, "i2i"),
        (image_query, mixed_corpus, "it2it"),
        (both_queries, text_query, "it2t"),
        (both_queries, image_corpus, "it2i"),
        (both_queries, mixed_corpus, "it2it"),
    ],
)
def test_the_type_follows_from_what_occurs(
    beir: Path, queries: Callable[[Path], None], corpus: Callable[[Path], None], wanted: str
) -> None:
    queries(beir)
    corpus(beir)
    assert load_folder_task(beir).type == wanted


def test_an_image_named_after_an_id_is_that_items_image(beir: Path) -> None:
    put_image(beir, "images/doc2.png")
    put_image(beir, "query_images/q1.png", pictures()[1])
    task = load_folder_task(beir)
    data = load_task_data(task)
    assert task.type == "it2it"
    assert [doc_id for doc_id in data.corpus if data.corpus.item(doc_id).image is not None] == ["doc2"]
    image = data.queries.item("q1").image
    assert image is not None and image.encoded == pictures()[1]


def test_pages_are_stated(beir: Path) -> None:
    image_corpus(beir)
    (beir / "task.toml").write_text('type = "t2vd"\n')
    assert load_folder_task(beir).type == "t2vd"


def test_task_toml_states_what_cannot_be_inferred(beir: Path) -> None:
    stated = {"id": "beers", "instruction": "Find the beer.", "cluster": "document", "title": None}
    task, lines = write_task_file(beir, stated)
    assert load_folder_task(beir) == task
    assert (task.id, task.instruction, task.cluster) == ("beers", "Find the beer.", "document")
    assert any(line.split() == ["documents", "3"] for line in lines)
    with pytest.raises(TaskError, match=r"task\.toml: is there already"):
        write_task_file(beir, stated)


def test_the_split_is_test_or_the_only_one_or_named(beir: Path) -> None:
    (beir / "qrels" / "test.tsv").rename(beir / "qrels" / "dev.tsv")
    only = load_folder_task(beir)
    (beir / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tdoc2\t1\n")
    with pytest.raises(DataError, match=r"no test split among dev\.tsv, train\.tsv"):
        load_folder_task(beir)
    (beir / "task.toml").write_text('split = "train"\n')
    assert load_folder_task(beir).revision != only.revision


def test_a_folder_is_read_again_when_an_image_that_a_row_names_has_changed(beir: Path) -> None:
    mixed_corpus(beir)
    before = load_folder_task(beir)
    assert load_folder_task(beir) == before
    put_image(beir, encoded=pictures()[1])
    assert load_folder_task(beir).revision != before.revision


def test_the_registrys_tasks_are_not_missed_by_an_own_one(beir: Path) -> None:
    """The data of a registry task is still the package's."""
    load_folder_task(beir)
    assert (MINI / "mini-faq-t2t").is_dir() and len(load_task_data(load_task("mini-faq-t2t")).queries)


def test_an_item_may_have_several_images(beir: Path) -> None:
    for number, encoded in enumerate(pictures()[:3]):
        put_image(beir, f"images/{number}.png", encoded)
    add_row(beir, _id="doc4", image=["images/2.png", "images/0.png"])
    add_row(beir, _id="doc5", image="images/1.png")
    data = load_task_data(load_folder_task(beir))
    found = [[image.encoded for image in data.corpus.item(doc_id).images] for doc_id in ("doc1", "doc4", "doc5")]
    assert found == [[], [pictures()[2], pictures()[0]], [pictures()[1]]]


def test_an_image_that_cannot_be_decoded_is_named_by_its_file(beir: Path) -> None:
    cut = PNG[: PNG.index(b"IDAT") + 20]  # its header is whole, so that loading does not see it
    put_image(beir, "images/doc2.png", cut)
    put_image(beir, "shown/b.png", cut)
    add_row(beir, _id="doc4", image=["images/doc2.png", "shown/b.png"])
    corpus = load_task_data(load_folder_task(beir)).corpus
    for doc_id, place, words in (
        ("doc2", 0, r"'doc2' \(images/doc2\.png\): damaged"),
        ("doc4", 1, r"image 2 of 2 \(shown/b\.png\): damaged"),
    ):
        with pytest.raises(DataError, match=words):
            corpus.item(doc_id).images[place].open()


def test_a_build_that_fails_leaves_no_record_that_vouches_for_its_tables(beir: Path) -> None:
    put_image(beir, "shown/a.png")
    put_image(beir, "shown/b.png", pictures()[1])
    write_lines(beir / "queries.jsonl", [{"_id": name, "image": "shown/a.png"} for name in QUERIES])
    add_row(beir, _id="doc4", image="shown/b.png")
    task = load_folder_task(beir)
    kept = [(beir / "shown" / name).rename(beir / f"kept-{name}") for name in ("a.png", "b.png")]
    put_image(beir, "shown/a.png", pictures()[2])
    put_image(beir, "shown/b.png", b"broken")
    with pytest.raises(DataError, match="not an image"):
        load_folder_task(beir)
    for path in kept:
        path.replace(beir / "shown" / path.name.removeprefix("kept-"))
    assert load_folder_task(beir) == task
    image = load_task_data(task).queries.item("q1").image
    assert image is not None and image.encoded == PNG


def test_an_image_of_the_same_size_and_time_is_another_one(beir: Path) -> None:
    mixed_corpus(beir)
    path, other = beir / "images" / "a.png", bytearray(PNG)
    before, stat = load_folder_task(beir), path.stat()
    other[-1] ^= 1  # after the header, which is all that is read here
    path.write_bytes(other)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert load_folder_task(beir).revision != before.revision


def test_the_column_that_has_the_value_is_read(beir: Path) -> None:
    put_image(beir)
    add_row(beir, _id="doc4", text=None, query="a caption", image=None, images=["images/a.png"])
    item = load_task_data(load_folder_task(beir)).corpus.item("doc4")
    assert item.text == "a caption" and [image.encoded for image in item.images] == [PNG]


def test_what_was_read_is_said_once(beir: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A misspelled column, an item without content and an image without an item are not errors; a line names them."""
    caplog.set_level("INFO", logger="mrb")
    put_image(beir, "images/doc2.png")
    put_image(beir, "images/other.png")
    add_row(beir, _id="doc4", txt="a caption", url="https://a.example")
    add_row(beir, "queries.jsonl", _id="q3", img="images/doc2.png", text=" ")
    load_folder_task(beir)
    line = "my-beers (the folder 'My Beers'): t2it, 3 queries, 2 of them with a relevant document, "
    assert [record.getMessage() for record in caplog.records] == [
        f"{line}4 documents (1 with images); columns not read: metadata, img, txt, url",
        f"{beir}/queries.jsonl, line 3: no text and no image; 1 of 3 queries has none",
        f"{beir}/corpus.jsonl, line 4: no text and no image; 1 of 4 documents has none",
        f"{beir}/images/other.png: belongs to no item; 1 image file is left out",
    ]
    caplog.clear()
    load_folder_task(beir)
    assert not caplog.records
    (beir / "task.toml").write_text('id = "ales"\n')
    load_folder_task(beir)  # from the cache
    assert caplog.records[0].getMessage().startswith("ales: t2it, ") and len(caplog.records) == 4


def test_init_says_what_is_not_read(beir: Path, caplog: pytest.LogCaptureFixture) -> None:
    image_corpus(beir)
    add_row(beir, _id="doc4", titel="Stout")
    _, lines = write_task_file(beir, {})
    assert "documents   4 (3 with images)" in lines and "not read    columns metadata, titel" in lines
    assert "line 4: no text and no image; 1 of 4 documents has none" in caplog.text
