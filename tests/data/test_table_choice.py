"""Which files of a repository are a table of a task, where its rows lie in several configs."""

from __future__ import annotations

from mrb.data.table_choice import choose_table
from mrb.data.task_fields import Table
from mrb.errors import DataError
from tests.builders.command import read_error

TABLES = {
    "english-queries": {"test": ["english/0.parquet", "english/1.parquet"]},
    "french-queries": {"test": ["french/0.parquet"], "train": ["french/t.parquet"]},
}


def test_the_rows_of_further_configs_follow() -> None:
    table = Table(config="english-queries", split="test", more=("french-queries",))
    found = choose_table(TABLES, "queries", table, "here")
    assert found == ("english-queries+1", "test", ["english/0.parquet", "english/1.parquet", "french/0.parquet"])
    assert (
        choose_table(TABLES, "queries", Table(config="english-queries", split="test"), "here")[0] == "english-queries"
    )


def test_a_further_config_that_is_missing_is_named() -> None:
    table = Table(config="english-queries", split="test", more=("french-queries", "german-queries"))
    assert read_error(DataError, choose_table, TABLES, "queries", table, "here") == (
        "here: queries: wanted german-queries/test beside english-queries/test; tables found: english-queries/test, "
        "french-queries/test, french-queries/train"
    )
