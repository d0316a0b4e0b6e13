"""Files of rankings without scores: all rows are checked at once, and refused as each row alone is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrb.errors import ResultError
from mrb.submission.rankings import UNSCORED, _are_orders, _parse_row, read_rankings

GOOD = [("q0", bytes(range(12)), 0, True), ("q1", b"\x05\x01", 1, False), ("q2", b"", 0, False)]


def write(path: Path, rows: list[tuple[str, bytes, int, bool]]) -> Path:
    columns = [pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), UNSCORED, strict=True)]
    pq.write_table(pa.table(columns, schema=UNSCORED), path, compression="none", use_dictionary=False)
    return path


def test_good_rows_are_read_as_they_are(tmp_path: Path) -> None:
    rows = read_rankings(write(tmp_path / "t.parquet", GOOD), scores=False, queries=3)
    assert [(row.query_id, row.order.tobytes(), row.failed, row.tied) for row in rows] == GOOD
    assert all(row.scores is None for row in rows)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (("q1", b"\x05\x01\x05", 0, False), "query 'q1': a position occurs twice"),
        (("q1", b"\x05\x01", 3, False), "query 'q1': 3 failed pairs or a tie at rank 10 in 2 candidates"),
        (("q1", bytes(range(10)), 0, True), "query 'q1': 0 failed pairs or a tie at rank 10 in 10 candidates"),
        (("q1", bytes(range(12)), 2, True), "query 'q1': 2 failed pairs or a tie at rank 10 in 12 candidates"),
        (("q0", b"\x01", 0, False), "query 'q0' occurs twice"),
    ],
)
def test_a_bad_row_is_named(bad: tuple[str, bytes, int, bool], words: str, tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", [GOOD[0], bad, GOOD[2]])
    with pytest.raises(ResultError, match=words):
        read_rankings(path, scores=False, queries=3)


def test_rows_together_are_refused_as_each_alone() -> None:
    draw = np.random.default_rng(1)
    refused = 0
    for _ in range(400):
        count = int(draw.integers(0, 14))
        order = draw.integers(0, 256 if draw.random() < 0.8 else 20, count).astype(np.uint8).tobytes()
        failed, tied = int(draw.integers(0, 4)), bool(draw.random() < 0.3)
        try:
            _parse_row(Path("t.parquet"), "q", order, [failed, tied], scores=False)
            alone = True
        except ResultError:
            alone = False
        refused += not alone
        assert _are_orders([b"\x00", order, b""], [0, failed, 0], [False, tied, False]) == alone
    assert 50 < refused < 350
