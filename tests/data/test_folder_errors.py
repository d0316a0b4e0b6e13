"""What is wrong in a data folder is named with its file, line and column."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrb.data.load import load_task_data
from mrb.data.own_tasks import load_folder_task
from mrb.data.task import MAX_DEFINITION_BYTES
from mrb.errors import MRBError
from tests.builders.data_folders import (
    CORPUS,
    QUERIES,
    add_row,
    put_image,
    write_lines,
)
from tests.builders.hub.repositories import pictures

PNG = pictures()[0]


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        data = path.read_bytes().decode()
        assert old in data
        path.write_text(data.replace(old, new, 1))

    return change


def recode(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text((folder / name).read_text(), encoding="utf-16")


def row(**stated: object) -> Callable[[Path], None]:
    return lambda folder: add_row(folder, **stated)


def link(folder: Path) -> None:
    put_image(folder.parent, "secret.png")
    (folder / "images").mkdir()
    (folder / "images" / "a.png").symlink_to(folder.parent / "secret.png")
    add_row(folder, _id="d", image="images/a.png")


def linked_table(folder: Path) -> None:
    (folder / "queries.jsonl").rename(folder.parent / "queries.jsonl")
    (folder / "queries.jsonl").symlink_to(folder.parent / "queries.jsonl")


def broken_image(folder: Path) -> None:
    put_image(folder, "images/a.png", b"<svg/>")
    add_row(folder, _id="d", image="images/a.png")


def large_image(folder: Path) -> None:
    put_image(folder)
    (folder / "task.toml").write_text("[images]\nmax_bytes = 10\n")
    add_row(folder, _id="d", image="images/a.png")


def two_stems(folder: Path) -> None:
    put_image(folder, "images/doc1.png")
    put_image(folder, "images/doc1.jpg")


def broken_link(folder: Path) -> None:
    (folder / "images").mkdir()
    (folder / "images" / "doc1.png").symlink_to("nowhere.png")


def foreign_name(folder: Path) -> None:
    put_image(folder, os.fsdecode(b"images/\xff.png"))


def toml(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "task.toml").write_text(text)


def parquet(**columns: pa.Array) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        (folder / "corpus.jsonl").unlink()
        pq.write_table(pa.table(columns), folder / "corpus.parquet")

    return write


def long_footer(folder: Path) -> None:
    (folder / "corpus.jsonl").unlink()
    (folder / "corpus.parquet").write_bytes(b"\0" * 2**25 + (2**24 + 1).to_bytes(4, "little") + b"PAR1")


LATE = pa.array([2**62], pa.timestamp("us"))


def query_images_alone(folder: Path) -> None:
    put_image(folder, "shown/a.png")
    write_lines(folder / "queries.jsonl", [{"_id": name, "image": "shown/a.png"} for name in QUERIES])
    put_image(folder, "images/x.png")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (edit("corpus.jsonl", '"title": ""', '"title" ""'), r"corpus\.jsonl, line 2, column \d+: Expecting ':'"),
        (edit("corpus.jsonl", '"doc2"', "1.5"), r"corpus\.jsonl, line 2, column _id: \"1\.5\", an id is"),
        (edit("corpus.jsonl", '"doc2"', '"doc1"'), r"corpus\.jsonl, line 2: id 'doc1' occurs twice; .*line 1 has it"),
        (edit("corpus.jsonl", '"doc2"', '""'), r"corpus\.jsonl, line 2, column _id: the id is empty"),
        (edit("corpus.jsonl", '"doc2"', '"a\\u001bb"'), r"line 2, column _id: .* control characters"),
        (edit("corpus.jsonl", '"_id": "doc2"', '"name": "doc2"'), r"line 2: columns found: name.*wanted one of: _id"),
        (edit("corpus.jsonl", '"title": ""', '"title": ["a"]'), r"line 2, column title: .*wanted a text"),
        (edit("qrels/test.tsv", "q2\tdoc2\t1", "q2\tdoc2\tyes"), r"test\.tsv, line 3, column score: .*\"yes\""),
        (edit("qrels/test.tsv", "q2\tdoc2\t1", "q2\tdoc2\t0.5"), r"line 3, column score: .*whole number"),
        (edit("qrels/test.tsv", "q2\tdoc2\t1", "q2\tdoc2\t99999"), r"line 3, column score: grade 99999 is over"),
        (edit("qrels/test.tsv", "q2\tdoc2\t1", "q2\tdoc2"), r"test\.tsv, line 3: 2 columns, wanted 3"),
        (edit("qrels/test.tsv", "q2\tdoc2", "q2\tdoc9"), r"line 3, column corpus-id: 'doc9' is not in the corpus"),
        (edit("qrels/test.tsv", "q2\tdoc2", "q9\tdoc2"), r"line 3, column query-id: 'q9' is not in the queries"),
        (lambda folder: (folder / "queries.jsonl").unlink(), r"no queries: wanted queries\.jsonl"),
        (lambda folder: (folder / "qrels" / "test.tsv").unlink(), r"no judgements: wanted qrels/test\.tsv"),
        (lambda folder: (folder / "corpus.csv").write_text("_id\n"), r"corpus twice: corpus\.csv and corpus\.jsonl"),
        (lambda folder: (folder / "corpus.jsonl.gz").write_bytes(b""), r"corpus\.jsonl\.gz: unpack it first"),
        (row(_id="d", image="../a.png"), r"line 4: '\.\./a\.png' leaves the folder"),
        (row(_id="d", image="images/../../a.png"), r"line 4: .* leaves the folder"),
        (row(_id="d", image="/etc/passwd"), r"line 4: '/etc/passwd' is an absolute path"),
        (row(_id="d", image="C:\\a.png"), r"line 4: .* is an absolute path"),
        (row(_id="d", image="https://a.example/a.png"), r"line 4: .* is an address"),
        (row(_id="d", image="images/none.png"), r"line 4: 'images/none\.png' cannot be read: No such file"),
        (row(_id="d", image="qrels"), r"line 4: 'qrels' is not a file"),
        (row(_id="d", image=["a.png"] * 1001), r"line 4, column image: 1001 images, more than 1000"),
        (link, r"line 4: 'images/a\.png' is a link that leaves the folder"),
        (linked_table, r"'queries\.jsonl' is a link that leaves the folder"),
        (broken_image, r"line 4, column image: a\.png: not an image"),
        (large_image, r"a\.png has \d+ bytes, an image may have 10"),
        (two_stems, r"id 'doc1' occurs twice; doc1\.jpg has it too"),
        (lambda folder: put_image(folder, "images/x.png"), r"x\.png: no id of the corpus is 'x'"),
        (query_images_alone, r"x\.png: no id of the corpus is 'x', and no row names an image of this folder"),
        (row(_id="d", image={"bytes": "iVBORw0KGgo=", "path": None}), r"line 4, column image: bytes is \"iVBORw"),
        (
            lambda folder: write_lines(folder / "queries.jsonl", [{"_id": "q1", "txet": "a"}, {"_id": "q2"}]),
            r"text or an image; the first is .*queries\.jsonl, line 1; columns not read: txet; wanted: text, title",
        ),
        (
            edit("qrels/test.tsv", "q2\tdoc2\t1", "q2\tdoc2\t1\nq1\tdoc1\t1\nq2\tdoc2\t2"),
            r"test\.tsv, line 5: query 'q2', document 'doc2' has grade 2, and 1 in .*test\.tsv, line 3; remove one",
        ),
        (recode("corpus.jsonl"), r"corpus\.jsonl: not UTF-8 text \(.*\); save it as UTF-8"),
        (recode("qrels/test.tsv"), r"test\.tsv: not UTF-8 text \(.*\); save it as UTF-8"),
        (row(_id="d", text="a", query="b"), r"line 4: columns text and query hold different values"),
        (row(_id="d", image="\ud800.png"), r"line 4: '\\ud800\.png' is not the name of a file"),
        (broken_link, r"images/doc1\.png: cannot be read: No such file"),
        (foreign_name, r"images: the name '\\udcff\.png' is not UTF-8"),
        (
            toml("[rules]\naverage_over_parts = true"),
            r"task\.toml: rules: .*average_over_parts is for tasks of several",
        ),
        (toml("#" * (MAX_DEFINITION_BYTES + 1)), r"task\.toml: larger than \d+ bytes"),
        (long_footer, r"corpus\.parquet: a footer of 16777217 bytes, more than 16777216"),
        (parquet(name=pa.array(["a"])), r"corpus\.parquet: columns found: name; wanted one of: _id"),
        (parquet(_id=pa.array(["a"]), text=LATE), r"corpus\.parquet: rows 1 to 100: "),
        (lambda folder: (folder / "task.toml").write_text('idd = "a"'), r"task\.toml: idd: unknown field"),
        (lambda folder: (folder / "task.toml").write_text('id = "A B"'), r"task\.toml: id: String should match"),
        (
            lambda folder: (folder / "task.toml").write_text('type = "t2i"'),
            "type is 't2i', but the documents make it 't2t'",
        ),
        (lambda folder: (folder / "task.toml").write_text('candidates = "../x"'), r"candidates: '\.\./x' leaves"),
        (lambda folder: (folder / "a.trec").write_text("") or (folder / "b.trec").write_text(""), "several candidate"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_column(
    beir: Path, change: Callable[[Path], object], words: str
) -> None:
    change(beir)
    with pytest.raises(MRBError, match=words) as caught:
        load_folder_task(beir)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_judgements_outside_the_corpus_may_be_dropped(beir: Path) -> None:
    edit("qrels/test.tsv", "q2\tdoc2", "q2\tdoc9\t1\r\nq2\tdoc2")(beir)
    (beir / "task.toml").write_text("[rules]\ndrop_qrels_outside_corpus = true\n")
    assert load_task_data(load_folder_task(beir)).counts.qrels_outside_corpus == 1


def test_a_column_that_means_nothing_is_not_read(beir: Path, caplog: pytest.LogCaptureFixture) -> None:
    ids, texts = list(CORPUS), [str(row["text"]) for row in CORPUS.values()]
    parquet(_id=pa.array(ids), text=pa.array(texts), seen=pa.array([2**62] * 3, pa.timestamp("us")))(beir)
    caplog.set_level("INFO", logger="mrb")
    assert load_folder_task(beir).size.documents == 3
    assert caplog.messages[0].endswith("columns not read: metadata, seen")
