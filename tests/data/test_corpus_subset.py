"""The rows of a corpus that a list names: the right ones, whatever the row groups and the pieces they are read in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrb.data.corpus_subset import CorpusSource, NeededDocuments, reduce_corpus
from mrb.data.items import DecodeCache, ImageCaps
from mrb.data.tables import ROWS_HELD, RawTable
from mrb.errors import DataError

ROWS = 7 * ROWS_HELD + 31
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def document(row: int) -> tuple[str, bytes | None]:
    return f"words of {row}", b"picture %d" % row if row % 3 else None


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pa.Table:
    """ROWS documents with integer ids, every third without a picture; MRB's cache lies in a folder of the test."""
    monkeypatch.setenv("MRB_CACHE", str(tmp_path / "cache"))
    rows = [document(row) for row in range(ROWS)]
    cells = [None if picture is None else {"bytes": picture, "path": None} for _, picture in rows]
    return pa.table(
        {"id": pa.array(range(ROWS), pa.int64()), "text": [text for text, _ in rows], "image": pa.array(cells, IMAGE)}
    )


@pytest.mark.parametrize("group", [1, 17, ROWS_HELD, 2 * ROWS_HELD + 9, 100_000, None])
def test_listed_rows_come_with_content_and_judged_ones_without(
    corpus: pa.Table, tmp_path: Path, group: int | None
) -> None:
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    if group is not None:
        for path, part in zip(paths, (corpus.slice(0, 301), corpus.slice(301)), strict=True):
            pq.write_table(part, path, row_group_size=group)
    whole = RawTable(corpus, "the table") if group is None else None
    source = CorpusSource(paths, ["digest"], "part/", "the corpus", ROWS, whole)
    listed = {0, 1, 99, 100, 300, 301, 302, 555, ROWS - 1}
    ids = {f"part/{row}" for row in listed}
    needed = NeededDocuments.of([*ids, "part/nowhere", "other/5"])
    found = reduce_corpus(source, needed, ["part/5", "part/555", "part/gone"], ImageCaps(), DecodeCache())
    assert set(found.items) == ids and found.rows == ROWS
    assert found.present == ids | {"part/5"}
    for row in listed:
        text, picture = document(row)
        encoded = found.items.encoded(f"part/{row}")
        assert found.items.item(f"part/{row}").text == text
        assert [buffer.to_pybytes() for buffer in encoded] == ([] if picture is None else [picture])
    assert len(list((tmp_path / "cache" / "reduced").iterdir())) == 1


@pytest.mark.parametrize("memory_mapped", [False, True])
def test_lists_of_images_stay_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_mapped: bool) -> None:
    monkeypatch.setenv("MRB_CACHE", str(tmp_path / "cache"))
    pages = {"a": [b"1", b"2"], "b": [], "c": None, "d": [b"2", b"1", b"3"], "e": [b"4"]}
    cells = [None if images is None else [{"bytes": one, "path": None} for one in images] for images in pages.values()]
    table = pa.table({"id": list(pages), "images": pa.array(cells, pa.list_(IMAGE))})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=2)
    source = CorpusSource([path], ["digest"], "", "the corpus", 5, RawTable(table, "x") if memory_mapped else None)
    found = reduce_corpus(source, NeededDocuments.of("abcd"), "e", ImageCaps(), DecodeCache()).items
    assert found.most_images == 3
    for name in "abcd":
        assert [image.encoded for image in found.item(name).images] == (pages[name] or [])


def test_needed_ids_are_known_by_content_and_not_by_order() -> None:
    assert NeededDocuments.of(["b", "a", "b"]) == NeededDocuments.of(["a", "b"]) != NeededDocuments.of(["a"])


@pytest.mark.parametrize("group", [1, 17, 100_000, None])
def test_of_an_id_that_stands_twice_the_first_row_is_taken(corpus: pa.Table, tmp_path: Path, group: int | None) -> None:
    other = corpus.slice(5, 1).set_column(1, "text", pa.array(["other words"]))
    table = pa.concat_tables([corpus.slice(0, 7), other, other, corpus.slice(7), other, corpus.slice(900, 1)])
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=group or 100)
    whole = RawTable(table, "the table") if group is None else None
    rows = table.num_rows
    source = CorpusSource([path], ["digest"], "", "the corpus", rows, whole, first=True)
    for _ in range(2):  # made, and read again
        found = reduce_corpus(source, NeededDocuments.of(["5", "6"]), ["600"], ImageCaps(), DecodeCache())
        assert found.items.item("5").text == "words of 5" and set(found.items) == {"5", "6"}
        assert [buffer.to_pybytes() for buffer in found.items.encoded("5")] == [b"picture 5"]
        assert found.present == {"5", "6", "600"}
        assert (found.rows, found.items.repeated) == (rows, rows - len(set(table.column("id").to_pylist())))
    with pytest.raises(DataError, match="id '5' occurs twice"):
        reduce_corpus(replace(source, first=False), NeededDocuments.of(["5"]), [], ImageCaps(), DecodeCache())
