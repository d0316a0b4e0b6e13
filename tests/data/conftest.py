"""Tables written as the toy task's files, and loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrb.data.load import load_task_data
from mrb.data.task_data import TaskData
from tests.builders.data_folders import write_beir
from tests.builders.tables import CORPUS, QRELS, QUERIES, Columns
from tests.builders.toy import toy_task


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


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    """A folder in BEIR's layout."""
    (folder := tmp_path / "My Beers").mkdir()
    return write_beir(folder)
