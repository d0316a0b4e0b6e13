"""Ids and texts of JSON files, read through the real `datasets` and Arrow: what stands in the file, or a refusal."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrb.data import json_rows
from mrb.data.items import ImageCaps
from mrb.data.json_rows import iterate_objects
from mrb.data.tables import CORPUS_ID_COLUMNS, QUERY_ID_COLUMNS, RawTable, iterate_qrels, make_item_table, read_files
from mrb.errors import DataError

LIKE_OTHERS = [
    "2019-01-01",
    "007",
    "1e5",
    "1.0",
    "true",
    "2019-01-01T10:00:00Z",
    " 1",
    "-0",
    "null",
    "𝟙",
    "NaN",
    "12:30",
]
"""Strings that readers take for dates, numbers and constants."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return


def read(path: Path, text: str | bytes) -> RawTable:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_files([path], "json", "the table")


def lines(values: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def array(values: list[dict[str, Any]]) -> str:
    return json.dumps(values, indent=2)


def packed(values: list[dict[str, Any]]) -> bytes:
    return gzip.compress(b"\xef\xbb\xbf" + lines(values).encode())


WRITERS = [(lines, "jsonl"), (array, "json"), (packed, "jsonl.gz")]


def ids_of(raw: RawTable) -> list[str]:
    return list(make_item_table(raw, CORPUS_ID_COLUMNS, prefix="", caps=ImageCaps(), cache=None).rows)


@pytest.mark.parametrize(("write", "ending"), WRITERS)
@pytest.mark.parametrize("value", LIKE_OTHERS)
def test_a_string_id_is_what_stands_in_the_file(tmp_path: Path, write: Any, ending: str, value: str) -> None:
    raw = read(tmp_path / f"a.{ending}", write([{"_id": value, "text": value}]))
    table = make_item_table(raw, CORPUS_ID_COLUMNS, prefix="", caps=ImageCaps(), cache=None)
    assert list(table.rows) == [value] and table.item(value).text == value


@pytest.mark.parametrize(("write", "ending"), WRITERS)
def test_whole_numbers_are_their_decimal_text_on_all_three_sides(tmp_path: Path, write: Any, ending: str) -> None:
    numbers = [7, -3, 12345678901234567890, 9007199254740993, 10**40]
    texts = [str(number) for number in numbers]
    corpus = read(tmp_path / f"corpus.{ending}", write([{"_id": n, "text": "x"} for n in numbers]))
    queries = read(tmp_path / f"queries.{ending}", write([{"_id": t, "text": "x"} for t in texts]))
    judged = [{"query-id": a, "corpus-id": b, "score": 1} for a, b in zip(numbers, texts, strict=True)]
    qrels = read(tmp_path / f"qrels.{ending}", write(judged))
    assert ids_of(corpus) == texts
    assert list(make_item_table(queries, QUERY_ID_COLUMNS, prefix="", caps=ImageCaps(), cache=None).rows) == texts
    assert list(iterate_qrels(qrels, "")) == [(text, text, 1) for text in texts]


def test_numbers_and_strings_may_stand_in_one_column(tmp_path: Path) -> None:
    rows = [{"id": "2019-01-01"}, {"id": 5}, {"id": "d", "title": "late", "metadata": {"a": [1]}}]
    raw = read(tmp_path / "a.jsonl", lines(rows))
    assert ids_of(raw) == ["2019-01-01", "5", "d"]
    assert raw.table.column_names == ["id", "title", "metadata"]


@pytest.mark.parametrize("value", [1.0, 1e5, True, None, ["d"], {"$oid": "d"}, float("nan")])
@pytest.mark.parametrize(("write", "ending"), WRITERS)
def test_an_id_that_is_no_string_or_whole_number_is_named(tmp_path: Path, write: Any, ending: str, value: Any) -> None:
    with pytest.raises(DataError) as caught:
        ids_of(read(tmp_path / f"a.{ending}", write([{"_id": "d1"}, {"_id": value}])))
    told = str(caught.value)
    assert told.startswith("the table: ") and "\n" not in told
    assert "row 1 has no id" in told if value is None else "2: column _id holds" in told


@pytest.mark.parametrize("side", ["query-id", "corpus-id"])
def test_so_is_one_of_a_judgement(tmp_path: Path, side: str) -> None:
    row = {"query-id": "q", "corpus-id": "d", "score": 1, side: 1.5}
    with pytest.raises(DataError, match=rf"line 1: column {side} holds 1\.5"):
        list(iterate_qrels(read(tmp_path / "a.jsonl", lines([row])), ""))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"_id": "a"}\n{"_id": "b"\n', "line 2, column 12: "),
        ('{"_id": "a"}\n\n["b"]\n', "line 3: holds .*wanted an object"),
        ('[{"_id": "a"}, 3]', "object 2: holds"),
        ('[{"_id": "a"},', "a.jsonl, column 15: "),
        ("", "no rows"),
        (b'{"_id": "\xff"}\n', "utf-8"),
        ('{"_id": "\\ud800"}\n', "line 1: column _id: .*surrogates"),
        ('{"_id": "a", "text": ["b"]}\n', "line 1: column text holds"),
        ('{"_id": "a", "image": "a.png"}\n', "line 1: column image holds"),
        ("[" * 100_000, "recursion|Expecting"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(DataError, match=f"^the table: cannot be read as json: .*{words}") as caught:
        read(tmp_path / "a.jsonl", text)
    assert "\n" not in str(caught.value)


def test_a_cut_gzip_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the table: cannot be read as json: a\.jsonl\.gz"):
        read(tmp_path / "a.jsonl.gz", packed([{"_id": str(n)} for n in range(1000)])[:-20])


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    assert ids_of(read(tmp_path / "a.jsonl", '{"_id": "a"}\n')) == ["a"]
    assert ids_of(read(tmp_path / "a.jsonl", '{"_id": "bb"}\n')) == ["bb"]


@pytest.mark.parametrize("kind", [pa.float64(), pa.bool_(), pa.timestamp("s"), pa.date32(), pa.decimal128(21, 1)])
def test_parquet_ids_of_such_types_are_refused(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "a.parquet"
    ids = pa.array([1, 0], pa.int64()).cast(kind) if kind != pa.date32() else pa.array([1, 0], pa.int32()).cast(kind)
    pq.write_table(pa.table({"_id": ids, "text": ["x", "y"]}), path)
    with pytest.raises(DataError, match=r"the table: column _id has type .*, ids are strings or whole numbers"):
        ids_of(read_files([path], "parquet", "the table"))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_strings_of_any_kind_are_ids(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"_id": pa.array(LIKE_OTHERS).cast(kind)}), path)
    assert ids_of(read_files([path], "parquet", "the table")) == LIKE_OTHERS


@pytest.mark.parametrize("text", ['{"_id": "1"}\n{"_id": "22"}\n', '[{"_id": "1"}]'])
def test_what_is_read_at_once_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    assert len(list(iterate_objects([tmp_path / "a.jsonl"])))
    monkeypatch.setattr(json_rows, "MAX_LINE", 13)
    monkeypatch.setattr(json_rows, "MAX_ARRAY", 13)
    with pytest.raises(ValueError, match=r"a\.jsonl.*: longer than 13 characters"):
        list(iterate_objects([tmp_path / "a.jsonl"]))
