"""Small files of much content in a submission: refused in bounded memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrb._util.hashing import hash_file
from mrb.errors import ResultError
from mrb.submission import rankings
from mrb.submission.reader import read_submission_folder
from mrb.submission.sandboxed_parquet import SandboxedReader
from mrb.submission.schema import MAX_SUBMISSION_BYTES
from mrb.submission.validate import read_checked_rankings
from tests.submission.test_hostile import TASK, Json, edit, peak_megabytes, refusal

pytestmark = pytest.mark.slow

# Bombs


def _replace(folder: Path, table: pa.Table, **options: Any) -> Path:
    path = folder / "rankings" / f"{TASK}.parquet"
    pq.write_table(table, path, **options)
    edit(folder, lambda v: v["rankings"][TASK].update(sha256=hash_file(path)))
    return path


def _plain(rows: int, size: int) -> pa.Table:
    cells = {"query_id": [f"q{n}" for n in range(rows)], "order": [bytes(size)] * rows, "scores": [b""] * rows}
    return pa.table(cells).cast(rankings.SCORED)


def _lie(path: Path, old: bytes, new: bytes) -> None:
    """Change what a file's footer states, not what its pages are."""
    data = path.read_bytes()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer = data[start:].replace(old, new)
    assert footer != data[start:]
    path.write_bytes(data[:start] + footer)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"compression": "zstd", "use_dictionary": False}, "is compressed or encoded (ZSTD"),
        ({"compression": "gzip", "use_dictionary": False}, "is compressed or encoded (GZIP"),
        (
            {"compression": "none", "use_dictionary": True},
            "RLE_DICTIONARY); `mrb submission make` writes rankings plain",
        ),
        (
            {"compression": "none", "use_dictionary": False, "column_encoding": {"order": "DELTA_BYTE_ARRAY"}},
            "DELTA_BYTE_ARRAY); `mrb submission make` writes rankings plain",
        ),
    ],
)
def test_packed_and_coded_files_are_refused_unread(submission: Path, options: Json, words: str) -> None:
    _replace(submission, _plain(12, 10**6), **options)
    before = peak_megabytes()
    assert words in refusal(submission)
    assert peak_megabytes() - before < 50


def test_a_footer_that_ends_the_parquet_library_is_refused_by_name_and_the_next_file_is_read(submission: Path) -> None:
    good = read_submission_folder(submission)
    original = good.ranking_path(TASK).read_bytes()
    path = _replace(submission, _plain(12, 10**5), compression="zstd", use_dictionary=False)
    _lie(path, b"\x15\x0c", b"\x15\x00")  # of types and codecs alike: the library aborts over it
    edit(submission, lambda v: v["rankings"][TASK].update(sha256=hash_file(path)))
    assert f"{TASK}.parquet" in refusal(submission)
    path.write_bytes(original)
    assert len(read_checked_rankings(good, TASK)) == 12


def test_a_file_that_lies_about_its_coding_cannot_fill_the_memory(submission: Path) -> None:
    # Each value repeats the one before it: 300 kB that unpack to 120 MB, where 40 more are allowed.
    options: Json = {"compression": "none", "use_dictionary": False, "column_encoding": {"order": "DELTA_BYTE_ARRAY"}}
    path = _replace(submission, _plain(400, 300_000), **options)
    _lie(path, b"\x06\x0e", b"\x06\x00")  # encodings: DELTA_BYTE_ARRAY is now PLAIN
    assert "DELTA_BYTE_ARRAY" not in pq.read_metadata(path).row_group(0).column(1).encodings
    assert path.stat().st_size < 10**6
    small = SandboxedReader(memory=40 * 10**6)
    with pytest.raises(ResultError, match=r"parquet: (unpacks to more than|damaged|cannot be read|reading it ends)"):
        small.table(path, rankings.SCORED, rows=400, max_bytes=10**9)
    small.close()


@pytest.mark.slow
def test_a_reader_that_hangs_is_ended(submission: Path) -> None:
    path = submission / "rankings" / "pipe"
    os.mkfifo(path)
    impatient = SandboxedReader(seconds=2.0)
    with pytest.raises(ResultError, match="pipe: reading it ends the process that reads"):
        impatient.table(path, rankings.SCORED, rows=1, max_bytes=10**6)
    impatient.close()


def test_rows_and_columns_that_nobody_counted_are_refused(submission: Path) -> None:
    _replace(submission, pa.table({"query_id": pa.nulls(2_000_000, pa.string())}), compression="none")
    assert "2000000 rows; the result counts 12 queries" in refusal(submission)
    wide = pa.table({f"c{n}": pa.array([1] * 12) for n in range(2000)})
    _replace(submission, wide, compression="none", use_dictionary=False)
    assert "wanted query_id string, order binary, scores binary" in refusal(submission)


def test_the_text_is_capped_before_it_is_read(submission: Path) -> None:
    path = submission / "submission.json"
    path.write_text(" " * MAX_SUBMISSION_BYTES + path.read_text())
    assert f"more than {MAX_SUBMISSION_BYTES}" in refusal(submission)
